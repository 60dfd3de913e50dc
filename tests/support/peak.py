"""How much memory a piece of work takes at its peak, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

BEFORE = """
import ctypes, json, sys
import torch
torch.set_num_threads(1)

def peak():  # of this program alone: what getrusage says begins with the peak of the process that started it
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

def begin():  # the peak from now on; what was freed goes back to the system first
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")
    return peak()
"""


def measured(program: str, *arguments: object) -> dict[str, float]:
    """What ``program`` prints as JSON; it has ``begin`` and ``peak``, bytes, and its arguments in ``sys.argv``."""
    command = [sys.executable, "-c", BEFORE + program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
