"""Reading a run from Python: its tables, its correlations, its moments. Needs neither Ray nor PyTorch."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from raycv import statistics
from raycv.errors import UserError
from raycv.networks.spec import NetworkSpec
from raycv.networks.stored import stored
from raycv.run import record, tables
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.statistics.folds import LayerStatistics, correlation_of
from raycv.statistics.reader import Statistics

if TYPE_CHECKING:
    import pandas as pd


def open_run(uri: str) -> Run:
    """The run in folder ``uri``, a local path or ``s3://bucket/prefix``.

    Raises UserError where there is no run, or the store cannot be reached.
    """
    store = RunStore(uri)
    if not store.exists(record.PATH):
        raise UserError(record.missing(store))
    return Run(store)


class Run:
    """A run opened for reading. Reading what no stage has written yet raises UserError with the name of the stage."""

    def __init__(self, store: RunStore) -> None:
        self._store = store

    def __repr__(self) -> str:
        return f"Run({self.uri!r})"

    @property
    def uri(self) -> str:
        """The run's folder."""
        return self._store.uri

    @property
    def report(self) -> str:
        """Where the report is. Raises UserError where `raycv report` has not run yet."""
        if not self._store.exists("report.html"):
            raise UserError(f"The run {self.uri} has no report yet; run `raycv report` first.")
        return self._store.locate("report.html")

    @property
    def tables(self) -> list[str]:
        """The names of the tables that the run has; `raycv tables` says what each column means."""
        return tables.names(self._store)

    def table(self, name: str, **equalities: Any) -> pd.DataFrame:
        """Table ``name``, or its rows in which every named column has the given value: ``table("units", net="net1")``.

        All rows come from one writing: while a stage replaces the table, the call waits. Raises UserError for a table
        that the run does not have, for a column that the table does not have, and for a value of the wrong type for
        the column. A value of the right type that does not occur gives no rows.
        """
        if name not in BY_NAME:
            raise UserError(f"There is no table {name!r}; there are {', '.join(BY_NAME)}.")
        for column, value in equalities.items():
            _check_value(name, column, value)
        return tables.read(self._store, name, filters=[(column, "==", value) for column, value in equalities.items()])

    @property
    def networks(self) -> dict[str, NetworkSpec]:
        """The networks by name: model, seed, layers, preprocessing."""
        return {network.spec.name: network.spec for network in stored(self._store)}

    @property
    def layers(self) -> list[str]:
        """The layers that were compared, first to last."""
        return list(self._statistics.layers)

    def moments(self, layer: str) -> LayerStatistics:
        """The joint moments of all networks' units of ``layer``, fold by fold (`raycv.statistics.moments`).

        The networks stand in the order of ``networks``. Raises UserError for a layer that was not compared.
        """
        self._check_layer(layer)
        return self._statistics.layer(layer)

    def correlation(self, layer: str, net_a: str, net_b: str) -> np.ndarray:
        """Correlations (S_a, S_b) of the units of ``net_a`` with those of ``net_b``, float64, NaN where one is dead.

        Both may be the same network. Raises UserError for a layer or a network that was not compared.
        """
        names = self._statistics.names
        for net in (net_a, net_b):
            if net not in names:
                raise UserError(f"The run {self.uri} has no network {net!r}; its networks are {', '.join(names)}.")
        self._check_layer(layer)
        networks = list(dict.fromkeys(names.index(net) for net in (net_a, net_b)))
        found = self._statistics.among(layer, networks)  # of no other network, as layers may be wide
        return correlation_of(found.together, found.dead(), 0, len(networks) - 1)

    def _check_layer(self, layer: str) -> None:
        if layer not in self._statistics.layers:
            raise UserError(f"The run {self.uri} has no layer {layer!r}; its layers are {', '.join(self.layers)}.")

    @cached_property
    def _statistics(self) -> Statistics:
        return statistics.read(self._store)


def _check_value(name: str, column: str, value: Any) -> None:
    """Raise UserError where ``column`` of table ``name`` cannot hold ``value``."""
    table = BY_NAME[name]
    kinds = {field.name: field.type for field in table.file_schema}
    if column not in kinds:
        return  # reading refuses it
    try:
        pa.scalar(value, kinds[column])
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise UserError(
            f"The column {column!r} of the table {name!r} holds {kinds[column]}; {value!r} is not of that type."
        ) from None
