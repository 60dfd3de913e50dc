"""REPAIR: what is measured afterwards is what the networks have on average."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raycv.analysis.merging import interpolated
from raycv.networks.repair import by_a_pass, in_closed_form, load, moments, sites_of
from tests.support.architectures import architecture, images_for, weights_of

SHARES = (0.7, 0.3)


def before_non_linearities(net: nn.Module, sites: list[str], images: Tensor) -> dict[str, np.ndarray]:
    """Activations (samples, S) at each site, by hooks of this test."""
    found: dict[str, np.ndarray] = {}

    def note(name: str, values: Tensor) -> None:
        moved = values if isinstance(net.get_submodule(name), nn.Linear) else values.movedim(1, -1)
        found[name] = moved.reshape(-1, moved.shape[-1]).numpy()

    for name in sites:
        module: Any = net.get_submodule(name)
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda _m, given, name=name: note(name, given[0]))
        else:
            module.register_forward_hook(lambda _m, _given, out, name=name: note(name, out))
    with torch.inference_mode():
        net(images)
    return found


@pytest.mark.parametrize("name", ["vgg", "alexnet", "vit", "resnet with group norm"])
def test_by_a_pass_every_layer_has_the_mean_moments_of_both_networks(name: str) -> None:
    nets, images = [architecture(name, seed) for seed in (0, 1)], images_for(name, 24)
    sites = sites_of(nets[0], images[:2])
    found = moments(nets, sites, [images[:10], images[10:]])
    weights = interpolated([weights_of(net) for net in nets], SHARES)
    wanted = {site: one.wanted(SHARES) for site, one in found.items()}
    repaired = by_a_pass(nets[0], weights, wanted, [images])
    ends = [before_non_linearities(net, sites, images) for net in (architecture(name, 0), architecture(name, 1))]
    net = architecture(name)
    load(net, repaired)
    merged = before_non_linearities(net, sites, images)
    with_bias = [site for site in sites if f"{site}.bias" in weights]
    for site in sites:
        deviation = sum(share * end[site].std(0) for share, end in zip(SHARES, ends, strict=True))
        np.testing.assert_allclose(merged[site].std(0), deviation, rtol=1e-6)
    for site in with_bias:
        mean = sum(share * end[site].mean(0) for share, end in zip(SHARES, ends, strict=True))
        np.testing.assert_allclose(merged[site].mean(0), mean, rtol=1e-6, atol=1e-8)
    assert with_bias


@pytest.mark.parametrize("name", ["vgg with batch norm", "resnet", "mobilenet"])
def test_normalisations_get_the_moments_of_what_they_normalise(name: str) -> None:
    nets, images = [architecture(name, seed) for seed in (0, 1)], images_for(name, 24)
    sites = sites_of(nets[0], images[:2])
    assert all(isinstance(nets[0].get_submodule(site), nn.BatchNorm2d) for site in sites)
    weights = interpolated([weights_of(net) for net in nets], SHARES)
    repaired = by_a_pass(nets[0], weights, {site: (np.zeros(1), np.ones(1)) for site in sites}, [images])
    net = architecture(name)
    load(net, repaired)
    for site, values in before_non_linearities(net, sites, images).items():
        np.testing.assert_allclose(repaired[f"{site}.running_mean"], values.mean(0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(repaired[f"{site}.running_var"], values.var(0), rtol=1e-4, atol=1e-6)
    changed = {one for one in weights if not np.array_equal(weights[one], repaired[one])}
    assert changed <= {f"{site}.{kind}" for site in sites for kind in ("running_mean", "running_var")}


def test_in_one_linear_layer_the_closed_form_is_what_a_pass_finds() -> None:
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 3)).double() for _ in range(2)]
    images = 2 + torch.randn(50, 3, 2, 2, dtype=torch.float64)
    sites = sites_of(nets[0], images[:2])
    assert sites == ["1"]
    found = moments(nets, sites, [images[:20], images[20:]])
    weights = interpolated([weights_of(net) for net in nets], SHARES)
    closed = in_closed_form(nets[0], weights, found, SHARES)
    passed = by_a_pass(nets[0], weights, {"1": found["1"].wanted(SHARES)}, [images])
    for name in weights:
        np.testing.assert_allclose(closed[name], passed[name], rtol=1e-9)
    assert not np.allclose(closed["1.weight"], weights["1.weight"])


def test_between_a_network_and_itself_there_is_nothing_to_repair() -> None:
    net, images = architecture("vgg"), images_for("vgg", 8)
    weights = weights_of(net)
    found = moments([net, net], sites_of(net, images[:2]), [images])
    for name, value in in_closed_form(net, weights, found, SHARES).items():
        np.testing.assert_allclose(value, weights[name], rtol=1e-9, atol=1e-12)
