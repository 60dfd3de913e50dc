"""`raycv` and `python -m raycv`: the command line, which Ctrl-C ends from its first moment to its last."""

from __future__ import annotations

import signal
import sys

from raycv.stopping import stoppable


def main() -> int:
    """Run one command; returns its exit code, see `raycv.cli.main`."""
    with stoppable():
        from raycv import cli  # which takes a second

        code = cli.main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done; the interpreter's end would only print a traceback
    return code


if __name__ == "__main__":
    sys.exit(main())
