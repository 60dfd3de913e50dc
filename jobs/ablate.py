"""Units at their mean: `ray job submit --working-dir . -- python jobs/ablate.py --run s3://bucket/prefix`."""

import sys

from raycv.cli import main

sys.exit(main(["ablate", *sys.argv[1:]]))
