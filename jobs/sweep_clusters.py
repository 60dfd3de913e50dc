"""Clusters of a run: `ray job submit --working-dir . -- python jobs/sweep_clusters.py --run s3://bucket/prefix`."""

import sys

from raycv.cli import main

sys.exit(main(["sweep", "clusters", *sys.argv[1:]]))
