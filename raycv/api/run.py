"""A run as Python reads it: a comparison, with the tables, networks and moments that are stored. Needs no Ray."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from raycv import statistics
from raycv.analysis.arrays import Floats
from raycv.api import shown
from raycv.api.comparison import Comparison
from raycv.api.group import Group
from raycv.api.members import Member
from raycv.api.naming import ordered
from raycv.api.of_run import GroupsOfRun
from raycv.errors import UserError
from raycv.networks.spec import NetworkSpec
from raycv.networks.stored import stored, weight_correlations
from raycv.run import record, tables
from raycv.run.paths import ACROSS
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.statistics.folds import LayerStatistics, correlation_of
from raycv.statistics.reader import Statistics

if TYPE_CHECKING:
    from torch import nn

OF_UNTRAINED = ("mean", "excess", "beyond_chance")  # columns of alignment that its table also has of untrained networks


def open_run(uri: str) -> Run:
    """Open a run for reading, which needs neither Ray nor PyTorch.

    Parameters
    ----------
    uri : str
        Its folder, a local path or ``s3://bucket/prefix``.

    Returns
    -------
    Run
        Tables, correlations and moments are read when they are asked for.

    Raises
    ------
    UserError
        Where there is no run, or the store cannot be reached.

    Examples
    --------
    >>> import raycv
    >>> run = raycv.open_run("runs/first")  # as README makes it
    >>> run.layers[:2], list(run.networks)[:2]
    (['conv1', 'conv2'], ['net1', 'net2'])
    """
    store = RunStore(uri)
    if not store.exists(record.PATH):
        raise UserError(record.missing(store))
    return Run(store)


class Run(Comparison):
    """A run opened for reading, see `open_run`: a `Comparison`, with what the run has stored.

    The methods of `Comparison` compute from the run's moments, with defaults that are the same for runs and other
    comparisons; ``table`` reads what the stages have written, in columns of their own. Reading what no stage has
    written yet raises UserError with the name of the stage.

    Examples
    --------
    >>> import raycv
    >>> run = raycv.open_run("runs/first")
    >>> run.networks["net2"].seed, "matchings" in run.tables
    (2, True)
    """

    def __init__(self, store: RunStore) -> None:
        super().__init__(())
        self._store = store

    @cached_property
    def _groups(self) -> Sequence[Group]:
        return GroupsOfRun(self._statistics)

    @property
    def _is_across(self) -> bool:
        return ACROSS in self._statistics.groups

    @property
    def _members(self) -> Sequence[Sequence[Member]]:
        assert isinstance(self._groups, GroupsOfRun)
        return self._groups.members

    @cached_property
    def weight_correlations(self) -> Mapping[frozenset[str], float]:
        """By pair of networks that have weights, how these correlate (`raycv.analysis.origin.weight_correlation`)."""
        return weight_correlations(self._store, self._statistics.names)

    def __repr__(self) -> str:
        return "\n".join([f"Run {self.uri}", *shown.described(self._widths)])

    @property
    def uri(self) -> str:
        """The run's folder."""
        return self._store.uri

    @property
    def report(self) -> str:
        """Where the report is, a path or address.

        Raises
        ------
        UserError
            Where `raycv report` has not run yet.
        """
        if not self._store.exists("report.html"):
            raise UserError(f"The run {self.uri} has no report yet; run `raycv report` first.")
        return self._store.locate("report.html")

    @property
    def tables(self) -> list[str]:
        """The names of the tables that the run has; `raycv tables` says what each column means."""
        return tables.names(self._store)

    @property
    def _widths(self) -> dict[str, dict[str, int]]:
        """The units of every layer, by network; none where nothing was collected yet, or it cannot be read."""
        try:
            found = self._statistics
        except UserError:
            return {}
        of_nets = zip(*map(found.widths, found.layers), strict=True)
        return {
            net: dict(zip(found.layers, of_net, strict=True)) for net, of_net in zip(found.names, of_nets, strict=True)
        }

    def _repr_html_(self) -> str:
        foot = (
            f"tables: {', '.join(self.tables) or 'none yet'}; table(NAME), correlation(), matching(), report say more"
        )
        return shown.as_html(f"Run {self.uri}", self._widths, [], foot)

    def save(self, path: str | os.PathLike[str]) -> str:
        """Refuse: a run is stored already.

        Parameters
        ----------
        path : str or path
            Of no use.

        Returns
        -------
        str
            Nothing is returned.

        Raises
        ------
        UserError
            Always.

        Examples
        --------
        >>> import raycv
        >>> raycv.open_run("runs/first").save("elsewhere")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        raycv.errors.UserError: The run ...runs/first is stored already; ...
        """
        raise UserError(
            f"The run {self.uri} is stored already; `raycv export --run {self.uri} --to {os.fspath(path)}` copies what "
            "it has found."
        )

    def top_samples(self, net: str, layer: str, unit: int) -> pd.DataFrame:
        """Name the validation images in which a unit is most active.

        Parameters
        ----------
        net : str
            One of ``networks``.
        layer : str
            One of ``layers``.
        unit : int
            A unit of the layer.

        Returns
        -------
        DataFrame
            One row for each of the nine images of largest activation, or as many as there are: rank, from 1; sample,
            the number of the image, as in ``images``; position, the number in the layer, row by row; value.

        Raises
        ------
        UserError
            For a network, layer or unit that was not compared.

        Examples
        --------
        >>> import raycv
        >>> raycv.open_run("runs/first").top_samples("net1", "conv1", 7)["rank"].tolist()[:2]
        [1, 2]
        """
        self._check_nets(net)
        self._check_layer(layer)
        number = self._statistics.names.index(net)
        self._check_unit(net, layer, unit, self._statistics.widths(layer)[number])
        arrays = self._statistics.patches(layer)
        image, position, value = (arrays[f"{number}/{what}"][unit] for what in ("image", "position", "value"))
        there = image >= 0
        found = {"sample": image[there], "position": position[there], "value": value[there]}
        return pd.DataFrame({"rank": np.arange(1, int(there.sum()) + 1), **found})

    _shown_in = "highest activations in {:,} images"

    def _activations_of(self, group: Group, at: int, unit: int) -> Floats:
        member = group.members[at]
        spec = next(spec for spec in self._statistics.networks if spec.name == member.net)
        layer = next(layer for layer in self.layers if spec.place(layer).module == member.layer)
        rows = self.table("sampled_activations", layer=layer, net=member.net, unit=unit)
        return rows.sort_values("image")["value"].to_numpy(np.float64)

    def _alignment(self, columns: Sequence[str]) -> pd.DataFrame:
        rows = super()._alignment(columns)
        control = [column for column in columns if column in OF_UNTRAINED]
        if not control or self._is_across or "alignment" not in self.tables:
            return rows
        found = self.table("alignment", similarity="correlation", method="semi").astype({"layer": str})
        found = found.rename(columns={f"untrained_{column}": f"control_{column}" for column in control})
        same = self._same_means(rows if "mean" in rows else super()._alignment(["mean"]), found)
        if not same or found[f"control_{control[0]}"].isna().all():  # of other statistics, or without such networks
            return rows
        kept = found[["layer", "net_a", "net_b", *(f"control_{column}" for column in control)]]
        return rows.merge(kept.rename(columns={"layer": "layer_a"}), "left", ["net_a", "layer_a", "net_b"])

    @staticmethod
    def _same_means(rows: pd.DataFrame, found: pd.DataFrame) -> bool:
        """Whether the table was written of the statistics that the run has now."""
        keys = ["net_a", "layer_a", "net_b"]
        both = rows.merge(found.rename(columns={"layer": "layer_a"}), "left", keys, suffixes=("", "_stored"))
        return bool(np.allclose(both["mean"], both["mean_stored"], atol=1e-5, equal_nan=True))

    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """Load the validation images that the units were compared in, as the first network gets them.

        Returns
        -------
        pixels : ndarray of shape (n, height, width, 3), uint8
            Red, green, blue; number n is sample n of ``top_samples`` and image n of the tables.
        labels : ndarray of shape (n,), int64
            Numbers of classes.

        Raises
        ------
        UserError
            Where they cannot be read again, or have changed since.

        Examples
        --------
        >>> import raycv
        >>> pixels, labels = raycv.open_run("runs/first").images()
        >>> pixels.shape[1:], len(pixels) == len(labels)
        ((32, 32, 3), True)
        """
        source = self._statistics.source()
        return source.decode(np.arange(len(source)), self._statistics.networks[0].preprocessing.resizing)

    def module(self, net: str) -> nn.Module:
        """Build one of the networks, with its weights. This needs PyTorch.

        Parameters
        ----------
        net : str
            One of ``networks``, or the folder of a network that `raycv merge` has left, as the table merges names it.

        Returns
        -------
        torch.nn.Module
            On the CPU, ready to be evaluated.

        Raises
        ------
        UserError
            For a network that the run does not have, and for a recording.

        Examples
        --------
        >>> import raycv
        >>> run = raycv.open_run("runs/first")
        >>> run.module("net9")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        raycv.errors.UserError: The run ...runs/first has no network 'net9'; its networks are net1, net2.
        """
        from raycv.api.modules import built

        return built(self._store, self.networks, net)

    def table(self, name: str, **equalities: Any) -> pd.DataFrame:
        """Read a table, or some of its rows.

        All rows come from one writing: while a stage replaces the table, the call waits.

        Parameters
        ----------
        name : str
            One of ``tables``; `raycv tables` says what each column means.
        equalities : value by column
            Rows in which every named column has the given value; a value that does not occur gives no rows.

        Returns
        -------
        DataFrame
            With the columns of the table's schema; layers are ordered categories, which sort as the networks run them.

        Raises
        ------
        UserError
            For a table that the run does not have, for a column that the table does not have, and for a value of the
            wrong type for the column.

        Examples
        --------
        >>> import raycv
        >>> rows = raycv.open_run("runs/first").table("matchings", layer="conv1", net_a="net1")
        >>> rows["layer"].unique().tolist(), rows["net_a"].unique().tolist()
        (['conv1'], ['net1'])
        """
        if name not in BY_NAME:
            raise UserError(f"There is no table {name!r}; there are {', '.join(BY_NAME)}.")
        for column, value in equalities.items():
            _check_value(name, column, value)
        rows = tables.read(self._store, name, filters=[(column, "==", value) for column, value in equalities.items()])
        return ordered(rows, self._order)

    @property
    def _order(self) -> Sequence[str]:
        """The layers as the networks run them; none where the pass has left nothing that can be read."""
        try:
            return self.layers
        except UserError:
            return ()

    @property
    def networks(self) -> dict[str, NetworkSpec]:
        """The networks by name: model, seed, layers, preprocessing."""
        return {network.spec.name: network.spec for network in stored(self._store)}

    @property
    def layers(self) -> list[str]:
        """The layers that were compared, first to last."""
        return list(self._statistics.layers)

    def moments(self, layer: str) -> LayerStatistics:
        """Read the joint moments of all networks' units of a layer, fold by fold.

        Parameters
        ----------
        layer : str
            One of ``layers``.

        Returns
        -------
        LayerStatistics
            The networks stand in the order of ``networks``; `raycv.Moments.of` takes it.

        Raises
        ------
        UserError
            For a layer that was not compared.

        Examples
        --------
        >>> import raycv
        >>> run = raycv.open_run("runs/first")
        >>> raycv.Moments.of(list(run.networks), run.moments("conv1")).widths[:2]
        [18, 18]
        """
        self._check_layer(layer)
        return self._statistics.layer(layer)

    def correlation(self, layer: str | tuple[str, str], net_a: str, net_b: str) -> np.ndarray:
        """Correlate the units of two networks in a layer, or in two layers (Pearson).

        Parameters
        ----------
        layer : str, or tuple of two str
            One of ``layers``; or, where all layers were compared with all, one of ``net_a`` and one of ``net_b``.
        net_a, net_b : str
            Two of ``networks``; both may be the same.

        Returns
        -------
        ndarray of shape (S_a, S_b), float64
            NaN in the rows and columns of dead units, which are constant once some one fold is left out.

        Raises
        ------
        UserError
            For a layer or a network that was not compared.

        Examples
        --------
        >>> import raycv
        >>> raycv.open_run("runs/first").correlation("conv1", "net1", "net2").shape
        (18, 18)
        """
        if not isinstance(layer, str):
            return super().correlation(layer, net_a, net_b)
        names = self._statistics.names
        self._check_nets(net_a, net_b)
        self._check_layer(layer)
        networks = list(dict.fromkeys(names.index(net) for net in (net_a, net_b)))
        found = self._statistics.among(layer, networks)  # of no other network, as layers may be wide
        return correlation_of(found.together, found.dead(), 0, len(networks) - 1)

    def _check_nets(self, *nets: str) -> None:
        names = self._statistics.names
        for net in nets:
            if net not in names:
                raise UserError(f"The run {self.uri} has no network {net!r}; its networks are {', '.join(names)}.")

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
