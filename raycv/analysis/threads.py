"""How many threads a computation in NumPy arrays may use."""

from __future__ import annotations

import os
import sys


def threads() -> int:
    """As many as PyTorch computes with (``torch.set_num_threads``) where it is loaded, which it need not be.

    Otherwise as many as it would start with: the environment variable OMP_NUM_THREADS, which Ray sets for every actor
    and task, or the processors that this process may use.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked.isdecimal() and int(asked):
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
