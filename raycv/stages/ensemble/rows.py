"""Rows of the tables of `raycv ensemble`: networks that vote, and read-outs of the units of two networks together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from raycv import devices, statistics
from raycv.analysis.arrays import Ints
from raycv.analysis.matching import bipartite_matching
from raycv.analysis.readout import chosen_penalty, read_out
from raycv.analysis.removal import redundancy_order
from raycv.data.sources import Source
from raycv.networks.bench import Bench
from raycv.networks.evaluation import BATCH, Scores, score
from raycv.networks.taps import activation
from raycv.run import tables
from raycv.run.store import RunStore
from raycv.run.trial_results import Frames
from raycv.statistics.folds import LayerStatistics, correlations
from raycv.statistics.moments import offsets
from raycv.statistics.reader import Statistics

VOTES = "votes"
DRAWS = 3  # random choices of units
KEPT = (0.75, 0.5)  # of the units of both networks; a half is as many as one network has
SETS = 4096  # of networks at most; beyond, those of the fewest networks


class EnsembleMembers(NamedTuple):
    """What is done at once: the votes of all networks, or read-outs of one network or two (``nets``, by number)."""

    layer: str
    nets: tuple[int, ...]

    @property
    def name(self) -> str:
        """The path of its result."""
        return f"{self.layer}/{'-'.join(map(str, self.nets))}"


@dataclass(frozen=True)
class Labelled:
    """Activations (n, S) of units and labels (n,) of the same images, for fitting and for scoring."""

    fit: Tensor
    fit_labels: Tensor
    scored: Tensor
    scored_labels: Tensor

    def of(self, units: Ints) -> Labelled:
        """The same of some units."""
        return replace(self, fit=self.fit[:, units], scored=self.scored[:, units])


@dataclass(frozen=True)
class Ensembler:
    """Lets networks vote and reads out their units of ``layer``. ``training``: images on which read-outs are fitted."""

    bench: Bench
    statistics: Statistics
    layer: str
    training: Source | None
    _features: dict[int, Labelled] = field(default_factory=dict, repr=False, compare=False)
    _single: dict[int, tuple[Tensor, Scores, float]] = field(default_factory=dict, repr=False, compare=False)

    def on(self, device: str) -> Ensembler:
        """The same at work on another device."""
        return replace(self, bench=self.bench.on(device), _features={}, _single={})

    def pieces(self) -> list[EnsembleMembers]:
        """All that there is to do."""
        numbers = range(len(self.bench.networks))
        alone = [EnsembleMembers(self.layer, (n,)) for n in numbers]
        pairs = [EnsembleMembers(self.layer, pair) for pair in combinations(numbers, 2)]
        return [EnsembleMembers(VOTES, tuple(numbers)), *(alone + pairs if self.training is not None else [])]

    def __call__(self, piece: EnsembleMembers) -> Frames:
        """The rows of one piece."""
        if piece.layer == VOTES:
            return {"ensembles": pd.DataFrame(self._votes())}
        names = [self.bench.networks[n].spec.name for n in piece.nets]
        about = {"layer": piece.layer, "net_a": names[0], "net_b": names[-1]}
        rows = self._alone(*piece.nets) if len(piece.nets) == 1 else self._pair(*piece.nets)
        return {"combinations": pd.DataFrame([about | row for row in rows])}

    def _votes(self) -> Iterator[dict[str, Any]]:
        numbers = range(len(self.bench.networks))
        names = [network.spec.name for network in self.bench.networks]
        probabilities: list[list[Tensor]] = [[] for _ in numbers]
        labels = []
        with torch.inference_mode():
            for part in self.bench.parts(1):
                labels.append(part.labels.to(devices.for_float64(self.bench.device)))
                for n in numbers:
                    probabilities[n].append(devices.in_float64(self.bench.net(n)(part.inputs)).softmax(1))
        voted, true = [torch.cat(found) for found in probabilities], torch.cat(labels)
        alone = [_scores(vote, true) for vote in voted]
        for members in sets_of(len(names)):
            found = _scores(torch.stack([voted[n] for n in members]).mean(0), true)
            mean_loss, mean_top1 = (
                float(np.mean([getattr(alone[n], what) for n in members])) for what in ("loss", "top1")
            )
            yield {
                "nets": ",".join(names[n] for n in members),
                "size": len(members),
                **found.columns(),
                "member_loss": mean_loss,
                "member_top1": mean_top1,
                "top1_gain": found.top1 - mean_top1,
                "loss_gain": mean_loss - found.loss,
            }

    def _alone(self, number: int) -> Iterator[dict[str, Any]]:
        _, scores, penalty = self._own(number)
        yield _row("alone", 0, self._units(number).fit.shape[1], penalty, scores)

    def _own(self, number: int) -> tuple[Tensor, Scores, float]:
        """Logits, scores and penalty of the read-out of one network's units, fitted once."""
        if number not in self._single:
            units = self._units(number)
            penalty = _penalty(units, self._classes)
            self._single[number] = (*_read(units, self._classes, penalty), penalty)
        return self._single[number]

    def _pair(self, a: int, b: int) -> Iterator[dict[str, Any]]:
        first, second = self._units(a), self._units(b)
        widths = first.fit.shape[1], second.fit.shape[1]
        voted = [self._own(number)[0].softmax(1) for number in (a, b)]
        vote = _scores(torch.stack(voted).mean(0), first.scored_labels)
        yield _row("ensemble", 0, sum(widths), np.nan, vote)
        both = replace(
            first, fit=torch.cat([first.fit, second.fit], 1), scored=torch.cat([first.scored, second.scored], 1)
        )
        penalty = _penalty(both, self._classes)
        yield _row("both", 0, sum(widths), penalty, _read(both, self._classes, penalty)[1])
        for (way, draw), gone in goings(self.statistics.among(self.layer, (a, b)), seed=(a, b)).items():
            for kept in KEPT:
                left = np.sort(gone[sum(widths) - round(kept * sum(widths)) :])
                found = _read(both.of(left), self._classes, penalty)[1]
                yield _row(way, draw, len(left), penalty, found)

    @property
    def _classes(self) -> int:
        return self.bench.networks[0].spec.classes

    def _units(self, number: int) -> Labelled:
        """The units of one network, read once."""
        if number not in self._features:
            assert self.training is not None
            fit, labels = self._activations(number, self.training)
            scored, scored_labels = self._activations(number, self.bench.source)
            self._features[number] = Labelled(fit, labels, scored, scored_labels)
        return self._features[number]

    @torch.no_grad()  # what was made in inference mode cannot be fitted
    def _activations(self, number: int, source: Source) -> tuple[Tensor, Tensor]:
        """(n, S), means over positions, and labels (n,) of all images of ``source``."""
        spec, net = self.bench.networks[number].spec, self.bench.net(number)
        found, classes, fitted_on = [], [], devices.for_float64(self.bench.device)
        for first in range(0, len(source), BATCH):
            numbers = np.arange(first, min(first + BATCH, len(source)))
            images, labels = source.decode(numbers, spec.preprocessing.resizing)
            inputs = spec.preprocessing.evaluation(torch.from_numpy(images).to(self.bench.device))
            found.append(pooled(activation(net, self.layer, spec.output, inputs)).to(fitted_on))
            classes.append(torch.from_numpy(labels).to(fitted_on))
        return torch.cat(found), torch.cat(classes)


def pooled(activations: Tensor) -> Tensor:
    """(B, S): means over the positions of activations (B, S, ...)."""
    return activations.flatten(2).mean(2) if activations.ndim > 2 else activations


def sets_of(networks: int) -> list[tuple[int, ...]]:
    """The sets of networks that vote, smallest first, each of one network or more: all, or the first `SETS` of them."""
    every = (members for size in range(1, networks + 1) for members in combinations(range(networks), size))
    return [members for members, _ in zip(every, range(SETS), strict=False)]


def goings(pair: LayerStatistics, *, seed: tuple[int, int]) -> dict[tuple[str, int], Ints]:
    """In which order the stacked units of two networks are left out, by way and draw.

    matched: of the one-to-one pairs, those that correlate most first, one unit goes, of the two networks in turn; then
    the rest as they stand. redundancy: see `raycv.analysis.removal.redundancy_order`.
    """
    left_out, bounds = pair.left_out(), offsets(pair.folds[0].widths)
    found = correlations(pair.all, left_out)
    partners = bipartite_matching(found[0, 1])
    pairs = np.argsort(-np.nan_to_num(partners.values, nan=-np.inf), kind="stable")
    pairs = pairs[partners.columns[pairs] >= 0]
    first = np.array([i if n % 2 else bounds[1] + partners.columns[i] for n, i in enumerate(pairs)], dtype=np.int64)
    dead = np.flatnonzero(left_out)
    first = np.concatenate([dead, first])
    matched = np.concatenate([first, np.setdiff1d(np.arange(bounds[2]), first)])
    stacked = np.block([[found[0, 0], found[0, 1]], [found[0, 1].T, found[1, 1]]])
    ways = {("matched", 0): matched, ("redundancy", 0): redundancy_order(stacked)}
    for draw in range(DRAWS):
        ways["random", draw] = np.random.default_rng([*seed, draw]).permutation(bounds[2])
    return ways


def agreement_rows(store: RunStore) -> pd.DataFrame:
    """Rows of ensemble_agreement, from the table alignment."""
    found = statistics.read(store)
    aligned = tables.read(store, "alignment")
    aligned = aligned[(aligned["similarity"] == "correlation") & (aligned["method"] == "semi")]
    rows = []
    for members in sets_of(len(found.names)):
        names = [found.names[n] for n in members]
        inside = aligned[aligned["net_a"].isin(names) & aligned["net_b"].isin(names)]
        for layer in found.networks[0].hidden_layers if len(names) > 1 else ():
            of_layer = inside[inside["layer"] == layer]
            means = {"agreement": of_layer["mean"].mean(), "excess": of_layer["excess"].mean()}
            rows.append({"nets": ",".join(names), "layer": layer} | means)
    return pd.DataFrame(rows)


def _penalty(units: Labelled, classes: int) -> float:
    return chosen_penalty(units.fit, units.fit_labels, classes)


def _read(units: Labelled, classes: int, penalty: float) -> tuple[Tensor, Scores]:
    logits = read_out(units.fit, units.fit_labels, classes, penalty)(units.scored)
    return logits, Scores.of(score(logits, units.scored_labels))


def _scores(probabilities: Tensor, labels: Tensor) -> Scores:
    return Scores.of(score(probabilities.log(), labels))


def _row(way: str, draw: int, units: int, penalty: float, scores: Scores) -> dict[str, Any]:
    return {
        "way": way,
        "draw": draw,
        "units": units,
        "penalty": penalty,
        **scores.columns(),
    }
