"""Removed units: `ray job submit --working-dir . -- python jobs/prune.py --run s3://bucket/prefix`."""

import sys

from raycv.cli import main

sys.exit(main(["prune", *sys.argv[1:]]))
