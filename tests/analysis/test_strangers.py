"""Networks that share nothing have no excess over units mixed before their non-linearity, nor partners; copies have."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import raycv
from raycv.analysis.nulls import best_correlation, rotated
from raycv.networks.nonlinearity import KNOWN
from tests.support.strangers import KINDS, SAMPLES, UNITS, images, network, pairs, tapped, weights, with_copies

ERROR = 0.007  # of the null, as docs/method.md has it
COPIES = 24
COMMON = [nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Tanh]
OTHERS = [getattr(nn, name) for name in KNOWN if hasattr(nn, name)]


def is_nearly_zero(found: list[float], error: float = ERROR) -> bool:
    return bool(abs(np.mean(found)) < 2 * np.std(found, ddof=1) / np.sqrt(len(found)) + error)


@pytest.mark.parametrize("function", COMMON)
def test_networks_that_share_nothing_have_no_excess(function: Callable[[], nn.Module]) -> None:
    kind = "biases" if function is nn.ReLU else "trained"  # a ReLU's null takes unequal weights as they are
    assert is_nearly_zero(pairs(kind, function, 8))
    assert is_nearly_zero(pairs(kind, function, 8, normalised=True))


SUMS: dict[str, tuple[Callable[[Tensor], Tensor], bool, float]] = {  # whether units have gains, and the error
    "linear": (lambda h: h, False, 0.004),
    "layer normalisation": (lambda h: nn.functional.layer_norm(h, (UNITS,)), False, 0.004),
    "root mean square": (lambda h: nn.functional.rms_norm(h, (UNITS,)), False, 0.004),
    "linear with gains": (lambda h: h, True, 0.012),
    "layer normalisation with gains": (lambda h: nn.functional.layer_norm(h, (UNITS,)), True, 0.012),
}


@pytest.mark.parametrize("name", SUMS)
def test_rotations_are_the_null_of_layers_without_a_function_of_single_units(name: str) -> None:
    """Exact as long as units have like scales; z-scores alone would be too low by .004 to .007."""
    function, has_gains, error = SUMS[name]
    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        inputs, both = images(rng), []
        for _ in range(2):
            gains = np.exp(0.7 * rng.standard_normal(UNITS)) if has_gains else np.ones(UNITS)
            with torch.no_grad():
                both.append(function(weights(rng, "plain", inputs)(inputs)).double().numpy() * gains)
        covariances = np.cov(both[0], both[1], rowvar=False, bias=True)
        deviations = np.sqrt(np.diagonal(covariances))
        cross = (covariances / deviations[:, None] / deviations)[:UNITS, UNITS:]
        found.append(best_correlation(cross).mean() - rotated(cross, covariances[UNITS:, UNITS:], seed=seed).mean)
    assert is_nearly_zero(found, error)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("sparse", "heavy tails")])
@pytest.mark.parametrize("function", [one for one in OTHERS if one is not nn.ReLU])
def test_so_have_networks_of_every_kind(kind: str, function: Callable[[], nn.Module]) -> None:
    assert is_nearly_zero(pairs(kind, function, 24))
    assert is_nearly_zero(pairs(kind, function, 24, normalised=True))


def has_partner(nets: dict[str, nn.Sequential], inputs: Tensor) -> np.ndarray:
    (last,) = {str(len(net) - 1) for net in nets.values()}
    batches = [inputs[start : start + 700] for start in range(0, SAMPLES, 700)]
    rows = raycv.compare(nets, batches, layers=[last]).matching().query("net_a == 'a'")
    return (rows["q_value"] <= 0.05).to_numpy()


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("function", [nn.ReLU, nn.GELU])
def test_copies_have_partners_and_strangers_have_none(function: Callable[[], nn.Module], normalised: bool) -> None:
    rng = np.random.default_rng(5)
    inputs = images(rng)

    def found(layers: Sequence[nn.Linear], seeds: Sequence[int]) -> np.ndarray:
        norms = [np.random.default_rng(seed) if normalised else None for seed in seeds]
        each = zip("ab", layers, norms, strict=True)
        return has_partner({name: network(layer, function, inputs, norm) for name, layer, norm in each}, inputs)

    of_strangers = found([weights(rng, "trained", inputs) for _ in range(2)], (0, 1))
    of_copies = found(with_copies(rng, inputs, COPIES), (0, 0))
    assert of_strangers.mean() < 0.05
    assert of_copies[:COPIES].mean() >= 0.95
    assert of_copies[COPIES:].mean() < 0.15


def test_compare_and_a_run_mix_the_same() -> None:
    """What went into a batch normalisation, with the active fractions after it."""
    from raycv.api.tested import TestedSamples
    from raycv.stages.collect.reducer import Gathered

    rng = np.random.default_rng(0)
    inputs = images(rng)
    for function in (nn.ReLU, nn.GELU):
        net = network(weights(rng, "trained", inputs), function, inputs, rng)
        one = tapped(net, inputs)
        before = one.before
        assert before is not None
        assert before.scale is not None
        assert before.shift is not None
        tested = TestedSamples()
        for part in (slice(start, start + 300) for start in range(0, SAMPLES, 300)):
            tested.update({"net": one.values[part]}, {"net": before._replace(values=before.values[part])})
        samples = tested._samples("net")
        torch.testing.assert_close(samples, one.values)
        of_compare = tested._mixable("net", samples)
        normalised = torch.stack([before.scale, before.shift]).numpy()
        gathered = Gathered(before.values.numpy(), before.nonlinearity, np.zeros(SAMPLES, np.int64), normalised)
        of_run = gathered.mixable(torch.device("cpu"))
        assert of_compare is not None
        assert of_run is not None
        for mixed, expected in zip(of_compare.mixed(3), of_run.mixed(3), strict=True):
            torch.testing.assert_close(mixed, expected)


def test_a_layer_that_ends_in_another_way_in_a_later_batch_is_taken_as_it_is() -> None:
    from raycv.api.tested import TestedSamples

    rng = np.random.default_rng(0)
    inputs = images(rng)
    one = tapped(network(weights(rng, "plain", inputs), nn.GELU, inputs), inputs)
    assert one.before is not None
    tested = TestedSamples()
    tested.update({"net": one.values[:800]}, {"net": one.before._replace(values=one.before.values[:800])})
    tested.update({"net": one.values[800:]})
    torch.testing.assert_close(tested._samples("net"), one.values)
    assert tested._mixable("net", one.values) is None
