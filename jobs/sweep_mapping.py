"""Mapping layers of a run: `ray job submit --working-dir . -- python jobs/sweep_mapping.py --run s3://bucket/prefix`."""

import sys

from raycv.cli import main

sys.exit(main(["sweep", "mapping", *sys.argv[1:]]))
