"""Rows of the tables of `raycv ablate`: the scores of networks with groups of units, or one unit, at their mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from raycv.analysis.arrays import Ints
from raycv.networks.bench import Bench, NetworkLayer
from raycv.networks.changes import Change, replaced, scores_of, unchanged
from raycv.networks.cut import Cut
from raycv.networks.evaluation import Scores
from raycv.run import tables
from raycv.run.store import RunStore
from raycv.run.summary import over_networks
from raycv.run.trial_results import Frames

WRITTEN = ("ablations", "ablation_classes", "unit_ablations")
DRAWS = 5  # random choices of units
FOLDS = 1  # the mean is over all images
CONTRASTS = (("matched", "unmatched"), ("recurring", "lonely"))
PREDICTORS = ("partner", "excess", "partners", "mean", "std")  # of what one unit does
Key = tuple[str, str, int]  # group, choice, draw


@dataclass(frozen=True)
class Ablater:
    """Sets groups of units of one layer of one network to their mean and scores what is left.

    ``single_units``: the widest layer of which every unit is also removed alone.
    """

    bench: Bench
    single_units: int

    def on(self, device: str) -> Ablater:
        """The same at work on another device."""
        return replace(self, bench=self.bench.on(device))

    def __call__(self, piece: NetworkLayer) -> Frames:
        """The rows of one piece."""
        units = units_of(self.bench.store, piece.layer, piece.net)
        means = units["mean"].to_numpy(dtype=np.float64)
        chosen = choices(groups_of(units, len(self.bench.networks)), _live(units), seed=piece.network)
        changes: dict[Key | int | None, Change] = {None: unchanged}
        changes |= {key: replaced(group, means[group]) for key, group in chosen.items()}
        if len(units) <= self.single_units:
            changes |= {unit: replaced(np.array([unit]), means[[unit]]) for unit in range(len(units))}
        found = scores_of(
            Cut(self.bench.net(piece.network), piece.layer), self.bench.parts(FOLDS), lambda _fold: changes
        )
        whole = found.pop(None)
        frames: dict[str, list[pd.DataFrame]] = {name: [] for name in WRITTEN}
        for key, scores in found.items():
            if isinstance(key, tuple):
                about = dict(zip(("unit_group", "choice", "draw"), key, strict=True))
                row = about | {"units": len(chosen[key])} | scores.columns() | scores.change_from(whole)
                frames["ablations"].append(pd.DataFrame([row]))
                frames["ablation_classes"].append(pd.DataFrame(about | _class_changes(scores, whole)))
            elif key is not None:
                single = {"unit": key} | scores.change_from(whole) | _most(scores, whole)
                frames["unit_ablations"].append(pd.DataFrame([single]))
        return {name: pd.concat(rows).assign(layer=piece.layer, net=piece.net) for name, rows in frames.items() if rows}


def units_of(store: RunStore, layer: str, net: str) -> pd.DataFrame:
    """The units of one layer of one network in their order, with what the tables say of them.

    Columns mean, std, is_dead, is_rare; partners, mutual (`recurrence`); partner, excess (`matchings`, the mean over
    the other networks).
    """
    mine = [("layer", "==", layer), ("net", "==", net)]
    best = [("layer", "==", layer), ("net_a", "==", net), ("similarity", "==", "correlation"), ("method", "==", "semi")]
    matched = tables.read(store, "matchings", filters=best).groupby("unit_a")[["value", "excess"]].mean()
    recurring = tables.read(store, "recurrence", filters=mine).set_index("unit")[["partners", "mutual"]]
    units = tables.read(store, "units", filters=mine).set_index("unit")
    return units.join(recurring).join(matched.rename(columns={"value": "partner"})).sort_index()


def groups_of(units: pd.DataFrame, networks: int) -> dict[str, Ints]:
    """The units of every group; ``units``: rows of `units_of`. Dead and rare units are in none."""
    live = ~(units["is_dead"] | units["is_rare"])
    groups = {
        "matched": live & (units["mutual"] > 0),
        "unmatched": live & (units["mutual"] == 0),
        "recurring": live & (units["partners"] == networks - 1),
        "lonely": live & (units["partners"] == 0),
    }
    return {name: np.flatnonzero(members.to_numpy()) for name, members in groups.items()}


def choices(groups: dict[str, Ints], live: Ints, *, seed: int) -> dict[Key, Ints]:
    """All sets of units that are removed together: by group, choice and draw. Random ones are of the ``live`` units."""
    rng = np.random.default_rng(seed)
    found: dict[Key, Ints] = {}
    for contrast in CONTRASTS:
        fewest = min(len(groups[name]) for name in contrast)
        for name in contrast:
            members = groups[name]
            if not len(members):
                continue
            found[name, "whole", 0] = members
            for draw in range(DRAWS):
                found[name, "random", draw] = rng.choice(live, len(members), replace=False)
                if fewest:
                    found[name, "even", draw] = rng.choice(members, fewest, replace=False)
    return found


def by_layer(ablations: pd.DataFrame, single: pd.DataFrame, units: Callable[[str, str], pd.DataFrame]) -> pd.DataFrame:
    """Rows of ablation_by_layer from those of the tables; ``units`` gives the units of a layer and network."""
    rows: list[dict[str, Any]] = []
    for (layer, net, group), of_group in ablations.groupby(["layer", "net", "unit_group"], sort=False):
        change, number = (of_group.groupby("choice")[column].mean() for column in ("loss_change", "units"))
        about = {"layer": layer, "net": net}
        rows.append(about | {"quantity": group, "value": change["whole"], "units": number["whole"]})
        excess = change["whole"] - change["random"]
        rows.append(about | {"quantity": f"{group}_excess", "value": excess, "units": number["whole"]})
        if "even" in change.index:
            rows.append(about | {"quantity": f"{group}_even", "value": change["even"], "units": number["even"]})
    for (layer, net), of_net in single.groupby(["layer", "net"], sort=False):
        known = units(str(layer), str(net)).assign(loss=of_net.set_index("unit")["loss_change"])
        for quantity, value in of_single_units(known).items():
            rows.append({"layer": layer, "net": net, "quantity": quantity, "value": value, "units": float("nan")})
    found = over_networks(pd.DataFrame(rows), ("layer", "quantity"), ("value", "units"))
    order = {layer: place for place, layer in enumerate(dict.fromkeys(ablations["layer"]))}
    return found.sort_values("layer", key=lambda layers: layers.map(order), kind="stable")


def of_single_units(units: pd.DataFrame) -> dict[str, float]:
    """Rank correlations of the column ``loss`` (rise without the unit) with others, over units that have a partner.

    The last is partial: of loss and partner where the standard deviation is the same. NaN where a column is constant.
    """
    live = units[units["partner"].notna()]
    ranks = live[["loss", *PREDICTORS]].rank().corr()

    def correlation(a: str, b: str) -> float:
        return float(ranks[a].to_dict()[b])

    both, loss, partner = correlation("loss", "partner"), correlation("loss", "std"), correlation("partner", "std")
    rest = (1 - loss**2) * (1 - partner**2)
    return {f"unit_loss_by_{name}": correlation("loss", name) for name in PREDICTORS} | {
        "unit_loss_by_partner_given_std": (both - loss * partner) / math.sqrt(rest) if rest > 0 else math.nan
    }


def _live(units: pd.DataFrame) -> Ints:
    return np.flatnonzero(~(units["is_dead"] | units["is_rare"]).to_numpy())


def _class_changes(scores: Scores, whole: Scores) -> dict[str, Any]:
    return {
        "label": np.arange(len(scores.images)),
        "images": scores.images.astype(np.int64),
        "loss_change": scores.class_loss - whole.class_loss,
        "top1_change": scores.class_top1 - whole.class_top1,
    }


def _most(scores: Scores, whole: Scores) -> dict[str, Any]:
    change = scores.class_loss - whole.class_loss
    label = int(np.nanargmax(change))
    return {"label": label, "label_loss_change": change[label]}
