"""Train the networks of a run: `ray job submit --working-dir . -- python jobs/train.py --run s3://bucket/prefix`."""

import sys

from raycv.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
