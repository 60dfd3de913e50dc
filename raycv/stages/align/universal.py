"""Rows of the tables universal and universal_by_layer: units that are universal by this run's test and as published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from raycv.analysis.recurrence import Recurrence
from raycv.analysis.rotations import Rotations
from raycv.analysis.similarity import jackknife
from raycv.analysis.universality import UNIVERSAL, excess_correlation, mutual_first
from raycv.networks.spec import NetworkSpec
from raycv.stages.align.nulls import LayerNulls

ROTATIONS = 2  # of a network's units; the authors take one
DEFINITIONS = ("tested", "excess", "mutual")
PREDICTORS = ("kurtosis", "active_fraction")  # columns of the table units


class Published(NamedTuple):
    """What the published definitions look at, of a's units with those of another network: (S_a,) each."""

    excess: np.ndarray
    mutual: np.ndarray


def published_of(layer: LayerNulls, *, shuffled: bool = False) -> dict[tuple[int, int], Published]:
    """For every ordered pair of networks; ``shuffled``: with samples of other images or documents in b, if there are.

    Those are some of the samples; the variances of b's units are of all.
    """
    rotations, found = Rotations(), {}
    for a, b in layer.ordered:
        cross = layer.by_chance("shuffled", a, b) if shuffled else layer.cross(a, b)
        if cross is not None:
            excess = excess_correlation(cross, layer.covariances(b), rotations=ROTATIONS, seed=rotations)
            found[a, b] = Published(excess, mutual_first(cross))
    return found


@dataclass(frozen=True)
class Universality:
    """Which units are universal in one layer of some networks, by each of ``DEFINITIONS``."""

    recurs: Recurrence
    pairs: Mapping[tuple[int, int], Published]

    def excess(self, n: int) -> np.ndarray:
        """(S_n,): the mean excess correlation over the other networks."""
        return np.asarray(np.mean([of.excess for (a, _), of in self.pairs.items() if a == n], axis=0))

    def mutual(self, n: int) -> np.ndarray:
        """(S_n,): in how many other networks the unit is a mutual first."""
        return np.asarray(np.sum([of.mutual for (a, _), of in self.pairs.items() if a == n], axis=0))

    def size(self, definition: str, n: int) -> np.ndarray:
        """(S_n,): what decides."""
        return {"tested": self.recurs.partners, "excess": self.excess, "mutual": self.mutual}[definition](n)

    def share(self, definition: str) -> float:
        """Of all networks' live units, those that are universal; NaN where none is live."""
        networks = self.recurs.networks
        others = len(networks) - 1
        which: Callable[[int], np.ndarray] = {
            "tested": lambda n: self.recurs.partners(n) == others,
            "excess": lambda n: self.excess(n) > UNIVERSAL,
            "mutual": lambda n: self.mutual(n) == others,
        }[definition]
        live = np.concatenate([self.recurs.live(n) for n in networks])
        universal = np.concatenate([which(n) for n in networks])
        return float(universal[live].mean()) if live.any() else float("nan")

    def without(self, n: int) -> Universality:
        """Among the other networks alone."""
        return Universality(self.recurs.without(n), {pair: of for pair, of in self.pairs.items() if n not in pair})


def universal_rows(
    layer: str, specs: Sequence[NetworkSpec], found: Universality, shuffled: Universality | None
) -> pd.DataFrame:
    """One row per network and unit; ``shuffled``: with samples of other images or documents, if the pass has them."""
    frames = []
    for n, spec in enumerate(specs):
        live = found.recurs.live(n)
        frames.append(
            pd.DataFrame(
                {
                    "layer": layer,
                    "net": spec.name,
                    "unit": np.arange(len(live)),
                    "partners": found.recurs.partners(n),
                    "excess_correlation": found.excess(n),
                    "shuffled_excess": shuffled.excess(n) if shuffled else np.nan,
                    "mutual_first": found.mutual(n),
                    "shuffled_mutual": shuffled.mutual(n) if shuffled else pd.NA,
                }
            )
        )
    return pd.concat(frames)


def layer_rows(
    layer: str,
    units: pd.DataFrame,
    found: Universality,
    shuffled: Universality | None,
    untrained: Universality | None,
) -> pd.DataFrame:
    """One row per definition, with its interval over networks; ``units``: the layer's rows of the table units."""
    networks = found.recurs.networks
    by_net = [rows for _, rows in units.groupby("net", sort=False)]
    live = [found.recurs.live(n) for n in networks]
    alike = untrained is not None and len(untrained.recurs.networks) == len(networks)
    rows = []
    for definition in DEFINITIONS:
        replicates = [found.without(n).share(definition) for n in networks] if len(networks) > 2 else []
        interval = jackknife(found.share(definition), replicates, units=int(np.mean([of.sum() for of in live])) or None)
        sizes = np.concatenate([found.size(definition, n)[live[n]] for n in networks])
        predicted = {
            f"by_{name}": _rank_correlation(
                sizes, np.concatenate([of[name].to_numpy()[on] for of, on in zip(by_net, live, strict=True)])
            )
            for name in PREDICTORS
        }
        about = {"layer": layer, "definition": definition, "share": found.share(definition)}
        about |= {"low": interval.low, "high": interval.high}
        about["untrained"] = untrained.share(definition) if untrained is not None and alike else np.nan
        about["shuffled"] = shuffled.share(definition) if shuffled and definition != "tested" else np.nan
        rows.append(about | predicted)
    return pd.DataFrame(rows)


def with_all_layers(
    rows: pd.DataFrame, across: pd.DataFrame | None, modules: Mapping[tuple[str, str], str]
) -> pd.DataFrame:
    """The same with what all layers together give; null where not all are compared.

    ``across``: the table across_units; ``modules``: which module a layer is, by network and layer.
    """
    if across is None:
        return rows.assign(mutual_across=None, layer_across=None)
    by = ["net_a", "layer_a", "unit_a"]
    units = across.groupby(by, sort=False)
    most = units["layer_b"].agg(lambda layers: layers.mode()[0])
    found = pd.DataFrame({"mutual_across": units["is_mutual"].sum(), "layer_across": most}).reset_index()
    places = [modules[net, layer] for net, layer in zip(rows["net"], rows["layer"], strict=True)]
    matched = pd.DataFrame({"net_a": [*rows["net"]], "layer_a": places, "unit_a": [*rows["unit"]]}).merge(
        found, how="left", on=by
    )
    counts = matched["mutual_across"].astype("Int64")
    return rows.assign(mutual_across=counts.to_numpy(), layer_across=matched["layer_across"].to_numpy())


def _rank_correlation(sizes: np.ndarray, values: np.ndarray) -> float:
    """Spearman's; NaN where one is constant."""
    from scipy.stats import spearmanr  # which takes a second

    if len(set(sizes)) < 2 or len(set(values)) < 2:
        return float("nan")
    return float(spearmanr(sizes, values).statistic)
