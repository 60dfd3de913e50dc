"""Networks of one layer that share nothing but their inputs, before training and as if after it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from raycv.analysis.nulls import best_correlation
from raycv.analysis.prerelu import sample_correlation, standardise
from raycv.networks.rectified import mixable_of
from raycv.networks.taps import Tapped, Taps

INPUTS, UNITS, SAMPLES = 48, 48, 2000


def images(rng: np.random.Generator, samples: int = SAMPLES) -> Tensor:
    """(samples, INPUTS): rectified, of unequal variance, so that weights of variance 1 give values of about 1."""
    spread = rng.standard_normal((INPUTS, INPUTS)) / np.arange(1, INPUTS + 1)[:, None] ** 0.5
    inputs = np.maximum(rng.standard_normal((samples, INPUTS)) @ spread, 0)
    return torch.from_numpy(inputs / np.sqrt((inputs**2).mean() * INPUTS)).float()


def weights(rng: np.random.Generator, kind: str, inputs: Tensor) -> nn.Linear:
    """``kind``: "plain", of Gaussian weights; the others are those that a training may leave."""
    values, biases = rng.standard_normal((UNITS, INPUTS)), np.zeros(UNITS)
    if kind in ("scales", "trained"):
        values *= np.exp(0.7 * rng.standard_normal((UNITS, 1)))
    if kind in ("biases", "trained"):
        biases = rng.normal(-0.3, 0.6, UNITS)
    if kind == "low biases":
        biases = rng.uniform(-2.5, 0, UNITS)
    if kind == "set means":  # of units, whatever their weights
        without = inputs.numpy() @ values.T
        biases = without.std(0) * rng.normal(-1, 0.7, UNITS) - without.mean(0)
    if kind == "sparse":
        values *= rng.random((UNITS, INPUTS)) < 0.1
    if kind == "heavy tails":
        values = rng.standard_t(3, (UNITS, INPUTS))
    layer = nn.Linear(INPUTS, UNITS)
    layer.weight.data, layer.bias.data = (torch.from_numpy(one).float() for one in (values, biases))
    return layer


KINDS = ("plain", "scales", "biases", "trained", "low biases", "set means", "sparse", "heavy tails")


def with_copies(
    rng: np.random.Generator, inputs: Tensor, copies: int, rho: float = 0.95
) -> tuple[nn.Linear, nn.Linear]:
    """Two of kind "trained" whose first units have weights whose cosine is ``rho``, and the same biases and lengths."""
    a, b = (weights(rng, "trained", inputs) for _ in range(2))
    of_a, of_b = a.weight.data[:copies], b.weight.data[:copies]
    lengths = of_a.norm(dim=1, keepdim=True)
    b.weight.data[:copies] = rho * of_a + np.sqrt(1 - rho**2) * of_b / of_b.norm(dim=1, keepdim=True) * lengths
    b.bias.data[:copies] = a.bias.data[:copies]
    return a, b


def network(
    layer: nn.Linear, function: Callable[[], nn.Module], inputs: Tensor, normalised: np.random.Generator | None = None
) -> nn.Sequential:
    """The layer and its non-linearity; with ``normalised`` a batch normalisation of unequal scales between them."""
    net = nn.Sequential(layer, function())
    if normalised is not None:
        norm = nn.BatchNorm1d(UNITS, momentum=None)
        norm.weight.data = torch.from_numpy(np.exp(0.7 * normalised.standard_normal(UNITS))).float()
        norm.bias.data = torch.from_numpy(normalised.normal(-0.3, 0.6, UNITS)).float()
        net.insert(1, norm)
        net(inputs)
    return net.eval()


def best(a: Tensor, b: Tensor) -> float:
    """The mean over a's units of the largest absolute correlation with one of b's."""
    correlations = sample_correlation(standardise(a.clone()), standardise(b.clone())).numpy()
    return float(np.nanmean(best_correlation(correlations)))


def tapped(net: nn.Sequential, inputs: Tensor) -> Tapped:
    """What the last layer gives, and what went into its non-linearity."""
    last = str(len(net) - 1)
    return Taps(net, (last,), "logits").with_before(inputs)[last]


def excess(a: Tensor, b: Tapped, draws: int = 3) -> float:
    """Of a's units (n, S) over mixtures of b's before the non-linearity."""
    assert b.before is not None
    layer = mixable_of(b.before)
    return best(a, b.values) - float(np.mean([best(a, layer.mixed(seed)[0]) for seed in range(draws)]))


def pairs(kind: str, function: Callable[[], nn.Module], count: int, *, normalised: bool = False) -> list[float]:
    """The excess of each of ``count`` pairs of networks of one of KINDS."""
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        inputs = images(rng)
        norms = rng if normalised else None
        a, b = (tapped(network(weights(rng, kind, inputs), function, inputs, norms), inputs) for _ in range(2))
        found.append(excess(a.values, b))
    return found
