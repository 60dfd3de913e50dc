"""Scripts in processes of their own, whose accelerator is that of `tests.support.no_float64`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_on_apple(script: str, *arguments: str) -> list[str]:
    """The lines that a script prints in a process whose accelerator has no float64."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-5000:]
    return done.stdout.splitlines()
