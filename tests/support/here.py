"""The stages that work on Ray actors, in this process: the same classes do the same work, one item at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from raycv.distributed import pieces, ray_cluster
from raycv.stages.collect import stage as collect
from raycv.stages.patches import stage as patches


class _Actor:
    """An actor's class, or an object of it, with Ray's way of calling."""

    def __init__(self, of: Any) -> None:
        self._of = of

    def options(self, **_resources: Any) -> _Actor:
        return self

    def remote(self, *arguments: Any) -> Any:
        found = self._of(*arguments)
        return _Actor(found) if isinstance(self._of, type) else found

    def __getattr__(self, name: str) -> _Actor:
        return _Actor(getattr(self._of, name))


class _Pool:
    """One actor."""

    def __init__(self, create: Callable[[], Any], _size: Callable[[], int]) -> None:
        self._actor, self.device, self.most = create(), "CPU", 1

    def __len__(self) -> int:
        return 1

    def run(self, items: Iterable[Any], call: Callable[[Any, Any], Any], done: Callable[[Any, Any], None]) -> None:
        for item in items:
            done(item, call(self._actor, item))

    def close(self) -> None:
        pass


def work_here(patch: pytest.MonkeyPatch) -> None:
    """Let `raycv collect`, `raycv patches` and the stages after a run do without a cluster."""
    patch.setattr(ray_cluster, "connect", lambda *_given: None)
    patch.setattr(ray_cluster, "amount", lambda resource: {"GPU": 0}.get(resource, 2**40))
    patch.setattr(ray_cluster, "of_nodes", lambda: [{"CPU": 1, "memory": 2**40}])
    for stage, name in ((collect, "ShardActor"), (patches, "PatchRenderer"), (pieces, "PieceWorker")):
        patch.setattr(stage, name, _Actor(getattr(stage, name).__ray_metadata__.modified_class))
        patch.setattr(stage, "Pool", _Pool)
