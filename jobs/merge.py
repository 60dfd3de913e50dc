"""Merging networks: `ray job submit --working-dir . -- python jobs/merge.py --run s3://bucket/prefix`."""

import sys

from raycv.cli import main

sys.exit(main(["merge", *sys.argv[1:]]))
