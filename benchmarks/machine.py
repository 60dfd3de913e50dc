"""The machine a table was measured on, in words, and how times are taken."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

SECONDS = 20.0  # that several processes work


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


def together(begun: Callable[[], Callable[[], object]], items: int, processes: int) -> float:
    """Items a second, wall time, of several processes that work at once.

    ``begun`` is called in each and gives its work, of which one round is ``items``; the first is not counted, and
    neither is the start or the end of a process.
    """
    context = multiprocessing.get_context("spawn")
    ready, rates = context.Barrier(processes), context.Value("d", 0.0)
    workers = [context.Process(target=_busy, args=(begun, items, ready, rates)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return float(rates.value)


def _busy(begun: Callable[[], Callable[[], object]], items: int, ready: Any, rates: Any) -> None:
    work = begun()
    work()
    ready.wait()
    done, start = 0, time.monotonic()
    while time.monotonic() < start + SECONDS:
        work()
        done += items
    with rates.get_lock():
        rates.value += done / (time.monotonic() - start)
