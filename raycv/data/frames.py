"""Recorded activations in tables and labelled arrays in memory: pandas, what turns into it, and xarray.

Neither polars nor xarray is imported: their objects are known by what they can do.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from raycv.data.contents import IDS, ONLY, Contents, unit_columns
from raycv.data.labelled import check_samples_first
from raycv.data.sample_ids import ids_of, lacking, order_like
from raycv.errors import UserError


def is_table(given: Any) -> bool:
    """Whether ``given`` is a frame, a table that pandas can be made of, or an array with named axes."""
    if _is_frame(given):
        return True
    return hasattr(given, "to_pandas") and any(hasattr(given, name) for name in ("columns", "column_names", "dims"))


def _is_frame(given: Any) -> bool:
    return hasattr(given, "iloc") and hasattr(given, "columns")


def contents_of_table(name: str, given: Any) -> Contents:
    """What a table of recording ``name`` holds: the units in its columns, and ids in a column or in its index.

    Raises UserError for columns that are no units.
    """
    if hasattr(given, "dims"):
        return _of_xarray(given)
    return _of_frame(name, given if _is_frame(given) else given.to_pandas())


def _of_frame(name: str, frame: Any) -> Contents:
    where = f"The table of {name}"
    check_samples_first(where, (frame.index.name, frame.columns.name))
    names = [str(column) for column in frame.columns]
    if len(set(names)) < len(names):
        twice = next(column for column in names if names.count(column) > 1)
        raise UserError(f"{where} has {names.count(twice)} columns {twice!r}; give each a name of its own.")
    of_name = {column: frame.iloc[:, n] for n, column in enumerate(names)}
    ids = of_name.pop(IDS, None)
    index, is_numbered = _of_index(frame.index)
    lists = {column: values for column, values in of_name.items() if _holds_lists(values)}
    numbers = {column: values for column, values in of_name.items() if column not in lists}
    layers: dict[str, Any] = {column: _stacked(where, column, values) for column, values in lists.items()}
    unit_names = {}
    if numbers:
        kinds = {column: _kind(values.dtype) for column, values in numbers.items()}
        units = unit_columns(where, kinds | dict.fromkeys(lists, "lists") if lists else kinds)
        places = [names.index(unit) for unit in units]
        columns = frame if places == list(range(len(names))) else frame.iloc[:, places]
        layers[ONLY] = _numbers(columns)
        if not _are_numbers(frame.columns):
            unit_names[ONLY] = tuple(units)
    return Contents(layers, index if ids is None else ids.to_numpy(), ids is None and is_numbered, unit_names)


def _kind(dtype: Any) -> str:
    """The name of a column's type, whether NumPy, pandas, Arrow or a sparse column has it."""
    found = getattr(dtype, "subtype", dtype)
    return str(found).lower().removesuffix("[pyarrow]")


def _are_numbers(columns: Any) -> bool:
    """Whether columns are only numbered, as pandas does where it is given no names."""
    return bool(columns.dtype.kind == "i" and (np.asarray(columns) == np.arange(len(columns))).all())


def _numbers(frame: Any) -> Any:
    values = frame.to_numpy()
    return values if values.dtype.kind in "iuf" else frame.to_numpy(dtype=np.float64, na_value=np.nan)


def _holds_lists(values: Any) -> bool:
    return bool(values.dtype == object and len(values) and isinstance(values.iloc[0], list | tuple | np.ndarray))


def _stacked(where: str, column: str, values: Any) -> Any:
    rows = [np.asarray(row) for row in values]
    other = next((n for n, row in enumerate(rows) if row.shape != rows[0].shape), None)
    if other is not None:
        raise UserError(
            f"The lists in the column {column!r} of {where.removeprefix('The ')} are not all of one shape: row 0 has "
            f"{rows[0].shape} and row {other:,} {rows[other].shape}; write one number for each unit."
        )
    return np.stack(rows)


def _of_index(index: Any) -> tuple[Any, bool]:
    """The ids that an index stands for, and whether it only numbers the rows."""
    if getattr(index, "step", None) == 1:
        return index.to_numpy(), True
    return (np.array([repr(names) for names in index]) if index.nlevels > 1 else index.to_numpy()), False


def _of_xarray(given: Any) -> Contents:
    """A DataArray is one layer, a Dataset one for each variable; the coordinates of the first axis are the ids."""
    variables: Mapping[Hashable, Any] = given.data_vars if hasattr(given, "data_vars") else {ONLY: given}
    layers = {str(name): values.data for name, values in variables.items()}
    firsts = {values.dims[0] for values in variables.values() if values.dims}
    if len(firsts) > 1:
        raise UserError(
            f"The variables {', '.join(layers)} have different first axes, {', '.join(map(str, sorted(firsts)))}; "
            "transpose them so that the samples come first."
        )
    for name, values in variables.items():
        check_samples_first(f"The array {name!r}", values.dims)
    index = given.indexes.get(next(iter(firsts), None))
    ids, is_numbered = (None, False) if index is None else _of_index(index)
    unit_names = {}
    for name, values in variables.items():
        names = given.indexes.get(values.dims[1]) if len(values.dims) > 1 else None
        if names is not None:
            unit_names[str(name)] = tuple(map(str, names))
    return Contents(layers, ids, is_numbered, unit_names)


def contents_of_mapping(name: str, given: Mapping[Any, Any]) -> Contents:
    """The layers of a mapping, each an array or a table, whose samples are put in one order. Raises UserError.

    Where tables have an index that names their rows, all follow the first one's; ids given beside them name rows as
    they stand, unless they are the names of the index.
    """
    given = dict(given)
    ids = given.pop(IDS, None)
    layers: dict[str, Any] = {}
    unit_names: dict[str, tuple[str, ...]] = {}
    named: dict[str, Any] = {}  # the ids of the layers whose tables name their rows
    are_numbered = True
    for key, values in given.items():
        layer = str(key)
        if not is_table(values):
            layers[layer] = values
            continue
        table = contents_of_table(f"{name}, {layer}", values)
        if len(table.layers) != 1:
            raise UserError(f"The table of {name}, {layer}, holds {len(table.layers)} layers; give it one.")
        (own,) = table.layers
        layers[layer] = table.layers[own]
        if own in table.unit_names:
            unit_names[layer] = table.unit_names[own]
        if table.ids is not None:
            named[layer] = ids_of(f"{name}, {layer},", table.ids, len(table.ids))
            are_numbered = are_numbered and table.is_numbered
    if not named or (are_numbered and ids is not None):
        return Contents(layers, ids, False, unit_names)
    followed = _followed(name, layers, named, ids)
    for layer, own in named.items():
        if not np.array_equal(own, followed):
            layers[layer] = layers[layer][order_like(followed, own)]
    return Contents(layers, followed if ids is None else ids, ids is None and are_numbered, unit_names)


def _followed(name: str, layers: dict[str, Any], named: dict[str, Any], ids: Any) -> Any:
    """The names of the rows in the order that all layers follow."""
    (first, names), *others = named.items()
    for other, own in others:
        for has, lacks, which in ((names, own, other), (own, names, first)):
            missing = lacking(has, lacks)
            if missing:
                raise UserError(
                    f"The layers of {name} are of different samples: {which!r} lacks {missing[0]!r}; record the same "
                    "ones."
                )
    if ids is not None:
        given = ids_of(name, ids, len(names))
        if given.dtype.kind == names.dtype.kind and not lacking(given, names) and not lacking(names, given):
            return given
    in_one_order = all(np.array_equal(own, names) for own in named.values())
    unnamed = [layer for layer in layers if layer not in named]
    if not in_one_order and (ids is not None or unnamed):
        what = "its ids" if ids is not None else repr(unnamed[0])
        raise UserError(
            f"The tables of {name} have their rows in different orders, so it is not known which rows {what} are of; "
            "put all in one order."
        )
    return names
