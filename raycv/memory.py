"""How much memory a stage needs, and the refusal where there is not as much: before it starts, with what to change.

The formulas stand in ``memory.py`` of each stage. They bound the peak of one process from above, as the widths of
layers, the sizes of networks and the settings give it. None grows with the number of images, but that of `ensemble`,
which fits read-outs on them.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from raycv.errors import UserError

IDLE_PROCESS = 600 * 2**20  # bytes of a process with PyTorch and Ray loaded
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of the memory of a container

FEWER_NETWORKS = "compare fewer networks, or leave the widest layers out with `raycv train --layers`"


@dataclass(frozen=True)
class Need:
    """Bytes of memory at the peak of each of ``count`` processes that run at the same time.

    ``who``: such as "a worker". ``remedy``: what a person can change, a clause.
    """

    bytes: int
    remedy: str
    who: str = "the command"
    count: int = 1

    @classmethod
    def of(cls, beyond: float, remedy: str, who: str = "the command", count: int = 1) -> Need:
        """``beyond``: bytes beyond those of an idle process."""
        return cls(IDLE_PROCESS + int(beyond), remedy, who, count)

    def __str__(self) -> str:
        times = f"{self.count} times " if self.count > 1 else ""
        return f"{times}{self.bytes / 1e9:,.1f} GB for {self.who}"


def of_machine() -> int:
    """Bytes of memory that this machine has, or the container in which this process runs."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in LIMITS:
        with contextlib.suppress(OSError, ValueError):  # another kind of machine, or no limit
            found.append(int(Path(limit).read_text()))
    return min(found)


def available() -> int:
    """Bytes of memory that this machine has to spare now, or at most those of the container of this process."""
    found = [of_machine()]
    with contextlib.suppress(OSError, ValueError, StopIteration):  # another kind of machine
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]))
    return min(found)


def check_command(stage: str, need: Need) -> None:
    """Raise UserError where this machine has less memory than the command needs."""
    there = of_machine()
    if need.bytes > there:
        raise UserError(
            f"{stage} needs up to {need.bytes / 1e9:,.1f} GB of memory and this machine has {there / 1e9:,.1f} GB; "
            f"{need.remedy}."
        )


def check_nodes(stage: str, need: Need, nodes: list[int]) -> None:
    """Raise UserError where none of ``nodes``, by their bytes, holds one of the processes, or all do not hold all."""
    largest, together = max(nodes, default=0), sum(nodes)
    if need.bytes > largest:
        raise UserError(
            f"{stage} needs up to {need.bytes / 1e9:,.1f} GB of memory for {need.who} and the largest node has "
            f"{largest / 1e9:,.1f} GB; {need.remedy}."
        )
    if need.count * need.bytes > together:
        raise UserError(
            f"{stage} needs up to {need.bytes / 1e9:,.1f} GB of memory for {need.who}, {need.count} times, and the "
            f"cluster has {together / 1e9:,.1f} GB; {need.remedy}."
        )
