"""One run's folder: its files, its record, its tables. Importing it needs neither Ray nor PyTorch."""
