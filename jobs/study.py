"""Widths and data compared: `ray job submit --working-dir . -- python jobs/study.py --run s3://bucket/prefix`."""

import sys

from raycv.cli import main

sys.exit(main(["study", *sys.argv[1:]]))
