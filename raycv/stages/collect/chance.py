"""What units have in common by chance: with units mixed before the ReLU, and with samples of other images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raycv.analysis.histograms import Codes
from raycv.analysis.information import BINS, bin_edges, encode, pairwise_information
from raycv.analysis.prerelu import rotated_before_relu, sample_correlation, standardise
from raycv.data.sampling import elsewhere
from raycv.stages.collect.reducer import Gathered
from raycv.stages.collect.task import Chance


@dataclass(frozen=True)
class _Placed:
    """What is put in the place of a network: z-scores (n, S), their bins, and the order in which samples are taken."""

    scores: Tensor
    codes: Codes | None
    order: np.ndarray | None = None


def by_chance(
    chance: Chance, drawn: Callable[[int], Gathered], coded: Callable[[int], Codes] | None, device: torch.device
) -> dict[str, np.ndarray]:
    """What each other network has in common with chance in the place of one network, as named float32 arrays.

    prerelu/OTHER: correlations (S_other, S) with units mixed before the ReLU; prerelu/own (S, S): those among the mixed
    units; prerelu/active (S,): in how many samples each is active. None of these where the layer does not end in a ReLU
    module. shuffled/OTHER and shuffled_within/OTHER, for OTHER before the network: correlations with its units in
    samples of other images, at any position and at the same one. With ``coded`` each also as information/..., mutual
    information in nats. ``drawn`` and ``coded`` give the samples of a network and their bins.

    kurtosis (S,): of the network's own units, 0 for a normal distribution, large where a unit is rarely active; NaN for
    constant units.
    """
    samples = drawn(chance.network)
    arrays: dict[str, np.ndarray] = {}
    placed: dict[str, _Placed] = {}
    if samples.before_relu:
        mixed = rotated_before_relu(torch.from_numpy(samples.kept).to(device), seed=chance.network)
        arrays["prerelu/active"] = (mixed > 0).sum(0).cpu().numpy()
        codes = None if coded is None else _codes(mixed)
        placed["prerelu"] = _Placed(standardise(mixed), codes)
        within = sample_correlation(mixed, mixed)
        # Products of few columns may be rounded in another way below the diagonal.
        arrays["prerelu/own"] = ((within + within.T) / 2).float().cpu().numpy()
    own, position = _scores(samples, device), samples.position
    del samples  # as large as the z-scores
    arrays["kurtosis"] = _kurtosis(own)
    codes = None if coded is None else coded(chance.network)
    half = np.roll(np.arange(len(own)), len(own) // 2)  # ranks are in random order
    for kind, order in (("shuffled", half), ("shuffled_within", elsewhere(position))):
        placed[kind] = _Placed(own, codes, order)
    for other in chance.others:
        against = _scores(drawn(other), device)
        binned = None if coded is None else coded(other)
        for kind, there in placed.items():
            if kind == "prerelu" or other < chance.network:
                correlations = sample_correlation(against, there.scores, there.order)
                arrays[f"{kind}/{other}"] = correlations.float().cpu().numpy()
                if binned is not None and there.codes is not None:
                    found = pairwise_information(binned, _in_order(there.codes, there.order), BINS)
                    arrays[f"information/{kind}/{other}"] = found.value.astype(np.float32)
    return arrays


def _scores(samples: Gathered, device: torch.device) -> Tensor:
    return standardise(torch.from_numpy(samples.values).to(device))


def _kurtosis(scores: Tensor) -> np.ndarray:
    """The excess kurtosis (S,) float32 of z-scores (n, S), column by column to spare memory."""
    fourth = [column.square().square().mean(dtype=torch.float64) for column in scores.T]
    return (torch.stack(fourth) - 3).float().cpu().numpy()


def _codes(values: Tensor) -> Codes:
    """The bins (S, n) of samples (n, S), by their own percentiles, where the samples are."""
    samples = values.cpu().numpy()
    codes = encode(samples, bin_edges(samples))
    return codes if values.device.type == "cpu" else torch.from_numpy(codes).to(values.device)


def _in_order(codes: Codes, order: np.ndarray | None) -> Codes:
    if order is None:
        return codes
    if isinstance(codes, np.ndarray):
        return np.ascontiguousarray(codes[:, order])
    return codes[:, torch.from_numpy(order).to(codes.device)].contiguous()
