"""Which layers of which networks are compared with each other, under what name, and at which positions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from raycv.errors import UserError
from raycv.networks.layer_names import LayerSize, nearest
from raycv.networks.spec import BETWEEN, LOGITS, NetworkSpec, Place
from raycv.networks.tokens import CLASS, grid_of, part_among
from raycv.progress import say

There = Mapping[str, LayerSize]  # the layers of one network
Rows = dict[str, list[str]]  # name of a comparison -> the layer of every network


def rows_of(specs: Sequence[NetworkSpec], there: Sequence[There], compare: Sequence[str]) -> Rows:
    """The layers compared with each other, by the name that they get: their own one where it is the same.

    "same" takes layers of the same name. So does "all"; where there are none it takes for every layer of the first
    network the one at the same depth in the others. Raises UserError where nothing can be compared.
    """
    if compare[0] not in ("same", "all"):
        return {_name(row): row for row in (_listed(given, specs, there) for given in compare)}
    hidden = [{layer: of for layer, of in layers.items() if layer != LOGITS} or layers for layers in there]
    common = [layer for layer in hidden[0] if all(layer in layers for layers in hidden)]
    if common:
        left_out = sum(len(layers) for layers in hidden) - len(common) * len(specs)
        if left_out:
            say(f"comparing the layers of the same name: {', '.join(common)}; leaving out {left_out} others")
        return {layer: [layer] * len(specs) for layer in common}
    if compare[0] == "same":
        text = "; ".join(f"{spec.name} has {', '.join(list(of)[:4])}" for spec, of in zip(specs, hidden, strict=True))
        raise UserError(
            f"The networks have no layer of the same name: {text}. Say with --compare which belong together, such as "
            f"{BETWEEN.join(next(iter(of)) for of in hidden)}, or all."
        )
    depths = range(min(len(layers) for layers in hidden))
    rows = [[list(of)[_at_depth(depth, len(depths), len(of))] for of in hidden] for depth in depths]
    paired = ", ".join(BETWEEN.join(row) for row in rows)
    say(f"no layer has the same name in all networks; comparing those at the same depth: {paired}")
    return {_name(row): row for row in rows}


def _at_depth(place: int, of: int, layers: int) -> int:
    """The layer of ``layers`` at the same depth as the one at ``place`` ``of`` so many."""
    return round(place * (layers - 1) / max(of - 1, 1))


def _name(row: Sequence[str]) -> str:
    """What layers are called that are compared with each other."""
    return BETWEEN.join(dict.fromkeys(row)).replace(":", "-")


def _listed(given: str, specs: Sequence[NetworkSpec], there: Sequence[There]) -> list[str]:
    """The layer of every network, from what a user names: one for each, or one for each architecture."""
    named = given.split(BETWEEN)
    kinds = list(dict.fromkeys(spec.architecture for spec in specs))
    if len(named) not in (1, len(kinds), len(specs)):
        raise UserError(
            f"--compare was given {given!r}, which names {len(named)} layers for {len(specs)} networks of {len(kinds)} "
            f"architectures; name one layer for each of them, with {BETWEEN} between two."
        )
    one_each = len(named) == len(specs)
    row = named if one_each else [named[kinds.index(spec.architecture) % len(named)] for spec in specs]
    for spec, layer, of in zip(specs, row, there, strict=True):
        if layer not in of:
            raise UserError(
                f"--compare was given {given!r}, and {spec.name} ({spec.model}) has no layer {layer!r}; the nearest "
                f"are {', '.join(nearest(layer, list(of)))}."
            )
    return row


def placed(specs: Sequence[NetworkSpec], there: Sequence[There], rows: Rows, positions: str) -> list[NetworkSpec]:
    """The networks with these comparisons as their layers, each at its place."""
    grids = {name: _grid(name, row, specs, there, positions) for name, row in rows.items()}
    made = []
    for network, spec in enumerate(specs):
        places = tuple(Place(module=row[network], grid=grids[name]) for name, row in rows.items())
        plain = all(place == Place(module=name) for place, name in zip(places, rows, strict=True))
        made.append(spec.model_copy(update={"layers": tuple(rows), "places": () if plain else places}))
    return made


def _grid(
    name: str, row: Sequence[str], specs: Sequence[NetworkSpec], there: Sequence[There], positions: str
) -> tuple[int, ...] | None:
    """The grid to which the layers compared are averaged; None where they stay as they are."""
    if positions == "same":
        return None
    if positions == "mean":
        return ()
    parts = [part_among(path, spec.layers) for path, spec in zip(row, specs, strict=True)]
    own = [() if part.tokens == CLASS else of[path].grid for part, path, of in zip(parts, row, there, strict=True)]
    if len({() if math.prod(positions) == 1 else positions for positions in own}) == 1:
        return None
    grids = [grid_of(positions) for positions in own]
    found = [grid for grid in grids if grid is not None]
    if len(found) < len(grids):
        which = grids.index(None)
        raise UserError(
            f"Layer {row[which]} of {specs[which].name} has no grid of positions and is compared with {name} of others "
            "that have one, so neither can be resampled; compare with --positions mean."
        )
    return min(height for height, _ in found), min(width for _, width in found)
