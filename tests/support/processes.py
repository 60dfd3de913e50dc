"""Finding the processes of a Ray cluster, to kill them."""

from __future__ import annotations

from pathlib import Path


def processes(title: bytes) -> list[int]:
    """The numbers of the processes whose title starts with ``title``."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if process.read_bytes().startswith(title):
                found.append(int(process.parent.name))
        except OSError:
            continue
    return found
