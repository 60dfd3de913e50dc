"""What units have in common by chance: with units mixed before the ReLU, and with samples of other images."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from raycv.analysis.histograms import Codes
from raycv.analysis.information import BINS, bin_edges, encode, pairwise_information
from raycv.analysis.prerelu import rotated_before_relu, sample_correlation, standardise
from raycv.data.sampling import elsewhere
from raycv.stages.collect.reducer import Gathered
from raycv.stages.collect.task import Chance


def by_chance(
    chance: Chance, drawn: Callable[[int], Gathered], coded: Callable[[int], Codes] | None, device: torch.device
) -> dict[str, np.ndarray]:
    """What each other network has in common with chance in the place of one network, as named float32 arrays.

    prerelu/OTHER: correlations (S_other, S) with units mixed before the ReLU; prerelu/own (S, S): those among the mixed
    units; prerelu/active (S,): in how many samples each is active. None of these where the layer does not end in a ReLU
    module. shuffled/OTHER and shuffled_within/OTHER, for OTHER before the network: correlations with its units in
    samples of other images, at any position and at the same one. With ``coded`` each also as information/..., mutual
    information in nats. ``drawn`` and ``coded`` give the samples of a network and their bins.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, values, codes in _in_place_of(drawn(chance.network), chance.network, coded, device):
        if name == "prerelu":
            arrays["prerelu/active"] = (values > 0).sum(0).cpu().numpy()
        scores = standardise(values)
        if name == "prerelu":
            arrays["prerelu/own"] = sample_correlation(scores, scores).float().cpu().numpy()
        for other in chance.others if name == "prerelu" else range(chance.network):
            against = standardise(torch.tensor(drawn(other).values, device=device))
            arrays[f"{name}/{other}"] = sample_correlation(against, scores).float().cpu().numpy()
            if coded is not None and codes is not None:
                arrays[f"information/{name}/{other}"] = pairwise_information(coded(other), codes, BINS).value.astype(
                    np.float32
                )
    return arrays


def _in_place_of(
    samples: Gathered, network: int, coded: Callable[[int], Codes] | None, device: torch.device
) -> Iterator[tuple[str, Tensor, Codes | None]]:
    """The kinds of chance: what each puts in the place of a network's ``samples`` (n, S) float32, and its bins."""
    if samples.before_relu:
        mixed = rotated_before_relu(torch.from_numpy(samples.kept).to(device), seed=network)
        yield "prerelu", mixed, None if coded is None else _codes(mixed)
    values = torch.from_numpy(samples.values).to(device)
    codes = None if coded is None else coded(network)
    half = np.roll(np.arange(len(values)), len(values) // 2)  # ranks are in random order
    for name, order in (("shuffled", half), ("shuffled_within", elsewhere(samples.position))):
        placed = torch.from_numpy(order).to(device)
        yield name, values[placed], None if codes is None else _in_order(codes, order)


def _codes(values: Tensor) -> Codes:
    """The bins (S, n) of samples (n, S), by their own percentiles, where the samples are."""
    samples = values.cpu().numpy()
    codes = encode(samples, bin_edges(samples))
    return codes if values.device.type == "cpu" else torch.from_numpy(codes).to(values.device)


def _in_order(codes: Codes, order: np.ndarray) -> Codes:
    if isinstance(codes, np.ndarray):
        return np.ascontiguousarray(codes[:, order])
    return codes[:, torch.from_numpy(order).to(codes.device)].contiguous()
