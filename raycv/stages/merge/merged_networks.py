"""Which networks are merged."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from raycv.errors import UserError
from raycv.networks.spec import NetworkSpec, check_sees_images


class MergedNetworks(NamedTuple):
    """Networks that are made one: their numbers and names, and what matches their units."""

    networks: tuple[int, ...]
    nets: str
    matching: str

    @property
    def name(self) -> str:
        """The path of its result."""
        return f"{self.nets}/{self.matching}"


def all_together(asked: Sequence[str], matchings: Sequence[str], specs: Sequence[NetworkSpec]) -> list[MergedNetworks]:
    """What ``asked`` names, once for each matching. Raises UserError for networks that are not there or differ."""
    names = [spec.name for spec in specs]
    everything = [*combinations(range(len(names)), 2), *([tuple(range(len(names)))] if len(names) > 2 else [])]
    chosen: list[tuple[int, ...]] = []
    for text in asked:
        chosen += everything if text == "all" else [_numbers(text, names)]
    for networks in chosen:
        _check_alike([specs[number] for number in networks])
    found = [
        MergedNetworks(networks, "-".join(names[n] for n in networks), how) for networks in chosen for how in matchings
    ]
    return list(dict.fromkeys(found))


def _numbers(text: str, names: Sequence[str]) -> tuple[int, ...]:
    found = _split(text, names)
    if found is None or len(found) < 2 or len(set(found)) < len(found):
        raise UserError(
            f"--pairs was given {text!r}, which does not name two or more different networks of the run with hyphens "
            f"between them; it has {', '.join(names)}. Write all, or such as {names[0]}-{names[1]}."
        )
    return tuple(names.index(name) for name in found)


def _split(text: str, names: Sequence[str]) -> list[str] | None:
    """The names in ``text``, which may have hyphens themselves; None where it is made of others."""
    if text in names:
        return [text]
    for name in names:
        rest = _split(text[len(name) + 1 :], names) if text.startswith(f"{name}-") else None
        if rest is not None:
            return [name, *rest]
    return None


def _check_alike(specs: Sequence[NetworkSpec]) -> None:
    first = specs[0]
    check_sees_images(first)
    for spec in specs[1:]:
        if (spec.architecture, spec.classes) != (first.architecture, first.classes):
            raise UserError(
                f"{first.name} ({_said(first)}) and {spec.name} ({_said(spec)}) cannot be merged: their weights differ "
                "in number. Name networks of one model and width with --pairs."
            )


def _said(spec: NetworkSpec) -> str:
    return f"{spec.model} of width {spec.width}" if spec.width else spec.model
