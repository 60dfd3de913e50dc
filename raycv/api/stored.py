"""A comparison in a folder: JSON that says what it is of, and arrays of all that its tables are computed from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from raycv.api.comparison import Comparison
from raycv.api.group import Group
from raycv.api.kept import KeptMembers, KeptProducts
from raycv.api.kept_rows import KeptRows
from raycv.api.members import Member
from raycv.api.tested import TestedSamples
from raycv.api.top import TopSamples
from raycv.errors import UserError
from raycv.run import record
from raycv.run.store import RunStore

INDEX = "comparison.json"
CONTROL = "control"  # folder
FORMAT = 1

Arrays = Mapping[str, np.ndarray]


def load(path: str | os.PathLike[str]) -> Comparison:
    """Read a comparison that `Comparison.save` has written.

    Parameters
    ----------
    path : str or path
        Its folder, a local path or ``s3://bucket/prefix``.

    Returns
    -------
    Comparison
        It gives the same tables as the one that was saved.

    Raises
    ------
    UserError
        Where there is no comparison, or a damaged one, or one of another version.

    Examples
    --------
    >>> import numpy as np, raycv, tempfile
    >>> x = np.random.default_rng(0).standard_normal((800, 20))
    >>> found = raycv.compare({"a": x, "b": x[:, ::-1]})
    >>> folder = found.save(f"{tempfile.mkdtemp()}/found")
    >>> raycv.load(folder).matching().equals(found.matching())
    True
    """
    store = RunStore(os.fspath(path))
    if not store.exists(INDEX):
        if store.exists(record.PATH):
            raise UserError(f"{store.uri} is a run; open it with raycv.open_run.")
        raise UserError(f"There is no comparison in {store.uri}: it has no {INDEX}; write one with its method save.")
    index = store.read_json(INDEX, "save the comparison again")
    if index.get("format") != FORMAT:
        raise UserError(f"The comparison in {store.uri} was saved by another version of raycv; compare again.")
    try:
        return _read(store, "", index)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(
            f"The comparison in {store.uri} is damaged ({type(error).__name__}: {error}); compare again."
        ) from None


def save(found: Comparison, path: str | os.PathLike[str]) -> str:
    """See `Comparison.save`."""
    store = RunStore(os.fspath(path))
    if store.exists("") and store.list(""):
        raise UserError(f"{store.uri} holds files already; name a new folder.")
    _write(found, store, "")
    return store.uri


def _write(found: Comparison, store: RunStore, folder: str) -> None:
    """The index comes last: a folder without one holds no comparison."""
    groups = []
    for n, group in enumerate(found._groups):
        store.write_arrays(f"{folder}{n}.npz", _arrays_of(group))
        groups.append(
            {
                "members": [list(member) for member in group.members],
                "unit_names": [list(group.unit_names.get(member, ())) for member in group.members],
                "keep_rare": group.singles.keep_rare,
            }
        )
    if found.control is not None:
        _write(found.control, store, f"{folder}{CONTROL}/")
    weights = [[*sorted(nets), value] for nets, value in found.weight_correlations.items()]
    about = {"left_out": found.left_out, "weight_correlations": weights, "is_across": found._is_across}
    has_control = found.control is not None
    store.write_json(f"{folder}{INDEX}", {"format": FORMAT, **about, "has_control": has_control, "groups": groups})


def _read(store: RunStore, folder: str, index: Mapping[str, Any]) -> Comparison:
    groups = []
    for n, about in enumerate(index["groups"]):
        members = [Member(*names) for names in about["members"]]
        names = {member: units for member, units in zip(members, about["unit_names"], strict=True) if units}
        groups.append(_group(store.read_arrays(f"{folder}{n}.npz"), members, names, keep_rare=about["keep_rare"]))
    weights = {frozenset((a, b)): float(value) for a, b, value in index["weight_correlations"]}
    found = Comparison(groups, index["left_out"], weights, is_across=index["is_across"])
    if index["has_control"]:
        below = f"{folder}{CONTROL}/"
        found.control = _read(store, below, store.read_json(f"{below}{INDEX}", "save the comparison again"))
    return found


def _arrays_of(group: Group) -> dict[str, np.ndarray]:
    kept, chance, top = group.kept, group.chance, group.top
    assert isinstance(kept, KeptRows | KeptProducts)
    assert isinstance(chance, TestedSamples)
    assert isinstance(top, TopSamples)
    parts = {"tested": chance.arrays(), "top": top.arrays()}
    parts["rows" if isinstance(kept, KeptRows) else "products"] = kept.arrays()
    return {f"{part}/{name}": values for part, arrays in parts.items() for name, values in arrays.items()}


def _group(arrays: Arrays, members: list[Member], names: Mapping[Member, list[str]], *, keep_rare: bool) -> Group:
    of_members = [str(member) for member in members]
    kept: KeptMembers
    if any(name.startswith("rows/") for name in arrays):
        kept = KeptRows.from_arrays(_below(arrays, "rows/"), len(members))
    else:
        kept = KeptProducts.from_arrays(_below(arrays, "products/"))
    chance = TestedSamples.from_arrays(_below(arrays, "tested/"), of_members)
    return Group(members, kept, chance, names, keep_rare, TopSamples.from_arrays(_below(arrays, "top/"), of_members))


def _below(arrays: Arrays, prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
