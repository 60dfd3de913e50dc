"""Networks with batch normalisation that share nothing: mixed before it, their units are as alike as mixtures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from raycv.analysis.nulls import best_correlation
from raycv.analysis.prerelu import rotated_before_relu, sample_correlation, standardise
from raycv.networks.nonlinearity import RELU
from raycv.networks.rectified import Before
from raycv.networks.taps import Taps
from raycv.stages.collect.reducer import Gathered

INPUTS, UNITS, SAMPLES = 48, 40, 4000


def network(inputs: Tensor, rng: np.random.Generator) -> nn.Sequential:
    """Gaussian weights of unequal length, normalised by the inputs' moments; scales and biases as after a training."""
    net = nn.Sequential(nn.Linear(INPUTS, UNITS, bias=False), nn.BatchNorm1d(UNITS), nn.ReLU(inplace=True))
    weights = rng.standard_normal((UNITS, INPUTS)) * np.exp(0.5 * rng.standard_normal((UNITS, 1)))
    net[0].weight.data = torch.from_numpy(weights).float()
    norm = net[1]
    assert isinstance(norm, nn.BatchNorm1d)
    norm.momentum = None  # of all it has seen
    norm.weight.data = torch.from_numpy(np.exp(0.7 * rng.standard_normal(UNITS))).float()
    norm.bias.data = torch.from_numpy(rng.normal(-0.3, 0.6, UNITS)).float()
    net(inputs)
    return net.eval()


def gathered(net: nn.Sequential, inputs: Tensor) -> Gathered:
    before = Taps(net, ("2",), "logits").with_before(inputs)["2"].before
    assert isinstance(before, Before)
    assert before.scale is not None
    assert before.shift is not None
    normalised = torch.stack([before.scale, before.shift]).numpy()
    return Gathered(before.values.numpy(), RELU, np.zeros(SAMPLES, np.int64), normalised)


def weighted(samples: Gathered) -> np.ndarray:
    mixable = samples.mixable(torch.device("cpu"))
    assert mixable is not None
    return mixable.before.numpy()


def best(a: np.ndarray, b: Tensor) -> float:
    correlations = sample_correlation(standardise(torch.from_numpy(a.copy())), standardise(b.clone())).numpy()
    return float(np.nanmean(best_correlation(correlations)))  # some units are silent


def excess(a: Gathered, b: Gathered, mixed: np.ndarray, seed: int) -> float:
    active = torch.from_numpy((b.kept > 0).sum(0))
    null = [rotated_before_relu(torch.from_numpy(mixed), active, seed=(seed, draw)) for draw in range(3)]
    return best(a.values, torch.from_numpy(b.values)) - float(np.mean([best(a.values, one) for one in null]))


def test_mixtures_before_the_normalisation_leave_no_excess() -> None:
    """Mixed after it, the units of large scale would dominate, and chance would be put too low (by .02 here)."""
    before, after = [], []
    for number in range(16):
        rng = np.random.default_rng(number)
        spread = rng.standard_normal((INPUTS, INPUTS)) / np.arange(1, INPUTS + 1)[:, None] ** 0.5
        inputs = torch.from_numpy(np.maximum(rng.standard_normal((SAMPLES, INPUTS)) @ spread, 0)).float()
        a, b = (gathered(network(inputs, rng), inputs) for _ in range(2))
        before.append(excess(a, b, weighted(b), number))
        after.append(excess(a, b, b.kept, number))
    assert abs(np.mean(before)) < 3 * np.std(before) / 4 + 0.002
    assert np.mean(after) > 0.01


def test_units_of_scale_0_are_silent_in_mixtures_too() -> None:
    kept = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    samples = Gathered(kept, RELU, np.zeros(50, np.int64), np.array([[2, 0, -1], [1, 5, 0]], np.float32))
    np.testing.assert_allclose(weighted(samples), np.c_[(kept[:, 0] - 1) / 2, np.zeros(50), -kept[:, 2]], rtol=1e-6)
