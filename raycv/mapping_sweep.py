"""`raycv sweep mapping`: mapping layers of every layer and ordered pair of networks (paper, section 4)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import torch

from raycv import checkpoints, cluster, record, statistics, tables
from raycv.analysis.agglomeration import agglomerate
from raycv.analysis.heldout import HeldOut, PairMoments, cross_validate
from raycv.analysis.mapping import SIGNIFICANT, MappingLayer, find_decay, lasso_path
from raycv.analysis.sgd import sgd_path
from raycv.collect.moments import Moments, covariance, mean, variance
from raycv.config import MappingSweepConfig
from raycv.progress import say
from raycv.statistics import LayerStatistics, correlations
from raycv.store import RunStore
from raycv.streamed import Stream, streamed_paths
from raycv.sweeps import Frames, Trial, assemble, run_trials

STAGE = "sweep mapping"
# Units of a layer above which a GPU solves for all targets at once. One core would need a day for a pair of 4,096 units
# to be trained as the paper did: 4,500 iterations, seven decays.
WIDE = 1024
FORMAT = 1  # of the trials' results; part of their identity
WRITTEN = ("mappings", "mapping_weights", "mapping_units", "agglomerations")
SOLVERS: dict[str, Callable[..., list[MappingLayer]]] = {"exact": lasso_path, "sgd": sgd_path}


def sweep(config: MappingSweepConfig, store: RunStore, solvers: Sequence[str] = ("exact", "sgd")) -> None:
    """Write the tables mappings, mapping_weights, mapping_units and agglomerations.

    One trial is one layer and ordered pair of networks, with its whole path of decays. Does nothing where the run
    already has these tables for these settings; takes up the trials that an interrupted sweep has finished.
    ``solvers`` are those used where the settings do not say.
    """
    began = time.time()
    found = statistics.read(store)
    decays, solvers = sorted(set(config.decays)), sorted(set(config.solvers or solvers))
    sought = {"units_used": config.units_used, "loss": config.loss}
    identity = record.fingerprint(FORMAT, found.folder, decays, sought)
    written = record.read(store)["stages"].get(STAGE, {})
    if record.finished(store, STAGE, identity) and set(solvers) <= set(written["solvers"]):
        say(f"{STAGE}: already finished, nothing to do; see {store.locate('tables/mappings')}")
        return
    folder = f"sweeps/mapping-{record.fingerprint(identity, solvers)}"
    stream = Stream(store, tuple(checkpoints.stored(store)), found.source()) if "streamed" in solvers else None
    cluster.connect(store.uri)
    gpus = int(cluster.amount("GPU") > 0)
    widths = {layer: found.width(layer) for layer in found.layers}
    trained = [layer for layer in found.layers if gpus or widths[layer] <= WIDE]
    left_out = {
        f"{layer} by {solver}": f"{widths[layer]:,} units need a GPU, of which the cluster has none"
        for layer in found.layers
        for solver in solvers
        if solver != "exact" and layer not in trained
    }
    names = [spec.name for spec in found.groups["nets"]]
    trials = []
    for layer in found.layers:
        on_matrices = [name for name in solvers if name == "exact" or (name == "sgd" and layer in trained)]
        about = {"layer": layer, "decays": decays, "solvers": on_matrices, "sought": sought}
        trials += _trials_of(names, about, gpus if widths[layer] > WIDE else 0)
    outcome = run_trials(store, folder, STAGE, mappings_of_pair, trials, lambda layer: found.layer("nets", layer).folds)
    pairs = len(trials)
    if stream is not None:
        streamed = [Trial(f"{of}/streamed", of, {"layer": of, "decays": decays}, gpus) for of in trained]
        outcome += run_trials(
            store,
            folder,
            f"{STAGE}, streamed",
            mappings_of_layer,
            streamed,
            lambda layer: (stream, found.layer("nets", layer)),
        )
        trials += streamed
    left_out |= outcome.failures
    for name, why in left_out.items():
        say(f"{STAGE}: left out {name}: {why}")
    where = [assemble(store, folder, outcome, name) for name in WRITTEN]
    rows = store.read_table("mappings")
    facts: dict[str, Any] = {
        "seconds": {STAGE: round(time.time() - began, 1)},
        "solvers": solvers,
        "trials": len(trials),
        "computed": outcome.computed,
        "solver_seconds": round(float(rows["seconds"].sum()), 1),
        "left_out": left_out,
    }
    record.finish(store, STAGE, identity, config.model_dump(mode="json"), facts)
    store.remove("sweeps")
    for sentence in _sought(rows, {what: value for what, value in sought.items() if value}, pairs, found.layers):
        say(f"{STAGE}: {sentence}")
    for uri in where:
        say(f"{STAGE}: {uri}")


def _trials_of(names: Sequence[str], about: dict[str, Any], gpus: int) -> list[Trial]:
    """One for each ordered pair of networks, if there are solvers."""
    trials = []
    for a, b in permutations(range(len(names)), 2):
        pair = {"a": a, "b": b, "names": (names[a], names[b]), "device": "cuda" if gpus else "cpu"}
        trials.append(Trial(f"{about['layer']}/{names[a]}-{names[b]}", about["layer"], about | pair, gpus))
    return trials if about["solvers"] else []


def mappings_of_pair(
    folds: Sequence[Moments],
    *,
    layer: str,
    a: int,
    b: int,
    names: tuple[str, str],
    decays: Sequence[float],
    solvers: Sequence[str],
    sought: dict[str, float | None],
    device: str = "cpu",
) -> Frames:
    """The rows of one layer and of the mapping layers that predict network b from network a, from moments alone.

    ``folds``: the moments of all networks, fold by fold. ``sought``: units_used and loss, for which decays are
    searched; where no decay reaches one, there is no row for it.
    """
    pair = LayerStatistics(tuple(fold.of(a, b) for fold in folds))
    dead = pair.dead()
    of_pair = correlations(pair.all, dead)
    forward = of_pair[0, 0], of_pair[0, 1]
    fits = [_pair_moments(moments, dead) for moments in pair.without_each()]
    scored = [_pair_moments(moments, dead) for moments in pair.folds]
    about = {"layer": layer, "source_net": names[0], "target_net": names[1]}
    frames: dict[str, list[pd.DataFrame]] = {name: [] for name in WRITTEN}
    for solver in solvers:
        began = time.perf_counter()
        solve = partial(SOLVERS[solver], device=device)
        layers = solve(*forward, decays)
        reasons = [""] * len(layers)
        if solver == "exact":
            for what, value in sought.items():
                if value is not None and (hit := _find(*forward, device, what, value)) is not None:
                    layers.append(hit)
                    reasons.append(f"{what}={value:g}")
        wanted = [mapping.decay for mapping in layers]
        # Training as the paper did takes long: it is repeated without the last fold only.
        used = slice(None) if solver == "exact" else slice(-1, None)
        heldout: list[HeldOut | None] = [None] * len(layers)
        if fits:
            heldout = [*cross_validate(fits[used], scored[used], wanted, solve)]
        seconds = (time.perf_counter() - began) / len(layers)
        for mapping, beside, reason in zip(layers, heldout, reasons, strict=True):
            key = {**about, "solver": solver, "decay": mapping.decay}
            frames["mappings"].append(_summary(key | {"sought": reason}, mapping, beside, seconds))
            if not reason or mapping.decay not in decays:
                frames["mapping_weights"].append(_weights(key, mapping))
                frames["mapping_units"].append(_units(key, mapping, beside))
        if solver == "exact":
            back = lasso_path(of_pair[1, 1], of_pair[0, 1].T, wanted, device=device) if a < b else []
            frames["agglomerations"] += _trees(about, layers, back)
    empty = {name: tables.BY_NAME[name].schema.empty_table().to_pandas() for name in WRITTEN}
    return {name: pd.concat(found) if found else empty[name] for name, found in frames.items()}


def mappings_of_layer(data: tuple[Stream, LayerStatistics], *, layer: str, decays: Sequence[float]) -> Frames:
    """The rows of one layer's mapping layers between all networks, trained on streamed activations."""
    began = time.perf_counter()
    stream, of_layer = data
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    paths = streamed_paths(stream, of_layer, layer, decays, device=device)
    seconds = (time.perf_counter() - began) / (len(paths) * len(decays))
    names = [network.spec.name for network in stream.networks]
    frames: dict[str, list[pd.DataFrame]] = {"mappings": [], "mapping_weights": [], "mapping_units": []}
    for (a, b), layers in paths.items():
        about = {"layer": layer, "source_net": names[a], "target_net": names[b], "solver": "streamed"}
        for mapping in layers:
            key = about | {"decay": mapping.decay}
            frames["mappings"].append(_summary(key | {"sought": ""}, mapping, None, seconds))
            frames["mapping_weights"].append(_weights(key, mapping))
            frames["mapping_units"].append(_units(key, mapping, None))
    return {name: pd.concat(found) for name, found in frames.items()}


def _find(source: np.ndarray, cross: np.ndarray, device: str, what: str, value: float) -> MappingLayer | None:
    try:
        return find_decay(source, cross, device=device, **{what: value})
    except ValueError:  # no decay reaches it
        return None


def _pair_moments(moments: Moments, dead: np.ndarray) -> PairMoments:
    """Of two networks' joint moments; dead units (U,) do not vary."""
    sources, targets = np.split(~dead, [moments.widths[0]])
    means = np.split(mean(moments), [moments.widths[0]])
    return PairMoments(
        means[0],
        means[1],
        covariance(moments, 0, 0) * np.outer(sources, sources),
        covariance(moments, 0, 1) * np.outer(sources, targets),
        np.where(targets, variance(moments)[moments.widths[0] :], 0.0),
    )


def _summary(key: dict[str, Any], mapping: MappingLayer, heldout: HeldOut | None, seconds: float) -> pd.DataFrame:
    row = key | {
        "alpha": mapping.alpha,
        "loss": mapping.loss,
        "r2": mapping.r2,
        "heldout_loss": heldout.loss if heldout else np.nan,
        "heldout_loss_low": heldout.loss_interval.low if heldout else np.nan,
        "heldout_loss_high": heldout.loss_interval.high if heldout else np.nan,
        "heldout_r2": heldout.r2 if heldout else np.nan,
        "units_used": mapping.units_used(),
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


def _units(key: dict[str, Any], mapping: MappingLayer, heldout: HeldOut | None) -> pd.DataFrame:
    return pd.DataFrame(
        key
        | {
            "target_unit": np.arange(len(mapping.weights)),
            "r2": mapping.target_r2,
            "heldout_r2": heldout.target_r2 if heldout else np.nan,
            "units_used": mapping.target_units_used(),
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
                        "left": merges[:, 0].astype(np.int64),
                        "right": merges[:, 1].astype(np.int64),
                        "weight": merges[:, 2],
                        "size": merges[:, 3].astype(np.int64),
                    }
                )
            )
    return frames


def _sought(rows: pd.DataFrame, sought: dict[str, float], trials: int, layers: Sequence[str]) -> list[str]:
    """What the searches found: one sentence per layer, and how many pairs no decay could serve."""
    sentences = []
    for what, value in sought.items():
        hits = rows[rows["sought"] == f"{what}={value:g}"]
        for layer in layers:
            decays = hits.loc[hits["layer"] == layer, "decay"]
            if len(decays):
                sentences.append(
                    f"{layer}: {what} = {value:g} at decay {decays.median():.3g} "
                    f"(median of {len(decays)} pairs, {decays.min():.3g} to {decays.max():.3g})"
                )
        if len(hits) < trials:
            sentences.append(f"{what} = {value:g} is reached by no decay for {trials - len(hits)} of {trials} pairs")
    return sentences
