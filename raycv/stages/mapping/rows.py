"""Rows of the tables mappings, mapping_weights, mapping_units and agglomerations: the trials of the sweep."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from raycv.analysis.agglomeration import agglomerate
from raycv.analysis.arrays import Floats
from raycv.analysis.averages import quartiles
from raycv.analysis.infeasible import Infeasible
from raycv.analysis.mapping import SIGNIFICANT, MappingLayer, find_decay, lasso_path
from raycv.analysis.sgd import sgd_path
from raycv.analysis.sparsity import loss_with_as_many, rotated_sources
from raycv.devices import for_float64, of_worker, settle
from raycv.run.schema import BY_NAME
from raycv.run.trial_results import Frames
from raycv.stages.mapping.streamed import Stream, streamed_paths
from raycv.statistics.folds import LayerStatistics, correlations
from raycv.statistics.heldout import HeldOut, PairMoments, cross_validate, pair_moments
from raycv.statistics.reader import Mixed, Statistics

SOLVERS: dict[str, Callable[..., list[MappingLayer]]] = {"exact": lasso_path, "sgd": sgd_path}
NULLS = ("rotated_loss", "prerelu_loss")
WRITTEN = ("mappings", "mapping_weights", "mapping_units", "agglomerations")


@dataclass(frozen=True)
class Sought:
    """Properties of a mapping layer for which a decay is searched."""

    units_used: float | None = None
    loss: float | None = None

    def given(self) -> dict[str, float]:
        """Those that a user asked for."""
        return {what: value for what, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class OfPair:
    """One layer of a source and a target net, in this order: their moments, and mixed units.

    ``mixed``, units mixed before the non-linearity, goes by the networks' numbers in the run.
    """

    moments: LayerStatistics
    mixed: Mapping[int, Mixed]


@dataclass(frozen=True)
class PairMapping:
    """The input of one trial: a layer, a source and a target net (a, b) with their ``names``, decays and solvers."""

    layer: str
    a: int
    b: int
    names: tuple[str, str]
    decays: tuple[float, ...]
    solvers: tuple[str, ...]
    sought: Sought = Sought()
    use_gpu: bool = False

    @property
    def device(self) -> torch.device:
        """Where the trial computes."""
        return for_float64(of_worker(use_gpu=self.use_gpu))


@dataclass(frozen=True)
class LayerMapping:
    """The input of one trial on streamed activations: a layer, between all networks, and decays."""

    layer: str
    decays: tuple[float, ...]
    use_gpu: bool = False


@dataclass(frozen=True)
class _FittedMapping:
    """One mapping layer, how it does on held-out images, what its decay was searched for, if it was, and its nulls."""

    mapping: MappingLayer
    heldout: HeldOut | None
    sought: str = ""
    nulls: dict[str, float] = field(default_factory=lambda: dict.fromkeys(NULLS, np.nan))


@dataclass(frozen=True)
class _PairStatistics:
    """What the solvers need of two networks: correlations, and moments without each fold and of each fold."""

    source: Floats
    target: Floats
    cross: Floats
    fits: list[PairMoments]
    folds: list[PairMoments]

    @classmethod
    def of(cls, pair: LayerStatistics) -> _PairStatistics:
        left_out = pair.left_out()
        found = correlations(pair.all, left_out)
        fits = [pair_moments(moments, left_out) for moments in pair.without_each()]
        return cls(found[0, 0], found[1, 1], found[0, 1], fits, [pair_moments(fold, left_out) for fold in pair.folds])


def mappings_from(statistics: Statistics, given: PairMapping) -> Frames:
    """One trial: ``mappings_of_pair`` of what a run's statistics hold of the two networks."""
    both = given.a, given.b
    return mappings_of_pair(OfPair(statistics.among(given.layer, both), statistics.mixed(given.layer, both)), given)


def mappings_of_pair(found: OfPair, given: PairMapping) -> Frames:
    """The rows of one layer and of the mapping layers that predict network b from network a, from statistics alone.

    Where no decay reaches what is sought, there is no row for it.
    """
    pair = _PairStatistics.of(found.moments)
    about = {"layer": given.layer, "source_net": given.names[0], "target_net": given.names[1]}
    frames: dict[str, list[pd.DataFrame]] = {name: [] for name in WRITTEN}
    for solver in given.solvers:
        began = time.perf_counter()
        fitted = _fit(pair, given, solver)
        seconds = (time.perf_counter() - began) / len(fitted)
        if solver == "exact":
            fitted = _with_nulls(fitted, pair, found.mixed.get(given.a), given)
        for one in fitted:
            is_new = not one.sought or one.mapping.decay not in given.decays
            _add_rows(frames, {**about, "solver": solver}, one, seconds, with_weights=is_new)
        if solver == "exact":
            layers = [one.mapping for one in fitted]
            decays = [mapping.decay for mapping in layers]
            back = lasso_path(pair.target, pair.cross.T, decays, device=given.device) if given.a < given.b else []
            frames["agglomerations"] += _trees(about, layers, back)
    empty = {name: BY_NAME[name].schema.empty_table().to_pandas() for name in WRITTEN}
    return {name: pd.concat(parts) if parts else empty[name] for name, parts in frames.items()}


def mappings_of_layer(data: tuple[Stream, Statistics], given: LayerMapping) -> Frames:
    """The rows of one layer's mapping layers between all networks, trained on streamed activations."""
    began = time.perf_counter()
    stream, statistics = data
    device = for_float64(of_worker(use_gpu=given.use_gpu))
    settle(device)
    paths = streamed_paths(stream, statistics.layer(given.layer), given.layer, given.decays, device=device)
    seconds = (time.perf_counter() - began) / (len(paths) * len(given.decays))
    names = [network.spec.name for network in stream.networks]
    frames: dict[str, list[pd.DataFrame]] = {"mappings": [], "mapping_weights": [], "mapping_units": []}
    for (a, b), layers in paths.items():
        about = {"layer": given.layer, "source_net": names[a], "target_net": names[b], "solver": "streamed"}
        for mapping in layers:
            _add_rows(frames, about, _FittedMapping(mapping, None), seconds, with_weights=True)
    return {name: pd.concat(found) for name, found in frames.items()}


def _fit(pair: _PairStatistics, given: PairMapping, solver: str) -> list[_FittedMapping]:
    """The mapping layers of all decays given and sought."""
    solve = partial(SOLVERS[solver], device=given.device)
    found = [(mapping, "") for mapping in solve(pair.source, pair.cross, given.decays)]
    if solver == "exact":
        for what, value in given.sought.given().items():
            hit = _find(pair, given.device, what, value)
            found += [(hit, f"{what}={value:g}")] if hit is not None else []
    if not pair.fits:
        return [_FittedMapping(mapping, None, sought) for mapping, sought in found]
    # Training as the paper did takes long: it is repeated without the last fold only.
    used = slice(None) if solver == "exact" else slice(-1, None)
    decays = [mapping.decay for mapping, _ in found]
    heldout = cross_validate(pair.fits[used], pair.folds[used], decays, solve)
    return [_FittedMapping(mapping, beside, sought) for (mapping, sought), beside in zip(found, heldout, strict=True)]


def _with_nulls(
    fitted: list[_FittedMapping], pair: _PairStatistics, mixed: Mixed | None, given: PairMapping
) -> list[_FittedMapping]:
    """The same with what mixtures of the source units give; ``mixed``: those before the non-linearity, if any."""
    rotation = np.random.default_rng([given.a, given.b])
    mixtures = {"rotated_loss": rotated_sources(pair.source, pair.cross, seed=rotation)}
    if mixed is not None:
        mixtures["prerelu_loss"] = mixed.own, mixed.units[given.b].T
    layers = [one.mapping for one in fitted]
    losses = {name: loss_with_as_many(*of, layers, device=given.device) for name, of in mixtures.items()}
    nulls = [one.nulls | {name: float(of_all[d]) for name, of_all in losses.items()} for d, one in enumerate(fitted)]
    return [replace(one, nulls=of_one) for one, of_one in zip(fitted, nulls, strict=True)]


def _find(pair: _PairStatistics, device: torch.device, what: str, value: float) -> MappingLayer | None:
    try:
        return find_decay(pair.source, pair.cross, device=device, **{what: value})
    except Infeasible:  # no decay reaches it
        return None


def _add_rows(
    frames: dict[str, list[pd.DataFrame]],
    about: dict[str, Any],
    one: _FittedMapping,
    seconds: float,
    *,
    with_weights: bool,
) -> None:
    """Add the rows of one mapping layer to ``frames``; with its weights unless they are there already."""
    key = about | {"decay": one.mapping.decay}
    frames["mappings"].append(_summary(key, one, seconds))
    if with_weights:
        frames["mapping_weights"].append(_weights(key, one.mapping))
        frames["mapping_units"].append(_units(key, one))


def _summary(key: dict[str, Any], one: _FittedMapping, seconds: float) -> pd.DataFrame:
    mapping, heldout = one.mapping, one.heldout
    lower, median, upper = quartiles(heldout.target_loss if heldout else np.array([np.nan]))
    row = key | {
        "sought": one.sought,
        "alpha": mapping.alpha,
        "loss": mapping.loss,
        "loss_median": quartiles(mapping.target_loss)[1],
        "r2": mapping.r2,
        "heldout_loss": heldout.loss if heldout else np.nan,
        "heldout_loss_low": heldout.loss_interval.low if heldout else np.nan,
        "heldout_loss_high": heldout.loss_interval.high if heldout else np.nan,
        "heldout_loss_median": median,
        "heldout_loss_lower_quartile": lower,
        "heldout_loss_upper_quartile": upper,
        "heldout_r2": heldout.r2 if heldout else np.nan,
        "units_used": mapping.units_used(),
        **one.nulls,
        "unpredicted": int(heldout.unpredicted().sum()) if heldout else None,
        "duality_gap": mapping.duality_gap,
        "seconds": seconds,
    }
    return pd.DataFrame([row])


def _weights(key: dict[str, Any], mapping: MappingLayer) -> pd.DataFrame:
    least = 0.0 if key["solver"] == "exact" else SIGNIFICANT  # training leaves no weight at exactly 0
    target, source = np.nonzero(np.abs(mapping.weights) > least)
    return pd.DataFrame(
        key
        | {
            "target_unit": target.astype(np.int32),
            "source_unit": source.astype(np.int32),
            "weight": mapping.weights[target, source].astype(np.float32),
        }
    )


def _units(key: dict[str, Any], one: _FittedMapping) -> pd.DataFrame:
    return pd.DataFrame(
        key
        | {
            "target_unit": np.arange(len(one.mapping.weights)),
            "r2": one.mapping.target_r2,
            "heldout_r2": one.heldout.target_r2 if one.heldout else np.nan,
            "units_used": one.mapping.target_units_used(),
        }
    )


def _trees(about: dict[str, Any], layers: list[MappingLayer], back: list[MappingLayer]) -> list[pd.DataFrame]:
    """The agglomerations of every decay; with the mapping layers ``back`` also those of footnote 11."""
    frames = []
    for decay in dict.fromkeys(mapping.decay for mapping in layers):
        weights = next(mapping.weights for mapping in layers if mapping.decay == decay)
        reverse = [mapping.weights for mapping in back if mapping.decay == decay][:1]
        for other in (None, *reverse):
            merges = agglomerate(weights, other).merges
            frames.append(
                pd.DataFrame(
                    about
                    | {
                        "decay": decay,
                        "reverse": other is not None,
                        "merge": np.arange(len(merges)),
                        "cluster_a": merges[:, 0].astype(np.int64),
                        "cluster_b": merges[:, 1].astype(np.int64),
                        "weight": merges[:, 2],
                        "size": merges[:, 3].astype(np.int64),
                    }
                )
            )
    return frames
