"""Ray: joining a cluster, a pool of actors, trials of a sweep. Knows no paper and no file format."""
