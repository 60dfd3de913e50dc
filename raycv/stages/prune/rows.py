"""Rows of the tables pruning and pruning_by_layer: the scores of networks without some of a layer's units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import nn

from raycv.analysis.arrays import Floats, Ints
from raycv.analysis.removal import compensation, order_by, redundancy_order
from raycv.devices import in_float64
from raycv.networks.bench import Bench, NetworkLayer
from raycv.networks.changes import Change, predicted, replaced, scores_of, unchanged
from raycv.networks.cut import Cut
from raycv.networks.evaluation import Scores
from raycv.run import tables
from raycv.run.summary import over_networks
from raycv.run.trial_results import Frames
from raycv.statistics.folds import LayerStatistics, correlation_of
from raycv.statistics.moments import covariance, mean
from raycv.statistics.reader import Statistics

RANDOM = "random"
DRAWS = 5  # random orders
Key = tuple[str, int, int, bool]  # order, draw, number of units removed, whether the others make up for them


@dataclass(frozen=True)
class UnitScores:
    """What the units of one layer of one network are removed by, each (S,); NaN for units that have no such value.

    ``correlation`` (S, S) is that of the units among themselves. ``weights``: None where it is not clear which
    weights lead into a unit.
    """

    partner: Floats
    excess: Floats
    correlation: Floats
    weights: Floats | None
    activation: Floats

    def orders(self) -> dict[str, Ints]:
        """In which order the units go, by the name of the order."""
        found = {
            "partner_low": order_by(self.partner),
            "partner_high": order_by(self.partner, highest_first=True),
            "excess_low": order_by(self.excess),
            "redundancy": redundancy_order(self.correlation),
            "activation": order_by(self.activation),
        }
        return found if self.weights is None else found | {"weights": order_by(self.weights)}


@dataclass(frozen=True)
class Pruner:
    """Removes units of one layer of one network, for all orders and fractions, and scores what is left."""

    bench: Bench
    statistics: Statistics
    fractions: tuple[float, ...]
    fill: Literal["mean", "zero"]

    def on(self, device: str) -> Pruner:
        """The same at work on another device."""
        return replace(self, bench=self.bench.on(device))

    def __call__(self, piece: NetworkLayer) -> Frames:
        """The rows of one piece."""
        of_layer = self.statistics.among(piece.layer, [piece.network])
        removal = Removal.of(of_layer, self.fill)
        orders = self._orders(piece, of_layer, ~removal.usable)
        units = len(removal.usable)
        counts = {round(fraction * units): fraction for fraction in self.fractions}
        keys = [(*order, count, made_up) for order in orders for count in counts for made_up in (False, True)]

        def changes(fold: int) -> Mapping[Key | None, Change]:
            of_keys = {key: removal.change(fold, orders[key[:2]][: key[2]], made_up=key[3]) for key in keys}
            return {None: unchanged} | of_keys

        cut = Cut(self.bench.net(piece.network), piece.layer)
        found = scores_of(cut, self.bench.parts(len(of_layer.folds)), changes)
        whole = found.pop(None)
        rows = [_row(key, scores, whole) | {"fraction": counts[key[2]]} for key, scores in found.items() if key]
        return {"pruning": pd.DataFrame(rows).assign(layer=piece.layer, net=piece.net)}

    def _orders(
        self, piece: NetworkLayer, of_layer: LayerStatistics, left_out: np.ndarray
    ) -> dict[tuple[str, int], Ints]:
        """By order and draw; random orders are drawn several times. ``left_out`` (S,): dead and rare units."""
        total, units = of_layer.all, len(left_out)
        evidence = UnitScores(
            *partners_of(self.bench, piece),
            correlation=correlation_of(total, left_out, 0, 0),
            weights=incoming(self.bench.net(piece.network), piece.layer, units),
            activation=mean(total),
        )
        found = {(name, 0): order for name, order in evidence.orders().items()}
        for draw in range(DRAWS):
            found[RANDOM, draw] = np.random.default_rng([piece.network, draw]).permutation(units)
        return found


@dataclass(frozen=True)
class Removal:
    """What removed units of one layer of one network are set to.

    ``fits``: mean (S,) and covariance (S, S) without each fold.
    """

    fits: Sequence[tuple[Floats, Floats]]
    usable: np.ndarray
    fill: Literal["mean", "zero"]

    @classmethod
    def of(cls, of_layer: LayerStatistics, fill: Literal["mean", "zero"]) -> Removal:
        """From the moments of the network's units; those over all images where they are not kept by fold."""
        fits = [(mean(moments), covariance(moments, 0, 0)) for moments in of_layer.fits()]
        return cls(fits, ~of_layer.left_out(), fill)

    def change(self, fold: int, removed: Ints, *, made_up: bool) -> Change:
        """The activations of one fold's images without the units ``removed`` (R,).

        With ``made_up`` the units that stay predict them as well as they can on the other folds' images.
        """
        centre, spread = self.fits[fold]
        if not made_up:
            return replaced(removed, centre[removed] if self.fill == "mean" else np.zeros(len(removed)))
        by = compensation(centre, spread, self.usable, removed)
        kept = np.setdiff1d(np.arange(len(centre)), removed)
        return predicted(removed, by.weights, by.offset, kept)


def partners_of(bench: Bench, piece: NetworkLayer) -> tuple[Floats, Floats]:
    """(S,) and (S,): each unit's correlation with its best partner, mean over the other networks, and its excess."""
    of_net = [("layer", "==", piece.layer), ("net_a", "==", piece.net)]
    of_best = [("similarity", "==", "correlation"), ("method", "==", "semi")]
    matched = tables.read(bench.store, "matchings", filters=[*of_net, *of_best])
    by_unit = matched.groupby("unit_a").agg({"value": "mean", "excess": "mean"}).sort_index()
    return by_unit["value"].to_numpy(dtype=np.float64), by_unit["excess"].to_numpy(dtype=np.float64)


def incoming(net: nn.Module, layer: str, units: int) -> Floats | None:
    """(S,): the sum of the absolute weights that lead into each unit: those of the layer's last map onto ``units``."""
    maps = [m for m in net.get_submodule(layer).modules() if isinstance(m, nn.modules.conv._ConvNd | nn.Linear)]
    fitting = [m.weight for m in maps if len(m.weight) == units]
    if not fitting:
        return None
    sums: Floats = in_float64(fitting[-1].detach()).abs().flatten(1).sum(1).cpu().numpy()
    return sums


def _row(key: Key, scores: Scores, whole: Scores) -> dict[str, Any]:
    order, draw, removed, made_up = key
    return {
        "removal_order": order,
        "draw": draw,
        "removed": removed,
        "compensated": made_up,
        **scores.columns(),
        **scores.change_from(whole),
    }


def by_layer(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of pruning_by_layer from those of pruning."""
    return over_networks(rows, ("layer", "removal_order", "fraction", "compensated"), ("loss_change", "top1_change"))
