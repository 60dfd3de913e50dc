"""One forward pass of a network, watched by hooks that are gone when it ends: what every module returned, in order."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor, nn

from raycv.networks.module_paths import CALL, modules_of
from raycv.networks.rectified import Before, Rectified
from raycv.networks.unit_axis import FIRST, LAST, Hint, hint_of

Kept = TypeVar("Kept")
MOST = 16  # tensors of one module's output that are looked at


class Returned(NamedTuple):
    """What a module has just returned in one of its calls, and what is known of the units then.

    ``call``: counted from 1. ``leaves``: the tensors in it. ``before``: where it ends in a ReLU module, what went into
    that. ``exact``: whether ``hint`` is the module's own.
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

    ``rectified`` follows what goes into ReLUs, for `Returned.before`, which is None without it. Only of calls in this
    thread. Hooks of the user's run first, so that what they change is seen as changed.
    """
    calls, thread = Calls() if calls is None else calls, threading.get_ident()
    hint: Hint | None = None
    under_way: dict[str, list[int]] = {}

    def begin(path: str) -> Any:
        def hook(_module: nn.Module, _args: Any) -> None:
            if threading.get_ident() == thread:
                under_way.setdefault(path, []).append(calls.begin(path))

        return hook

    def end(path: str, is_wanted: bool) -> Any:
        def hook(module: nn.Module, args: Any, out: Any) -> None:
            nonlocal hint
            if threading.get_ident() != thread:
                return
            leaves = tensors_in(out)
            own = hint_of(module, leaves[0]) if leaves else None
            hint = own or hint
            if rectified is not None:
                rectified.give(module, args, out)
            if is_wanted:
                numbers = under_way.get(path)
                call = numbers.pop() if numbers else 1
                before = None if rectified is None else rectified.before(out)
                note(Returned(path, call, leaves, hint, own is not None, before))

        return hook

    def take(module: nn.Module, args: Any) -> None:
        if rectified is not None and threading.get_ident() == thread:
            rectified.take(module, args)

    with ExitStack() as stack:
        for path, module in modules_of(net).items():
            is_wanted = wanted is None or path in wanted
            if is_wanted:
                stack.callback(module.register_forward_pre_hook(begin(path)).remove)
            follows = isinstance(module, nn.ReLU) and rectified is not None
            if follows:
                stack.callback(module.register_forward_pre_hook(take).remove)
            if is_wanted or follows or _may_tell(module):
                stack.callback(module.register_forward_hook(end(path, is_wanted)).remove)
        return run()


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
