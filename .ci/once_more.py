"""Runs the tests that the last run of pytest has noted as failed, alone and one after the other.

pytest's own --last-failed does not know them by the names that pytest-xdist gives to tests of a group, which end in
"@GROUP", and runs all tests where it knows none. Fails where none is noted, as after a crash.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

NOTED = Path(".pytest_cache/v/cache/lastfailed")


def main() -> None:
    """Becomes pytest."""
    if not NOTED.exists():
        raise SystemExit("No test is noted as failed, so there is none to run once more.")
    names = [re.sub(r"@[^@\]]*$", "", name) for name in json.loads(NOTED.read_text())]
    os.execv(sys.executable, [sys.executable, "-m", "pytest", "-n", "0", "-m", "not faults", *names])


if __name__ == "__main__":
    main()
