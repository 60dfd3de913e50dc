"""Joint moments of the units of several networks: their algebra, their files, and what the pass has left of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raycv.statistics.reader import Statistics, read

__all__ = ["Statistics", "read"]


def __getattr__(name: str) -> Any:
    """What a run's statistics are read with is imported when it is first used: moments alone need none of it."""
    if name in __all__:
        return getattr(import_module("raycv.statistics.reader"), name)
    raise AttributeError(f"module 'raycv.statistics' has no attribute {name!r}")
