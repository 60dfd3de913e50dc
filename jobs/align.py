"""Correlations and matchings of a run: `ray job submit --working-dir . -- python jobs/align.py --run s3://bucket/prefix`."""

import sys

from raycv.cli import main

sys.exit(main(["align", *sys.argv[1:]]))
