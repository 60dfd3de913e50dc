"""Which weights of a network are compared with another's."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from raycv.analysis.origin import weight_correlation
from raycv.networks.weight_samples import sampled


def test_the_same_places_of_tensors_of_the_same_name_and_shape() -> None:
    weight = torch.randn(30, 20, 3, 3)
    one = sampled(
        {"conv.weight": weight, "conv.bias": torch.randn(200), "numbers": torch.ones(9, 9, dtype=torch.int64)}
    )
    assert list(one) == ["conv.weight 30x20x3x3"]
    (values,) = one.values()
    assert len(values) == 1024
    assert np.isin(values, weight.numpy()).all()
    turned = sampled({"conv.weight": weight.to(memory_format=torch.channels_last).half()})
    np.testing.assert_allclose(turned["conv.weight 30x20x3x3"], values, rtol=1e-3)
    other = sampled({"conv.weight": 2 * weight + 1, "deep.weight": torch.randn(8, 8)})
    np.testing.assert_allclose(weight_correlation(one, other), 1, atol=1e-6)
    assert np.isnan(weight_correlation(one, sampled({"conv.weight": weight[:7]})))
    assert np.isnan(weight_correlation(one, sampled({"conv.weight": torch.ones_like(weight)})))


def test_what_has_no_weights_yet_or_none_of_a_number_is_passed_over() -> None:
    with torch.device("meta"):
        away = nn.Linear(20, 20)
    lazy = nn.LazyLinear(9)
    sparse = torch.eye(20).to_sparse()
    odd = {"a": away.weight, "b": lazy.weight, "c": sparse, "d": torch.ones(20, 20).to(torch.float8_e4m3fn)}
    assert sampled(odd) == {}


def test_a_tensor_that_is_the_same_in_all_networks_is_no_sign() -> None:
    positions = torch.randn(20, 20)
    nets = [{"positions": positions} | {f"w{n}": torch.randn(40, 40) for n in range(4)} for _ in range(2)]
    assert abs(weight_correlation(*map(sampled, nets))) < 0.2
