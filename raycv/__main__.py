"""`raycv` and `python -m raycv`: the command line, which Ctrl-C ends from its first moment to its last."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

from raycv.stopping import stoppable


def main() -> NoReturn:
    """Run one command and end with its exit code, see `raycv.cli.main`."""
    with stoppable():
        from raycv import cli  # which takes a second

        code = cli.main()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # whoever read it may have gone
                stream.flush()
        os._exit(code)  # at once: the interpreter would tidy up PyTorch and Ray for a second, in which Ctrl-C is lost


if __name__ == "__main__":
    main()
