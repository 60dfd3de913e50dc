"""Pass the images through all networks: `ray job submit --working-dir . -- python jobs/collect.py --run s3://bucket/prefix`."""

import sys

from raycv.cli import main

sys.exit(main(["collect", *sys.argv[1:]]))
