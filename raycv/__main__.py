"""`python -m raycv` is the same as `raycv`."""

import sys

from raycv.cli import main

sys.exit(main())
