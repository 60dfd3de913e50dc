"""A network cut after one layer: what comes before is computed once for a batch, what comes after for any activations.

No graph of the network is needed. In the first part every module that has returned, and runs only once, is noted with
what it returned. In the second the network is called again, but these modules give back what was noted and compute
nothing, and the layer gives back the new activations. So what goes around the layer, as in a residual block, stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from raycv.errors import UserError
from raycv.networks.layouts import Layout
from raycv.networks.module_paths import modules_of
from raycv.networks.taps import known


class _LayerReturned(Exception):
    """Ends a forward pass once the layer has returned."""


class Cut:
    """``net``, in evaluation mode, cut after the module ``layer``.

    ``before`` gives the activations of the layer for a batch of images, ``after`` the logits that follow from other
    activations in their place, for the same batch, as often as needed. Raises UserError where there is no such module.
    """

    def __init__(self, net: nn.Module, layer: str) -> None:
        modules = modules_of(net)
        if layer not in modules:
            raise UserError(f"The network has no module {layer!r} after which it could be cut; name another layer.")
        self.net, self._name, self._layer = net, layer, modules[layer]
        self._once: frozenset[nn.Module] | None = None  # modules that run once in a pass
        self._noted: dict[nn.Module, Tensor] = {}
        self._images: Tensor | None = None
        self._layout: Layout | None = None

    @torch.no_grad()
    def before(self, images: Tensor) -> Tensor:
        """The activations (B, S, ...) of the layer for ``images`` (B, 3, H, W)."""
        if self._once is None:
            self._look(images[:1])
        noted: dict[nn.Module, Tensor] = {}

        def note(module: nn.Module, _args: Any, out: Any) -> None:
            if module is self._layer:
                noted[module] = out
                raise _LayerReturned
            if module in (self._once or ()) and isinstance(out, Tensor):
                noted[module] = out.clone()  # networks change activations in place

        layout = (known(self.net, images).layers or {}).get(self._name)
        if not isinstance(layout, Layout):
            raise UserError(f"The network cannot be cut after {self._name!r}: {layout or 'its units are not known'}.")
        self._layout = layout
        try:
            with _hooked(self.net, note):
                self.net(images)
        except _LayerReturned:
            pass
        reached = noted.pop(self._layer)
        below = {part for module in (self._layer, *noted) for part in module.modules() if part is not module}
        self._noted = {module: out for module, out in noted.items() if module not in below}
        self._images = images
        return layout.of(reached, len(images))

    @torch.no_grad()
    def after(self, activations: Tensor) -> Tensor:
        """The logits (B, C) of the images last given to ``before``, with these ``activations`` (B, S, ...)."""
        if self._images is None or self._layout is None:
            raise ValueError("the network was given no images yet")
        given = {**self._noted, self._layer: self._layout.back(activations)}
        try:
            for module, out in given.items():
                module.forward = _giving(out.clone())
            logits: Tensor = self.net(self._images)
        finally:
            for module in given:
                vars(module).pop("forward", None)  # the method of the class is there again
        return logits

    def _look(self, images: Tensor) -> None:
        """Find which modules run once."""
        runs: Counter[nn.Module] = Counter()
        outputs: dict[nn.Module, Any] = {}

        def note(module: nn.Module, _args: Any, out: Any) -> None:
            runs[module] += 1
            if module is self._layer:
                outputs[module] = out

        with _hooked(self.net, note):
            self.net(images.clone())
        if runs[self._layer] != 1 or not isinstance(outputs[self._layer], Tensor):
            raise UserError("A layer can be cut after where it runs once and returns one tensor; choose another layer.")
        self._once = frozenset(module for module, count in runs.items() if count == 1)


def _giving(out: Tensor) -> Callable[..., Tensor]:
    return lambda *_args, **_more: out


@contextmanager
def _hooked(net: nn.Module, hook: Callable[[nn.Module, Any, Any], None]) -> Iterator[None]:
    """``hook`` is called after every module below ``net``."""
    handles = [module.register_forward_hook(hook) for module in net.modules() if module is not net]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
