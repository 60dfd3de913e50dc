"""Draw the figures of a run: `ray job submit --working-dir . -- python jobs/figures.py --run s3://bucket/prefix`."""

import sys

from raycv.cli import main

sys.exit(main(["figures", *sys.argv[1:]]))
