"""Images of CIFAR-10 for raycv, as Parquet files beside this one; NOTICE says whose they are. There is no code here."""
