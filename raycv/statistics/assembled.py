"""What is cut into files, put together again: the moments of some networks, mutual information, and chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raycv.run.paths import Key, chance_path, draws_path, information_path, moments_path, sums_path
from raycv.run.store import RunStore
from raycv.statistics.checked import Shapes, checked, damaged, read_checked
from raycv.statistics.folding import FOLDS
from raycv.statistics.parts import OF_UNITS, Arrays, Part, information_of, others_by_part, parts


def fold_arrays(
    store: RunStore,
    folder: str,
    key: Key,
    widths: Sequence[int],
    folds: int,
    networks: Sequence[int],
    *,
    products: bool,
) -> list[Arrays]:
    """By fold the arrays of `raycv.statistics.parts`, whole, that are about ``networks``; without ``products`` fewer.

    ``widths``: of all networks of the group. Raises UserError where a file is damaged or has a pilot of its own.
    """
    found: list[Arrays] = []
    for fold in range(folds):
        pieces: dict[str, list[np.ndarray]] = {}
        for number, part in enumerate(parts(widths)):
            shapes = _shapes_of_part(part, widths, networks, products=products)
            if len(shapes) > 1:
                path = moments_path(folder, key, fold, number)
                for name, values in _some(store, path, shapes).items():
                    pieces.setdefault(name, []).append(values)
        counts = pieces.pop("count")
        found.append({name: _whole(values) for name, values in pieces.items()} | {"count": counts[0]})
        for name in (f"{n}/pilot" for n in networks):
            if not np.array_equal(found[0][name], found[-1][name]):
                path = moments_path(folder, key, fold, 0)
                raise damaged(store, path, "its pilot is not that of the first fold")
    return found


def sum_arrays(store: RunStore, folder: str, key: Key, widths: Sequence[int], networks: Sequence[int]) -> list[Arrays]:
    """By fold of eight the sums of single units of ``networks``, of a layer whose products are in fewer folds.

    ``widths``: of all networks of the group. Raises UserError where a file is damaged.
    """
    shapes: Shapes = {f"{n}/{name}": (widths[n],) for n in networks for name in OF_UNITS}
    return [_some(store, sums_path(folder, key, fold), {"count": (), **shapes}) for fold in range(FOLDS)]


def information(store: RunStore, folder: str, layer: str, widths: Sequence[int], a: int, b: int) -> Arrays:
    """Mutual information of networks a <= b, nats: value and corrected, both (S_a, S_b)."""
    blocks = information_of(widths, a, b)
    pieces: dict[str, list[np.ndarray]] = {"value": [], "corrected": []}
    for block in blocks:
        shape = block.last - block.first, widths[b]
        path = information_path(folder, layer, a, b, block.first)
        arrays = read_checked(store, path, dict.fromkeys(pieces, shape))
        for name, values in pieces.items():
            values.append(arrays[name])
    found = {name: _whole(values) for name, values in pieces.items()}
    if a == b and len(blocks) > 1:  # each pair of units is stored once
        for matrix in found.values():
            for block in blocks[:-1]:
                matrix[block.last :, block.first : block.last] = matrix[block.first : block.last, block.last :].T
    return found


def chance(
    store: RunStore,
    folder: str,
    key: Key,
    widths: Sequence[int],
    network: int,
    others: Sequence[int] | None,
    *,
    informed: bool,
) -> Arrays:
    """What ``others``, or all, have in common with chance in the place of one network.

    `raycv.stages.collect.nulls` says what that is. ``informed``: with mutual information, too.
    """
    found: Arrays = {}
    for number, part in enumerate(others_by_part(widths, network)):
        wanted = [other for other in part if others is None or other in others]
        if not wanted and number > 0:
            continue
        path = chance_path(folder, key, network, number)
        with store.open_arrays(path) as arrays:
            rectified = any("prerelu" in name for name in arrays)  # else the layer does not end in a ReLU
            shapes = _shapes_of_chance(widths, network, wanted, rectified, informed)
            if number == 0:
                own = widths[network]
                shapes |= {"kurtosis": (own,)}
                shapes |= {"prerelu/own": (own, own), "prerelu/active": (own,)} if rectified else {}
            read = {name: arrays[name] for name in shapes if name in arrays}
        found |= checked(store, path, read, shapes)
    return found


def kurtosis(store: RunStore, folder: str, key: Key, widths: Sequence[int]) -> np.ndarray:
    """(U,): the excess kurtosis of the networks' stacked units."""
    paths = [chance_path(folder, key, network, 0) for network in range(len(widths))]
    return np.concatenate(
        [_some(store, path, {"kurtosis": (width,)})["kurtosis"] for path, width in zip(paths, widths, strict=True)]
    )


def draws(store: RunStore, folder: str, key: Key, widths: Sequence[int], network: int, others: Sequence[int]) -> Arrays:
    """Draws by which single units of ``others`` are tested; see `raycv.stages.collect.nulls`."""
    found: Arrays = {}
    for number, part in enumerate(others_by_part(widths, network)):
        wanted = [other for other in part if other in others]
        if wanted:
            path = draws_path(folder, key, network, number)
            with store.open_arrays(path) as arrays:
                shapes = _shapes_of_draws(widths, network, wanted, any("prerelu" in name for name in arrays))
                read = {name: arrays[name] for name in shapes if name in arrays}
            found |= checked(store, path, read, shapes)
    return found


def _some(store: RunStore, path: str, shapes: Shapes) -> Arrays:
    """Only those arrays of a file that are asked for."""
    with store.open_arrays(path) as arrays:
        read = {name: arrays[name] for name in shapes if name in arrays}
    return checked(store, path, read, shapes)


def _whole(pieces: list[np.ndarray]) -> np.ndarray:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _shapes_of_part(part: Part, widths: Sequence[int], networks: Sequence[int], *, products: bool) -> Shapes:
    shapes: Shapes = {"count": ()}
    for block in part:
        if block.a in networks and block.b in networks:
            rows = block.last - block.first
            shapes |= dict.fromkeys(block.of_units.values(), (rows,))
            shapes |= {block.name: (rows, widths[block.b])} if products else {}
    return shapes


def _shapes_of_chance(
    widths: Sequence[int], network: int, others: Sequence[int], rectified: bool, informed: bool
) -> Shapes:
    shapes: Shapes = {}
    for other in others:
        kinds = (["shuffled", "shuffled_within"] if other < network else []) + ["prerelu"] * rectified
        shapes |= {f"{kind}/{other}": (widths[other], widths[network]) for kind in kinds}
    return shapes | ({f"information/{name}": shape for name, shape in shapes.items()} if informed else {})


def _shapes_of_draws(widths: Sequence[int], network: int, others: Sequence[int], rectified: bool) -> Shapes:
    shapes: Shapes = {}
    for other in others:
        if other < network:
            for prefix, width in (("", widths[other]), ("own/", widths[network])):
                shapes |= {f"{prefix}value/{other}": (width,), f"{prefix}shuffled/{other}": (None, width)}
        shapes |= {f"prerelu/{other}": (None, widths[other])} if rectified else {}
    return shapes
