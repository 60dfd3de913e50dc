"""A run for the stages that come after a run: networks of which two differ only in the order of their units."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from raycv.analysis.matching import semi_matching
from raycv.networks import checkpoints
from raycv.networks.checkpoints import weights_of
from raycv.networks.models import build
from raycv.networks.stored import stored
from raycv.run import record, tables
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.statistics.folds import LayerStatistics, correlation_of
from raycv.statistics.moments import mean, offsets, variance
from tests.support.by_hand import fold_of, outputs
from tests.support.permuted import permuted
from tests.support.runs import moments_of, spec, write_statistics

LAYERS, FOLDS = ("conv3", "fc7", "fc8"), 8


def write_aligned_run(store: RunStore, images: Path, width: int) -> RunStore:
    """net2 is net1 with units of conv3 and fc7 in another order; none is trained. Tables have what later stages read.

    It is written without Ray. A partner beyond chance is here one that correlates above .9.
    """
    specs = [spec(number, width, LAYERS) for number in (1, 2, 3)]
    for stage in ("train", "collect", "align"):
        record.finish(store, stage, stage, {"data": str(images)}, {})
    for one in specs:
        checkpoints.save(store, one, build(one).state_dict())
    first, third = _centred(store, 0), _centred(store, 2)
    of_nets = [first, permuted(first, {"conv3": "conv4", "fc7": "fc8"}, seed=0), third]
    for one, of_net in zip(specs, of_nets, strict=True):
        checkpoints.save(store, one, of_net)
    folds = {layer: _folds(store, layer) for layer in LAYERS}
    assert not any(found.left_out().any() for found in folds.values())
    write_statistics(store, specs, {layer: found.folds for layer, found in folds.items()}, images=160)
    for name, frame in _tables(folds).items():
        tables.write(store, name, frame.reindex(columns=BY_NAME[name].schema.names).fillna({"recurring_group": -1}))
    return store


def _centred(store: RunStore, number: int) -> dict[str, Tensor]:
    """The weights of a network whose units fire for about half of the samples: none is dead or rare."""
    for layer in LAYERS[:2]:
        network = stored(store)[number]
        weights = weights_of(store, network)
        before = outputs(store, number, tap=f"{layer}.0")
        weights[f"{layer}.0.bias"] -= before.movedim(1, -1).flatten(0, -2).mean(0)
        checkpoints.save(store, network.spec, weights)
    return weights


def _folds(store: RunStore, layer: str) -> LayerStatistics:
    found = [outputs(store, number, tap=layer) for number in range(3)]
    fold = fold_of(len(found[0]), FOLDS)
    samples = [[out[fold == f].movedim(1, -1).reshape(-1, out.shape[1]).numpy() for out in found] for f in range(FOLDS)]
    return LayerStatistics(tuple(moments_of(of_fold) for of_fold in samples))


def _tables(folds: dict[str, LayerStatistics]) -> dict[str, pd.DataFrame]:
    """matchings, alignment, recurrence and units of all layers."""
    frames: dict[str, list[pd.DataFrame]] = {name: [] for name in ("matchings", "alignment", "recurrence", "units")}
    for layer, found in folds.items():
        total, left_out = found.all, found.left_out()
        bounds = offsets(total.widths)
        best = {}
        for a, b in permutations(range(3), 2):
            best[a, b] = semi_matching(correlation_of(total, left_out, a, b))
            about = {"layer": layer, "net_a": f"net{a + 1}", "net_b": f"net{b + 1}"}
            about |= {"similarity": "correlation", "method": "semi"}
            matched = {"unit_a": np.arange(total.widths[a]), "unit_b": best[a, b].columns, "value": best[a, b].values}
            excess = best[a, b].values - 0.2 * np.cos(np.arange(total.widths[a]))
            frames["matchings"].append(pd.DataFrame(about | matched | {"excess": excess, "q_value": 0.01}))
            average = float(np.nanmean(best[a, b].values))
            frames["alignment"].append(pd.DataFrame([about | {"units": 1, "mean": average, "excess": average - 0.2}]))
        for n in range(3):
            others = [m for m in range(3) if m != n]
            unit, own = np.arange(total.widths[n]), slice(bounds[n], bounds[n + 1])
            of_net = pd.DataFrame({"unit": unit}).assign(layer=layer, net=f"net{n + 1}")
            mutual = sum((best[m, n].columns[best[n, m].columns] == unit) & (best[n, m].columns >= 0) for m in others)
            partners = sum(best[n, m].values > 0.9 for m in others)
            frames["recurrence"].append(of_net.assign(partners=partners, mutual=mutual))
            state = {"is_dead": found.dead()[own], "is_rare": found.rare()[own]}
            spread = {"mean": mean(total)[own], "std": np.sqrt(variance(total)[own])}
            frames["units"].append(of_net.assign(**spread, **state))
    return {name: pd.concat(parts) for name, parts in frames.items()}
