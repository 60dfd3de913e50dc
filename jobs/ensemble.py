"""Networks together: `ray job submit --working-dir . -- python jobs/ensemble.py --run s3://bucket/prefix`."""

import sys

from raycv.cli import main

sys.exit(main(["ensemble", *sys.argv[1:]]))
