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
from raycv.networks.unit_axis import UnitAxis


class _Reached(Exception):
    """Ends a forward pass once the layer has returned."""


class Cut:
    """``net``, in evaluation mode, cut after the module ``layer``.

    ``before`` gives the activations of the layer for a batch of images, ``after`` the logits that follow from other
    activations in their place, for the same batch, as often as needed. Raises UserError where there is no such module.
    """

    def __init__(self, net: nn.Module, layer: str) -> None:
        modules = dict(net.named_modules())
        if not layer or layer not in modules:
            raise UserError(f"The network has no module {layer!r} after which it could be cut; name another layer.")
        self.net, self._layer = net, modules[layer]
        self._once: frozenset[nn.Module] | None = None  # modules that run once in a pass
        self._changed: frozenset[nn.Module] = frozenset()  # those whose output the network changes in place later on
        self._noted: dict[nn.Module, Tensor] = {}
        self._images: Tensor | None = None
        self._axis = 1

    @torch.inference_mode()
    def before(self, images: Tensor) -> Tensor:
        """The activations (B, S, ...) of the layer for ``images`` (B, 3, H, W)."""
        if self._once is None:
            self._look(images[:1])
        noted: dict[nn.Module, Tensor] = {}

        def note(module: nn.Module, _args: Any, out: Any) -> None:
            if module is self._layer:
                noted[module], self._axis = out, axis.of(out)
                raise _Reached
            if module in (self._once or ()) and isinstance(out, Tensor):
                noted[module] = out.clone() if module in self._changed else out

        axis = UnitAxis(self.net)
        try:
            with _hooked(self.net, note):
                self.net(images)
        except _Reached:
            pass
        finally:
            axis.remove()
        found = noted.pop(self._layer)
        below = {part for module in (self._layer, *noted) for part in module.modules() if part is not module}
        self._noted = {module: out for module, out in noted.items() if module not in below}
        self._images = images
        return found.movedim(self._axis, 1)

    @torch.inference_mode()
    def after(self, activations: Tensor) -> Tensor:
        """The logits (B, C) of the images last given to ``before``, with these ``activations`` (B, S, ...)."""
        if self._images is None:
            raise ValueError("the network was given no images yet")
        given = {**self._noted, self._layer: activations.movedim(1, self._axis)}
        try:
            for module, out in given.items():
                module.forward = _giving(out.clone() if module in self._changed else out)
            logits: Tensor = self.net(self._images)
        finally:
            for module in given:
                vars(module).pop("forward", None)  # the method of the class is there again
        return logits

    def _look(self, images: Tensor) -> None:
        """Find which modules run once, and whose output is changed in place, by PyTorch's counts of such changes."""
        runs: Counter[nn.Module] = Counter()
        outputs: dict[nn.Module, tuple[Tensor, int]] = {}

        def note(module: nn.Module, _args: Any, out: Any) -> None:
            runs[module] += 1
            if isinstance(out, Tensor):
                outputs[module] = out, out._version

        with torch.inference_mode(False), torch.no_grad(), _hooked(self.net, note):
            self.net(images.clone())  # in inference mode PyTorch does not count
        if runs[self._layer] != 1 or self._layer not in outputs:
            raise UserError("A layer can be cut after where it runs once and returns one tensor; choose another layer.")
        self._once = frozenset(module for module, count in runs.items() if count == 1)
        self._changed = frozenset(module for module, (out, version) in outputs.items() if out._version != version)


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
