"""Pictures of units: `ray job submit --working-dir . -- python jobs/patches.py --run s3://bucket/prefix`."""

import sys

from raycv.cli import main

sys.exit(main(["patches", *sys.argv[1:]]))
