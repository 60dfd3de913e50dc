"""What makes networks converge: `ray job submit --working-dir . -- python jobs/attribute.py --run s3://bucket/prefix`."""

import sys

from raycv.cli import main

sys.exit(main(["attribute", *sys.argv[1:]]))
