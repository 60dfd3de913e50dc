"""Commands that write nothing: what tables mean, what layers a model has, how two runs or several recordings differ."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import click

from raycv.errors import UserError
from raycv.progress import answer, doing
from raycv.run import record, schema
from raycv.run.store import RunStore

if TYPE_CHECKING:
    import pandas as pd

QUANTITIES = ("mean", "excess", "prerelu_excess", "beyond_chance", "estimated_share")  # which two runs are compared in


@click.command(
    "tables",
    help="say what every table of a run holds, or what the columns of some are",
    epilog="Example: raycv tables matchings",
)
@click.argument("names", nargs=-1, metavar="[TABLE]...")
def tables(names: tuple[str, ...]) -> None:
    answer(schema.describe(names))


@click.command(
    "layers",
    help="print the layers of a model that can be compared",
    epilog="Example: raycv layers --model resnet18",
)
@click.option(
    "--model",
    required=True,
    metavar="NAME",
    help="small-alexnet, alexnet, a model of torchvision, timm/NAME, hf/FOLDER, package.module:function",
)
def layers(model: str) -> None:
    with doing("loading PyTorch"):
        from raycv.networks.layers import layers_of_model, left_out_of_model
    from raycv.networks import trust

    trust.allow([model])
    found, left_out = layers_of_model(model), left_out_of_model(model)
    width = max(len(name) for name in found)
    answer(f"{'layer':{width}}  units  positions  parameters (at 10 classes)  axes of what it gives")
    for name, layer in found.items():
        answer(f"{name:{width}}  {layer.units:5}  {layer.positions:9,}  {layer.parameters:26,}  {layer.axes}")
    for name, why in left_out.items():
        answer(f"{name:{width}}  none: {why}")


@click.command(
    "compare",
    help="compare recorded activations, without a run; more is in Python: raycv.compare",
    epilog="Example: raycv compare first=a.npy second=b.npy",
)
@click.argument("recordings", nargs=-1, required=True, metavar="[NAME=]FILE [NAME=]FILE...")
@click.option("--all", "pairing", flag_value="all", default=None, help="compare all layers, not those of one name")
def compare(recordings: tuple[str, ...], pairing: str | None) -> None:
    from raycv.data.recorded import recorded  # which needs NumPy and Arrow

    named = _named(recordings)
    if len(named) < 2:
        raise UserError(f"compare needs two or more recordings; found {len(named)}.")
    opened = {name: recorded(name, path) for name, path in named.items()}  # what is wrong with a file is said at once
    with doing("loading PyTorch"):
        from raycv.api.entry import compare as compared
    with doing("comparing"):
        found = compared(opened, compare="all" if pairing else "same")
        table = found.alignment(["mean_absolute", "excess", "beyond_chance", "unbiased_cka", "partner_stability"])
    answer(f"{found}\n\n{_printed(table)}")


@click.command(
    "diff",
    help="say in which settings and averages two runs differ",
    epilog="Example: raycv diff runs/first runs/wide",
)
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
def diff(first: str, second: str) -> None:
    from raycv.run.tables import read

    stores = [RunStore(uri) for uri in (first, second)]
    for store in stores:
        record.check_there(store)
    answer("\n".join(_settings(*(record.read(store)["config"] for store in stores))))
    one, other = (read(store, "alignment_by_layer").set_index(["layer", "quantity"]) for store in stores)
    answer(f"\n{_printed(_averages(one, other), missing='')}\n")
    answer(
        "averages of units and their best partners by correlation, with 95% intervals over networks; apart: intervals "
        "that have nothing in common"
    )


def _named(recordings: tuple[str, ...]) -> dict[str, str]:
    """The files by network: as they are named, or by their own names."""
    found: dict[str, str] = {}
    for given in recordings:
        name, equals, path = given.partition("=")
        name, path = (name, path) if equals and "/" not in name else (PurePosixPath(given).stem, given)
        if name in found:
            raise UserError(f"Two recordings are named {name!r}; name them, as in first={found[name]} second={path}.")
        found[name] = path
    return found


def _settings(one: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    differing = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    yield from (f"{name}: {one.get(name)} | {other.get(name)}" for name in differing)
    if not differing:
        yield "The settings are the same."


def _averages(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """One row for every layer and quantity that both runs have."""
    import pandas as pd

    one, other = (of[(of["similarity"] == "correlation") & (of["method"] == "semi")] for of in (one, other))
    rows = []
    for layer, quantity in one.index[one.index.isin(other.index)]:
        if quantity in QUANTITIES:
            here, there = one.loc[layer, quantity], other.loc[layer, quantity]
            apart = here["networks_high"] < there["networks_low"] or there["networks_high"] < here["networks_low"]
            rows.append(
                {
                    "layer": layer,
                    "quantity": quantity,
                    "first run": _interval(here),
                    "second run": _interval(there),
                    "": "apart" if apart else "",
                }
            )
    if not rows:
        raise UserError("The two runs have no layer in common; name runs of layers with the same names.")
    return pd.DataFrame(rows)


def _interval(row: pd.Series[Any]) -> str:
    return f"{row['value']:.3f} [{row['networks_low']:.3f}, {row['networks_high']:.3f}]"


def _printed(table: pd.DataFrame, missing: str = "-") -> str:
    return str(table.to_string(index=False, na_rep=missing, float_format=lambda value: f"{value:.3f}"))
