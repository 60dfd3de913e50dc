"""Write the report of a run: `ray job submit --working-dir . -- python jobs/report.py --run s3://bucket/prefix`."""

import sys

from raycv.cli import main

sys.exit(main(["report", *sys.argv[1:]]))
