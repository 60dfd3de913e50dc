"""The same comparison as a run on Ray: resumable, on as many nodes as there are, its results in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from raycv import statistics
from raycv.analysis.arrays import Floats
from raycv.analysis.partners import largest_p_values
from raycv.analysis.rotations import Rotations
from raycv.comparing.comparison import Comparison
from raycv.comparing.group import Tested
from raycv.comparing.kept import KeptMembers, KeptProducts, Side
from raycv.comparing.members import Member, Pairing
from raycv.config import CollectConfig, TrainConfig
from raycv.errors import UserError
from raycv.networks.spec import BETWEEN, NetworkSpec
from raycv.networks.stored import weight_correlations
from raycv.run import lease, record
from raycv.run.paths import ACROSS, NETS
from raycv.run.store import RunStore
from raycv.settings import Given, load
from raycv.stages.collect.stage import collect
from raycv.stages.train.stage import train
from raycv.statistics.reader import Statistics, tested_against


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
) -> Comparison:
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
    record.check_kind(store, study=False)
    with lease.held(store, ["train", "collect"]):
        train(load(TrainConfig, settings), store)
        collect(load(CollectConfig, settings, record.read(store)["config"]), store)
    return comparison_of(statistics.read(store))


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


def comparison_of(found: Statistics) -> Comparison:
    """The layers of a run that are compared with each other; all with all where it has that."""
    weights = weight_correlations(found.store, found.names)
    if ACROSS in found.groups:
        specs = found.groups[ACROSS]
        members = [Member(spec.network, spec.places[0].module) for spec in specs]
        alone: list[tuple[list[Member], KeptMembers, Tested | None]] = [(members, _kept(found, ACROSS, ACROSS), None)]
        return Comparison(alone, _unit_names(specs, (ACROSS,)), keep_rare=found.keep_rare, weight_correlations=weights)
    compared: list[tuple[list[Member], KeptMembers, Tested | None]] = []
    for layer in found.layers:
        members = [Member(spec.name, spec.place(layer).module) for spec in found.networks]
        compared.append((members, _kept(found, layer, NETS), _Drawn(found, layer)))
    names = _unit_names(found.networks, found.layers)
    return Comparison(compared, names, keep_rare=found.keep_rare, weight_correlations=weights)


def _unit_names(specs: Sequence[NetworkSpec], layers: Sequence[str]) -> dict[Member, tuple[str, ...]]:
    """Those of the units of recordings, as far as they have any."""
    names = {
        Member(spec.network, spec.place(layer).module): spec.names_of_units(layer) for spec in specs for layer in layers
    }
    return {member: found for member, found in names.items() if found}


def _kept(found: Statistics, layer: str, group: str) -> KeptProducts:
    return KeptProducts(found.layer(layer, group), None)


class _Drawn:
    """The draws of one layer that the pass has left."""

    def __init__(self, found: Statistics, layer: str) -> None:
        self._found, self._layer = found, layer

    def p_values(
        self, _left_out: Sequence[np.ndarray], sides: Sequence[Side], _rotations: Rotations
    ) -> Mapping[tuple[int, int], Floats]:
        """See `raycv.comparing.tested.TestedSamples`; the units that were left out then are those of the run."""
        values: dict[tuple[int, int], Floats] = {}
        for pair in [pair for first, second in sides for pair in product(first, second)]:
            drawn = {n: self._found.draws(self._layer, n, others=pair) for n in pair}
            for a, b in (pair, pair[::-1]):
                against = tested_against(drawn, a, b)
                values[a, b] = largest_p_values(against) if against else np.zeros(1)  # rotations alone
        return values
