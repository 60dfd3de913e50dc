"""The machine a table was measured on, in words, and how times are taken."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import torch


def in_words() -> str:
    """Cores, kind of processor, instruction set, memory, GPU."""
    cores = os.cpu_count()
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next(
        (line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), "processor"
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"{cores} {model} cores, {instructions}, {memory:.0f} GiB, {gpu}, torch {torch.__version__}"


def best(work: Callable[[], object], repeats: int = 3) -> float:
    """The least processor time of several rounds, seconds; the first is not counted.

    For one thread this is the wall time on an idle machine, and it is meaningful on a busy machine too.
    """
    work()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)
