"""One forward pass of a network, watched by hooks that are gone when it ends: what every module returned, in order."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor, nn

from raycv.networks.module_paths import CALL, modules_of
from raycv.networks.nonlinearity import computed_by
from raycv.networks.rectified import Before, Rectified
from raycv.networks.unit_axis import FIRST, LAST, Hint, hint_of

Kept = TypeVar("Kept")
MOST = 16  # tensors of one module's output that are looked at


class Returned(NamedTuple):
    """What a module has just returned in one of its calls, and what is known of the units then.

    ``call``: counted from 1. ``leaves``: the tensors in it. ``before``: where it ends in a known non-linearity, what
    went into that. ``exact``: whether ``hint`` is the module's own.
    """

    path: str
    call: int
    leaves: list[Tensor]
    hint: Hint | None
    exact: bool
    before: Before | None


class Calls(Generic[Kept]):
    """The calls of modules in a pass, in the order in which they began, and what was kept of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._kept: dict[tuple[str, int], Kept | None] = {}

    def begin(self, path: str) -> int:
        """The number of the call that begins."""
        self.counts[path] += 1
        self._kept[path, self.counts[path]] = None
        return self.counts[path]

    def keep(self, one: Returned, what: Kept) -> None:
        """Keep something of a call that has returned."""
        self._kept[one.path, one.call] = what

    def kept(self) -> dict[str, Kept]:
        """By the name of the call: the module's path, and PATH#2 for the second of several."""
        return {
            path if self.counts[path] == 1 else f"{path}{CALL}{call}": what
            for (path, call), what in self._kept.items()
            if what is not None
        }


def watched(
    net: nn.Module,
    run: Callable[[], Any],
    note: Callable[[Returned], None],
    wanted: Collection[str] | None = None,
    calls: Calls[Any] | None = None,
    rectified: Rectified | None = None,
) -> Any:
    """What ``run`` returns while it runs ``net``. ``note`` is told of all modules that return, or the ``wanted`` ones.

    ``rectified`` follows what goes into non-linearities, for `Returned.before`, which is None without it. Only of
    calls in this thread. Hooks of the user's run first, so that what they change is seen as changed.
    """
    hooks = _Hooks(note, Calls() if calls is None else calls, rectified)
    with ExitStack() as stack:
        for path, module in modules_of(net).items():
            is_wanted = wanted is None or path in wanted
            follows = rectified is not None and computed_by(module) is not None
            if is_wanted:
                stack.callback(module.register_forward_pre_hook(hooks.begin(path)).remove)
            if follows:
                stack.callback(module.register_forward_pre_hook(hooks.take).remove)
            if is_wanted or follows or _may_tell(module):
                stack.callback(module.register_forward_hook(hooks.end(path, is_wanted)).remove)
        return run()


class _Hooks:
    """What the hooks of one pass do, and have seen so far. They are deaf to other threads."""

    def __init__(self, note: Callable[[Returned], None], calls: Calls[Any], rectified: Rectified | None) -> None:
        self._note, self._calls, self._rectified = note, calls, rectified
        self._thread = threading.get_ident()
        self._hint: Hint | None = None
        self._under_way: dict[str, list[int]] = {}

    def begin(self, path: str) -> Callable[[nn.Module, Any], None]:
        def hook(_module: nn.Module, _args: Any) -> None:
            if threading.get_ident() == self._thread:
                self._under_way.setdefault(path, []).append(self._calls.begin(path))

        return hook

    def take(self, module: nn.Module, args: Any) -> None:
        if self._rectified is not None and threading.get_ident() == self._thread:
            self._rectified.take(module, args)

    def end(self, path: str, is_wanted: bool) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, out: Any) -> None:
            if threading.get_ident() != self._thread:
                return
            leaves = tensors_in(out)
            own = hint_of(module, leaves[0]) if leaves else None
            self._hint = own or self._hint
            if self._rectified is not None:
                self._rectified.give(module, args, out)
            if is_wanted:
                numbers = self._under_way.get(path)
                before = None if self._rectified is None else self._rectified.before(out)
                self._note(Returned(path, numbers.pop() if numbers else 1, leaves, self._hint, own is not None, before))

        return hook


def _may_tell(module: nn.Module) -> bool:
    """Whether a module may say how many units there are."""
    lists = (isinstance(part, nn.ParameterList | nn.ParameterDict) for part in module.children())
    return isinstance(module, FIRST + LAST) or bool(module._parameters) or any(lists)


def tensors_in(values: Any) -> list[Tensor]:
    """The tensors in whatever a module returns or takes, in their order; some where there are very many."""
    found: list[Tensor] = []
    _collect(values, found)
    return found


def _collect(values: Any, found: list[Tensor]) -> None:
    if len(found) >= MOST:
        return
    if isinstance(values, Tensor):
        found.append(values)
    elif isinstance(values, dict):
        for value in values.values():
            _collect(value, found)
    elif isinstance(values, list | tuple):
        for value in values:
            _collect(value, found)
