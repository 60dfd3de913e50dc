"""REPAIR of a merged network: what its layers are before their non-linearities, and how that is set right.

In a network with batch normalisation these are the inputs of the normalisations, whose stored mean and variance are
set; in others the outputs of convolutions and linear maps but the last, whose weights and biases are. See
`raycv.analysis.merging` for what is wanted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raycv.analysis.merging import Site, gain
from raycv.analysis.unit_groups import Weights

Inputs = Iterable[Tensor]  # batches of images as networks take them
Wanted = Mapping[str, tuple[np.ndarray, np.ndarray]]  # mean and standard deviation (S,) by site

NORMALISED = nn.modules.batchnorm._BatchNorm
LINEAR = (nn.modules.conv._ConvNd, nn.Linear)


def sites_of(net: nn.Module, images: Tensor) -> list[str]:
    """The modules to repair, in the order they run in.

    What runs several times, or shares its weights, has no one mean and stays as it is.
    """
    ran: list[str] = []
    normalises = any(isinstance(module, NORMALISED) for module in net.modules())
    kinds = NORMALISED if normalises else LINEAR
    named = [name for name, module in net.named_modules() if isinstance(module, kinds)]
    with torch.inference_mode(), _at(net, named, lambda site, _values: ran.append(site)):
        net(images)
    if not normalises:
        ran = [site for site in ran if site != ran[-1]]  # that gives the logits
    shared = Counter(id(value) for _, value in net.named_parameters(remove_duplicate=False))
    own = {site: all(shared[id(value)] == 1 for value in net.get_submodule(site).parameters()) for site in ran}
    return [site for site in ran if ran.count(site) == 1 and own[site]]


def moments(nets: Sequence[nn.Module], sites: Sequence[str], inputs: Inputs) -> dict[str, Site]:
    """The joint moments of every site of networks whose units lie beside one another, over all images."""
    seen: list[dict[str, Tensor]] = [{} for _ in nets]
    sums: dict[str, list[Any]] = {site: [0, 0.0, 0.0] for site in sites}
    with ExitStack() as hooks, torch.inference_mode():
        for net, of_net in zip(nets, seen, strict=True):
            hooks.enter_context(_at(net, sites, of_net.__setitem__))
        for images in inputs:
            for net in nets:
                net(images)
            for site in sites:
                values = [_samples(nets[0], site, of_net[site]) for of_net in seen]
                sums[site][0] += len(values[0])
                sums[site][1] += np.stack([_sum(one) for one in values])
                sums[site][2] += np.stack([np.stack([_sum(one * other) for other in values]) for one in values])
    result = {}
    for site, (count, total, gram) in sums.items():
        mean = total / count
        result[site] = Site(mean, gram / count - mean[:, None] * mean[None])
    return result


def in_closed_form(
    net: nn.Module, weights: Weights, sites: Mapping[str, Site], shares: Sequence[float]
) -> dict[str, Any]:
    """Interpolated ``weights`` with every site repaired from the stored moments, without a forward pass."""
    wanted = {name: site.wanted(shares) for name, site in sites.items()}
    found = {name: site.expected(shares) for name, site in sites.items()}
    return _corrected(net, weights, found, wanted)


def by_a_pass(net: nn.Module, weights: Weights, wanted: Wanted, inputs: Inputs) -> dict[str, np.ndarray]:
    """``weights`` with every site set right by what ``net`` does with them over all images.

    While the images pass, each site is given what is wanted batch by batch, so that the sites after it see what they
    will see. With one batch the result is exact.
    """
    load(net, weights)
    modules = dict(net.named_modules())
    sums: dict[str, list[Any]] = {site: [0, 0.0, 0.0] for site in wanted}

    def set_right(site: str, values: Tensor) -> Tensor:
        samples, module = _samples(net, site, values), modules[site]
        count, total, squares = len(samples), _sum(samples), _sum(samples.square())
        for n, one in enumerate((count, total, squares)):
            sums[site][n] += one
        here = total / count
        variance = np.clip(squares / count - here**2, 0, None)
        mean, deviation = wanted[site]
        if isinstance(module, NORMALISED):  # as long as it has the old mean and variance
            mean, old = (getattr(module, name).cpu().numpy() for name in ("running_mean", "running_var"))
            deviation, variance = np.sqrt(old + module.eps), variance + module.eps
        scale = gain(deviation, np.sqrt(variance))
        shift = mean - scale * here if getattr(module, "bias", None) is not None else 0 * mean
        shape = [-1 if n == _axis(module, values) else 1 for n in range(values.ndim)]
        by, to = (torch.from_numpy(np.asarray(one)).to(values).reshape(shape) for one in (scale, shift))
        return values * by + to

    with torch.inference_mode(), _at(net, list(wanted), set_right):
        for images in inputs:
            net(images)
    found = {}
    for site, (count, total, squares) in sums.items():
        mean = total / count
        found[site] = mean, np.sqrt(np.clip(squares / count - mean**2, 0, None))
    return _corrected(net, weights, found, wanted)


@contextmanager
def _at(net: nn.Module, sites: Sequence[str], use: Callable[[str, Tensor], Any]) -> Iterator[None]:
    """Call ``use`` with the name of every site and the values there, which it may replace, whenever ``net`` runs."""
    modules, handles = dict(net.named_modules()), []
    for site in sites:
        if isinstance(modules[site], NORMALISED):
            hook: Any = lambda _module, given, site=site: use(site, given[0])  # noqa: E731
            handles.append(modules[site].register_forward_pre_hook(hook))
        else:
            hook = lambda _module, _given, out, site=site: use(site, out)  # noqa: E731
            handles.append(modules[site].register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _axis(module: nn.Module, values: Tensor) -> int:
    """Which axis of the values at a site counts its units."""
    return values.ndim - 1 if isinstance(module, nn.Linear) else 1


def _samples(net: nn.Module, site: str, values: Tensor) -> Tensor:
    """The values at a site as samples (n, S)."""
    moved = values.movedim(_axis(net.get_submodule(site), values), -1)
    return moved.reshape(-1, moved.shape[-1])


def _sum(samples: Tensor) -> np.ndarray:
    """(S,) float64: the sum of samples (n, S)."""
    total: np.ndarray = samples.sum(0).cpu().double().numpy()
    return total


def load(net: nn.Module, weights: Weights) -> None:
    """Give ``net`` these weights."""
    net.load_state_dict({name: torch.from_numpy(np.asarray(value)) for name, value in weights.items()})


def _corrected(net: nn.Module, weights: Weights, found: Wanted, wanted: Wanted) -> dict[str, np.ndarray]:
    """Weights with which sites whose mean and deviation are ``found`` have those ``wanted``."""
    result, modules = {name: np.array(value) for name, value in weights.items()}, dict(net.named_modules())
    for site in wanted:
        if isinstance(modules[site], NORMALISED):
            mean, deviation = found[site]  # what comes out is as before
            result[f"{site}.running_mean"] = mean.astype(result[f"{site}.running_mean"].dtype)
            result[f"{site}.running_var"] = (deviation**2).astype(result[f"{site}.running_var"].dtype)
            continue
        scale = gain(wanted[site][1], found[site][1])
        kernel = result[f"{site}.weight"]
        result[f"{site}.weight"] = (kernel * scale.reshape(-1, *[1] * (kernel.ndim - 1))).astype(kernel.dtype)
        if f"{site}.bias" in result:
            bias = result[f"{site}.bias"]
            shifted = scale * (bias - found[site][0]) + wanted[site][0]
            result[f"{site}.bias"] = shifted.astype(bias.dtype)
    return result
