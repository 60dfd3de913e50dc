"""Axes of tensors, and which of them count the same things in the same order.

An axis is plain, a product of axes (row by row: the outermost first, as a view puts them together), or several axes end
to end. When a network adds two tensors, their axes are *united* and are one from then on. An axis that is taken apart,
by a view or a slice, is taken apart wherever it occurs. A plain axis is *fixed* where its order matters.

An axis that was the inner part of another may be ordered differently for each place of the outer one: the units of one
attention head need no relation to those of the next. ``outer`` holds these outer axes. Where a network takes one place
of the outer axis out, as a query out of query, key and value, the inner axis there is one of its ``copies``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod


class Misfit(Exception):
    """Two axes are not made of the same parts."""


class Axis:
    """One axis, or what has become of it. Compared by identity; `find` leads to what it is now."""

    def __init__(self, size: int, fixed: str = "", outer: frozenset[Axis] = frozenset()) -> None:
        self.size, self.fixed, self.outer = size, fixed, outer
        self.nearly = False  # passes an operation that mixes neighbours a little
        self.same: Axis | None = None
        self.factors: tuple[Axis, ...] = ()
        self.parts: tuple[Axis, ...] = ()
        self.copies: dict[Axis, list[Axis]] = {}

    @property
    def is_plain(self) -> bool:
        """Whether it is neither a product nor several axes end to end."""
        return not (self.factors or self.parts)


def find(axis: Axis) -> Axis:
    """What ``axis`` is now."""
    while axis.same is not None:
        axis = axis.same
    return axis


def factors(axis: Axis) -> list[Axis]:
    """The axes of which ``axis`` is the product, none of them a product or of size 1; itself where it is none."""
    axis = find(axis)
    if axis.size == 1:
        return []
    return [inner for factor in axis.factors for inner in factors(factor)] if axis.factors else [axis]


def parts(axis: Axis) -> list[Axis]:
    """The axes that lie end to end in ``axis``; itself where it is none."""
    axis = find(axis)
    return [piece for part in axis.parts for piece in parts(part)] if axis.parts else [axis]


def plain(axis: Axis) -> list[Axis]:
    """All plain axes in ``axis``."""
    axis = find(axis)
    return [axis] if axis.is_plain else [leaf for inner in (*axis.factors, *axis.parts) for leaf in plain(inner)]


def product(inner: Sequence[Axis]) -> Axis:
    """The product of axes, the outermost first."""
    flat = [factor for axis in inner for factor in factors(axis)]
    if len(flat) == 1:
        return flat[0]
    made = Axis(prod(axis.size for axis in flat))
    made.factors = tuple(flat)
    return made


def joined(pieces: Sequence[Axis]) -> Axis:
    """Axes end to end."""
    if len(pieces) == 1:
        return pieces[0]
    made = Axis(sum(piece.size for piece in pieces))
    made.parts = tuple(pieces)
    return made


def fix(axis: Axis, reason: str) -> None:
    """Note that the order along ``axis`` matters. The first reason stays."""
    for leaf in plain(axis):
        leaf.fixed = leaf.fixed or reason
        for copies in leaf.copies.values():
            for copy in copies:
                fix(copy, reason)


def split(axis: Axis, outer: int) -> tuple[Axis, Axis]:
    """Take an axis that is no product apart into one of ``outer`` places and the rest. Raises Misfit."""
    axis = find(axis)
    if axis.size % outer or axis.factors:
        raise Misfit
    inner = axis.size // outer
    if axis.parts:
        pieces = parts(axis)
        if len(pieces) != outer or any(piece.size != inner for piece in pieces):
            raise Misfit
        first = Axis(outer, fixed="its places were put end to end")
        second = Axis(inner, outer=frozenset([first]))
        second.copies[first] = pieces
        return first, second
    pairs = {of: [split(copy, outer) for copy in copies] for of, copies in axis.copies.items()}
    first = Axis(outer, axis.fixed, axis.outer)
    second = Axis(inner, axis.fixed, axis.outer | {first})
    first.nearly = second.nearly = axis.nearly
    first.copies = {of: [one for one, _ in found] for of, found in pairs.items()}
    second.copies = {of: [one for _, one in found] for of, found in pairs.items()}
    axis.factors, axis.copies = (first, second), {}
    return first, second


def cut(axis: Axis, start: int) -> list[Axis]:
    """Cut a plain axis in two before place ``start``. Raises Misfit."""
    axis = find(axis)
    if not axis.is_plain or axis.copies:
        raise Misfit
    axis.parts = Axis(start, axis.fixed, axis.outer), Axis(axis.size - start, axis.fixed, axis.outer)
    for part in axis.parts:
        part.nearly = axis.nearly
    return list(axis.parts)


def piece(axis: Axis, start: int, stop: int) -> Axis:
    """The places from ``start`` to before ``stop``. Raises Misfit."""
    axis = find(axis)
    if (start, stop) == (0, axis.size):
        return axis
    if axis.factors:
        first, *rest = factors(axis)
        inner = axis.size // first.size
        if start % inner or stop % inner:
            raise Misfit
        return product([piece(first, start // inner, stop // inner), *rest])
    if axis.is_plain:
        if axis.fixed:
            return Axis(stop - start, axis.fixed)
        pieces = [*cut(axis, start)] if start else [axis]
        return cut(pieces[-1], stop - start)[0] if stop < axis.size else pieces[-1]
    chosen, at = [], 0
    for part in parts(axis):
        if at < stop and at + part.size > start:
            chosen.append(piece(part, max(start - at, 0), min(stop - at, part.size)))
        at += part.size
    return joined(chosen)


def place(axis: Axis, outer: Axis, index: int) -> Axis:
    """What ``axis`` is at one place of the plain axis ``outer``."""
    axis, outer = find(axis), find(outer)
    if not axis.is_plain:
        inner = [place(one, outer, index) for one in (axis.factors or axis.parts)]
        return product(inner) if axis.factors else joined(inner)
    around = {leaf for one in axis.outer for leaf in plain(one)}
    if axis.fixed or outer not in around:
        return axis
    if outer not in axis.copies:
        rest = sorted(around - {outer}, key=lambda one: len(one.outer))
        axis.copies[outer] = [
            Axis(axis.size, axis.fixed, frozenset(place(one, outer, n) for one in rest)) for n in range(outer.size)
        ]
        for copy in axis.copies[outer]:
            copy.nearly = axis.nearly
    return axis.copies[outer][index]


def _around(axis: Axis) -> set[Axis]:
    """The plain axes in ``axis`` and those that are outer to them, and so on."""
    found, queue = set(), plain(axis)
    while queue:
        leaf = queue.pop()
        if leaf not in found:
            found.add(leaf)
            queue += [one for outer in leaf.outer for one in plain(outer)]
    return found


def regroup(inner: Sequence[Axis], sizes: Sequence[int]) -> list[Axis]:
    """The product of axes as axes of other ``sizes``, as a view makes them. Raises Misfit."""
    left, result = [factor for axis in inner for factor in factors(axis)][::-1], []
    for size in sizes:
        taken, done = [], 1
        while done < size:
            if not left:
                raise Misfit
            next_one = left.pop()
            missing = size // done
            if next_one.size > missing:
                first, rest = split(next_one, missing)
                left.append(rest)
                next_one = first
            taken.append(next_one)
            done *= next_one.size
            if size % done:
                raise Misfit
        result.append(product(taken) if taken else Axis(1))
    return result


def unite(a: Axis, b: Axis) -> None:
    """Note that two axes count the same things in the same order; where they do not fit, the order of both is fixed."""
    a, b = find(a), find(b)
    if a is b or a.size == b.size == 1:
        return
    if a.is_plain or b.is_plain:
        _identify(*((a, b) if a.is_plain else (b, a)))
        return
    try:
        if a.parts and b.parts:
            _unite_parts(a, b)
        else:
            _unite_factors(a, b)
    except Misfit:
        for axis in (a, b):
            fix(axis, "it is put together in two ways")


def _identify(a: Axis, b: Axis) -> None:
    """From now on the plain axis ``a`` is ``b``."""
    a.same = b
    for leaf in plain(b):
        leaf.outer |= {outer for outer in a.outer if leaf not in _around(outer)}
        leaf.nearly |= a.nearly
    for outer, copies in a.copies.items():
        for index, copy in enumerate(copies):
            unite(place(b, outer, index), copy)
    if a.fixed:
        fix(b, a.fixed)


def _unite_parts(a: Axis, b: Axis) -> None:
    left, right = parts(a)[::-1], parts(b)[::-1]
    while left:
        x, y = left.pop(), right.pop()
        for one, other, rest in ((x, y, left), (y, x, right)):
            if one.size > other.size:
                first = piece(one, 0, other.size)
                rest.append(piece(one, other.size, one.size))
                unite(first, other)
        if x.size == y.size:
            unite(x, y)


def _unite_factors(a: Axis, b: Axis) -> None:
    left, right = factors(a)[::-1], factors(b)[::-1]
    while left:
        x, y = left.pop(), right.pop()
        for one, other, rest in ((x, y, left), (y, x, right)):
            if one.size > other.size:
                first, second = split(one, other.size)
                rest.append(second)
                unite(first, other)
        if x.size == y.size:
            unite(x, y)
