"""Networks joined from two: `ray job submit --working-dir . -- python jobs/stitch.py --run s3://bucket/prefix`."""

import sys

from raycv.cli import main

sys.exit(main(["stitch", *sys.argv[1:]]))
