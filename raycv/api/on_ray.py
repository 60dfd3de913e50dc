"""The same comparison as a run on Ray: resumable, on as many nodes as there are, its results in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raycv.api.members import Pairing
from raycv.api.run import Run
from raycv.config import CollectConfig, TrainConfig
from raycv.errors import UserError
from raycv.networks.spec import BETWEEN
from raycv.run import lease, record
from raycv.run.store import RunStore
from raycv.settings import Given, load
from raycv.stages.collect.stage import collect
from raycv.stages.train.stage import train


def on_ray(
    networks: Mapping[str, Any],
    run: str,
    data: str | None,
    layers: Sequence[str] | Mapping[str, Sequence[str]] | None,
    compare: Pairing,
    positions: str,
    unit_axis: Mapping[str, int] | None = None,
    *,
    keep_rare: bool = False,
) -> Run:
    """What `raycv.compare` does with ``run``. Raises UserError for settings with which no run can be made."""
    given: dict[str, Any] = {
        "run": run,
        "networks": [_network(name, network, layers) for name, network in networks.items()],
        "compare": [compare] if isinstance(compare, str) else [BETWEEN.join(row) for row in compare],
        "positions": positions,
        "unit_axis": [f"{layer}={axis}" for layer, axis in (unit_axis or {}).items()],
        "data": data,
        "layers": None if isinstance(layers, Mapping) else layers,
        "keep_rare": keep_rare,
    }
    settings = {name: Given(name, value) for name, value in given.items() if value is not None}
    store = RunStore(run)
    record.check_kind(store)
    with lease.held(store, ["train", "collect"]):
        train(load(TrainConfig, settings), store)
        collect(load(CollectConfig, settings, record.read(store)["config"]), store)
    return Run(store)


def _network(name: str, network: Any, layers: Any) -> dict[str, Any]:
    """One entry of the setting networks."""
    if not isinstance(network, str | Mapping):
        raise UserError(
            f"{name} is {type(network).__name__}, which other machines cannot be given; on Ray name a model, a "
            "function that builds it (package.module:function) or a file."
        )
    entry = {"model": network} if isinstance(network, str) else dict(network)
    own = {"layers": list(layers[name])} if isinstance(layers, Mapping) and name in layers else {}
    return {"name": name, **entry, **own}
