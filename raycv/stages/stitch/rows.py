"""Rows of the tables stitching and stitching_by_layer: the first layers of one network with the last of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from raycv.analysis.arrays import Floats
from raycv.analysis.lasso import UNITS_FOR_GPU
from raycv.analysis.mapping import SIGNIFICANT, lasso_path
from raycv.analysis.matching import bipartite_matching
from raycv.analysis.removal import Affine, of_z_scores
from raycv.devices import for_float64
from raycv.networks.bench import Bench, NetworkLayer
from raycv.networks.changes import mapped
from raycv.networks.cut import Cut
from raycv.networks.evaluation import Scores, score
from raycv.networks.taps import activation
from raycv.run.paths import NETS, Key
from raycv.run.summary import over_networks
from raycv.run.trial_results import Frames
from raycv.statistics.folds import LayerStatistics
from raycv.statistics.heldout import HeldOut, PairMoments, pair_moments
from raycv.statistics.reader import Statistics

MATCHING, MAPPING, RESCALED, MEAN = "matching", "mapping", "rescaled", "mean"  # ways of joining two networks
Way = tuple[str, float]  # and its decay, NaN without a mapping layer


@dataclass(frozen=True)
class Joint:
    """One way of passing activations of one network on to another, fitted without each fold of the images in turn.

    ``by_fold``: float32, of activations. ``units_used``: source units with a weight above 0.001, mean over target units
    and folds. ``loss``: of the prediction, on the folds left out.
    """

    way: Way
    by_fold: Sequence[Affine]
    units_used: float
    loss: float


def joints(pair: LayerStatistics, decays: Sequence[float], device: str) -> list[Joint]:
    """All ways of passing a layer of the first network of a ``pair`` on to the second, from statistics alone."""
    left_out = pair.left_out()
    fits = [pair_moments(moments, left_out) for moments in pair.fits()]
    folds = [pair_moments(fold, left_out) for fold in pair.folds]
    spread = np.array([fit.spread(fold) for fit, fold in zip(fits, folds, strict=True)])
    fitted: dict[Way, list[_FittedFold]] = {}
    for fit, fold in zip(fits, folds, strict=True):
        for way, weights in _weights(fit, decays, device if len(left_out) > 2 * UNITS_FOR_GPU else "cpu"):
            used = float((np.abs(weights) > SIGNIFICANT).sum(1).mean())
            fitted.setdefault(way, []).append(_FittedFold(_affine(fit, weights), used, fit.errors(weights, fold)))
    return [
        Joint(
            way,
            [one.affine for one in of_way],
            float(np.mean([one.units_used for one in of_way])),
            HeldOut(way[1], np.array([one.errors for one in of_way]), spread).loss,
        )
        for way, of_way in fitted.items()
    ]


class _FittedFold(NamedTuple):
    """What is kept of one way fitted without one fold."""

    affine: Affine
    units_used: float
    errors: Floats  # (S_target,), on that fold


def _weights(fit: PairMoments, decays: Sequence[float], device: str) -> list[tuple[Way, Floats]]:
    """(S_target, S_source) by way; rows and columns of units that are left out are 0."""
    source, cross = fit.correlations()
    partners = bipartite_matching(cross.T)
    one_to_one = np.zeros(cross.T.shape)
    matched = np.flatnonzero(partners.columns >= 0)
    one_to_one[matched, partners.columns[matched]] = 1.0
    layers = lasso_path(source, cross, decays, device=device)
    return [
        ((MEAN, np.nan), np.zeros(cross.T.shape)),
        ((MATCHING, np.nan), one_to_one),
        *(((MAPPING, layer.decay), layer.weights) for layer in layers),
        *(((RESCALED, layer.decay), rescaled(layer.weights, source)) for layer in layers),
    ]


def rescaled(weights: Floats, source: Floats) -> Floats:
    """The same ``weights`` (S_target, S_source), so that every prediction has the standard deviation of its unit, 1.

    ``source`` (S_source, S_source) holds the correlations of the source units. Least squares and the LASSO predict with
    less, the less they predict. A unit that nothing predicts stays its mean.
    """
    deviation = np.sqrt(np.maximum(np.einsum("ts,ts->t", weights @ np.nan_to_num(source), weights), 0))
    whole: Floats = weights / np.where(deviation > 0, deviation, 1)[:, None]
    return whole


def _affine(fit: PairMoments, weights: Floats) -> Affine:
    source_std, target_std = fit.deviations()
    found = of_z_scores(weights, fit.source_mean, source_std, fit.target_mean, target_std)
    return Affine(found.weights.astype(np.float32), found.offset.astype(np.float32))  # as the networks compute


@dataclass(frozen=True)
class Stitcher:
    """Follows the first layers of every other network with the last of one, and scores what comes out."""

    bench: Bench
    statistics: Statistics
    decays: tuple[float, ...]

    def on(self, device: str) -> Stitcher:
        """The same at work on another device."""
        return replace(self, bench=self.bench.on(device))

    def __call__(self, piece: NetworkLayer) -> Frames:
        """The rows of one layer and target network."""
        layer, target = piece.layer, piece.network
        others = [n for n in range(len(self.bench.networks)) if n != target]
        ways = {
            source: joints(
                self.statistics.among(layer, [source, target]), self.decays, str(for_float64(self.bench.device))
            )
            for source in others
        }
        whole, found = scores_of_joints(self.bench, piece, ways, self.statistics.folds[Key(NETS, layer)])
        names = [network.spec.name for network in self.bench.networks]
        about = {"layer": piece.layer, "target_net": piece.net}
        rows = [
            about | {"source_net": names[source]} | _row(joint, scores, whole)
            for source in others
            for joint, scores in zip(ways[source], found[source], strict=True)
        ]
        return {"stitching": pd.DataFrame(rows)}


@torch.inference_mode()
def scores_of_joints(
    bench: Bench, piece: NetworkLayer, ways: dict[int, list[Joint]], folds: int
) -> tuple[Scores, dict[int, list[Scores]]]:
    """The scores of the target network itself, and with the activations of each source in each of its ways."""
    cut = Cut(bench.net(piece.network), piece.layer)
    output = bench.networks[0].spec.output
    whole: list[Tensor] = []
    sums: dict[int, list[list[Tensor]]] = {source: [[] for _ in joined] for source, joined in ways.items()}
    for part in bench.parts(folds):
        own = cut.before(part.inputs)
        whole.append(score(cut.after(own), part.labels))
        for source, joined in ways.items():
            theirs = activation(bench.net(source), piece.layer, output, part.inputs)
            for place, joint in enumerate(joined):
                affine = joint.by_fold[part.fold]
                weights, offset = (torch.from_numpy(a).to(theirs) for a in (affine.weights, affine.offset))
                sums[source][place].append(score(cut.after(mapped(theirs, weights, offset)), part.labels))
    added = {source: [Scores.of(sum_of(parts)) for parts in of_source] for source, of_source in sums.items()}
    return Scores.of(sum_of(whole)), added


def sum_of(parts: Sequence[Tensor]) -> Tensor:
    """Of tensors of one shape."""
    return torch.stack(list(parts)).sum(0)


def _row(joint: Joint, scores: Scores, whole: Scores) -> dict[str, Any]:
    way, decay = joint.way
    return {
        "way": way,
        "decay": decay,
        "units_used": joint.units_used,
        "prediction_loss": joint.loss,
        **scores.columns(),
        **scores.change_from(whole),
    }


def by_layer(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of stitching_by_layer from those of stitching."""
    values = ("units_used", "prediction_loss", "loss_change", "top1_change")
    named = rows.rename(columns={"target_net": "net"}).assign(decay=rows["decay"].fillna(-1))
    found = over_networks(named, ("layer", "way", "decay"), values)
    return found.assign(decay=found["decay"].where(found["decay"] >= 0))
