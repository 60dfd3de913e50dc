"""What units have in common by chance: with units mixed before the non-linearity, and with samples of other images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raycv.analysis.arrays import neighbours
from raycv.analysis.draws import draws_for, mixed_before, scores, shuffled
from raycv.analysis.histograms import Codes
from raycv.analysis.information import BINS, bin_edges, encode, pairwise_information
from raycv.analysis.prerelu import sample_correlation, standardise
from raycv.data.sampling import TESTED, elsewhere
from raycv.stages.collect.groups import UNITS_AT_ONCE
from raycv.stages.collect.reducer import Gathered
from raycv.stages.collect.task import Chance, Testing


@dataclass(frozen=True)
class _Placed:
    """What is put in the place of a network: z-scores (n, S), their bins, and the order in which samples are taken."""

    scores: Tensor
    codes: Codes | None
    order: np.ndarray | None = None


def by_chance(
    chance: Chance, drawn: Callable[[int], Gathered], coded: Callable[[int], Codes] | None, device: torch.device
) -> dict[str, np.ndarray]:
    """What some other networks have in common with chance in the place of one network, as named float32 arrays.

    prerelu/OTHER: correlations (S_other, S) with units mixed before the non-linearity; prerelu/own (S, S): those among
    the mixed units; prerelu/active (S,): in how many samples each is above 0 ahead of it. None of these where the layer
    does not end in a known one (`raycv.networks.nonlinearity`). shuffled/OTHER and shuffled_within/OTHER, for OTHER
    before the network: correlations with its units in samples of other images, at any position and at the same one.
    With ``coded`` each also as information/..., mutual information in nats. ``drawn`` and ``coded`` give the samples of
    a network and their bins.

    kurtosis (S,): of the network's own units, 0 for a normal distribution, large where a unit is rarely active; NaN for
    constant units. This, prerelu/own and prerelu/active are in the first part alone.
    """
    samples = drawn(chance.network)
    arrays: dict[str, np.ndarray] = {}

    def compare(placed: dict[str, _Placed]) -> None:
        for other in chance.others:
            kinds = [kind for kind in placed if kind == "prerelu" or other < chance.network]
            against = _scores(drawn(other), device) if kinds else torch.empty(0)
            binned = None if coded is None or not kinds else coded(other)
            for kind in kinds:
                there = placed[kind]
                correlations = sample_correlation(against, there.scores, there.order)
                arrays[f"{kind}/{other}"] = correlations.float().cpu().numpy()
                if binned is not None and there.codes is not None:
                    found = pairwise_information(binned, _in_order(there.codes, there.order), BINS)
                    arrays[f"information/{kind}/{other}"] = found.value.astype(np.float32)

    own, position = _scores(samples, device), samples.position
    if chance.number == 0:
        arrays["kurtosis"] = _kurtosis(own)
    codes = None if coded is None else coded(chance.network)
    half = np.roll(np.arange(len(own)), len(own) // 2)  # ranks are in random order
    orders = {"shuffled": half, "shuffled_within": elsewhere(position)}
    compare({kind: _Placed(own, codes, order) for kind, order in orders.items()})
    del own, codes  # as large as the samples
    mixable = samples.mixable(device)
    del samples
    if mixable is not None:
        mixed, of_mixed = mixable.mixed(chance.network)
        del mixable
        active = of_mixed.cpu().numpy()
        codes = None if coded is None else _codes(mixed)
        scores = standardise(mixed)
        if chance.number == 0:
            within = sample_correlation(scores, scores)
            # Products of few columns may be rounded in another way below the diagonal.
            arrays |= {"prerelu/active": active, "prerelu/own": ((within + within.T) / 2).float().cpu().numpy()}
        compare({"prerelu": _Placed(scores, codes)})
    return arrays


def draws_by_chance(
    testing: Testing, tested: Callable[[int], Gathered], left_out: Sequence[np.ndarray], device: torch.device
) -> dict[str, np.ndarray]:
    """What single units of some other networks have in common with those of one network, and with draws of chance.

    Named float32 arrays, see `raycv.analysis.draws`. value/OTHER (S_other,): the largest correlation of OTHER's units
    in the samples in which units are tested; shuffled/OTHER (K, S_other): with whole images shuffled; for OTHER
    before the network both also as own/... (S,), of the network's units with OTHER's. prerelu/OTHER (K, S_other):
    with the network's units mixed before the non-linearity, where the layer ends in a known one. ``tested`` gives these
    samples of a network, ``left_out`` by network its units that take no part.
    """
    network = testing.network
    arrays: dict[str, np.ndarray] = {}
    own = tested(network)
    strata, count = _strata(own.position, testing.images), draws_for(max(testing.widths))
    z = scores(torch.from_numpy(own.values).to(device), left_out[network])
    mixable = own.mixable(device)
    for places in neighbours([testing.widths[n] for n in testing.others], UNITS_AT_ONCE):
        together = [testing.others[n] for n in places]
        others = {n: scores(torch.from_numpy(tested(n).values).to(device), left_out[n]) for n in together}
        for other, of_other in others.items():
            if other < network:
                there, here = shuffled(of_other, z, strata, count=count, seed=(other, network))
                arrays |= {f"value/{other}": there.values, f"shuffled/{other}": there.null}
                arrays |= {f"own/value/{other}": here.values, f"own/shuffled/{other}": here.null}
        if mixable is not None:
            number = int(left_out[network].sum())
            null = mixed_before(list(others.values()), mixable, number, count=count, seed=network)
            arrays |= {f"prerelu/{other}": drawn for other, drawn in zip(others, null, strict=True)}
    return {name: values.astype(np.float32) for name, values in arrays.items()}


def _strata(position: np.ndarray, images: int) -> np.ndarray:
    """(images,): those of the same number are tested at the same positions; ``position`` (n,) of each sample."""
    rows = position.reshape(min(images, TESTED), -1)
    return np.asarray(np.unique(rows, axis=0, return_inverse=True)[1]).ravel()


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
