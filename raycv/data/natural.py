"""Names in the order that a person gives them: conv2 before conv10."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_NUMBER = re.compile(r"([0-9]+)")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """What names are sorted by, so that their numbers count as numbers.

    >>> sorted(["conv10", "conv2", "a"], key=natural_key)
    ['a', 'conv2', 'conv10']
    """
    parts = _NUMBER.split(name)
    return [(1, int(part), "") if n % 2 else (0, 0, part) for n, part in enumerate(parts) if part]


def natural(names: Iterable[str]) -> list[str]:
    """Names in natural order."""
    return sorted(names, key=lambda name: (natural_key(name), name))


def untangled(names: Sequence[str]) -> list[str]:
    """Names that stand sorted as text (0, 1, 10, 11, 2) in natural order; others as they stand.

    >>> untangled(["0", "1", "10", "2"]), untangled(["2", "0", "1"])
    (['0', '1', '2', '10'], ['2', '0', '1'])
    """
    return natural(names) if list(names) == sorted(names) else list(names)
