"""All stages of a run, in order: `ray job submit --working-dir . -- python jobs/run.py --run s3://bucket/prefix`."""

import sys

from raycv.cli import main

sys.exit(main(["run", *sys.argv[1:]]))
