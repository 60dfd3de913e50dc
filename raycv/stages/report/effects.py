"""What units do for the task, in sentences, from the tables of the stages that come after a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from raycv.run import record, tables
from raycv.run.store import RunStore

Read = Callable[[str], pd.DataFrame]


def sentences(store: RunStore) -> list[dict[str, str]]:
    """What the run's stages of `SAID` have found, each under the title of its stage; none of networks it had before."""

    def read(name: str) -> pd.DataFrame:
        return tables.read(store, name)

    done = [stage for stage in SAID if record.is_of(store, stage, "collect")]
    return [{"title": SAID[stage][0], "text": text} for stage in done for text in SAID[stage][1](read)]


def _pruned(read: Read) -> Iterator[str]:
    rows = read("pruning_by_layer")
    fraction = min(rows["fraction"].unique(), key=lambda value: abs(value - 0.5))
    means = rows[rows["fraction"] == fraction].groupby(["compensated", "removal_order"])["top1_change"].mean()
    for compensated, made_up in ((False, ""), (True, " and the units that stay make up for them")):
        lost = means[compensated]
        yield (
            f"With {fraction:.0%} of a layer’s units removed{made_up}, accuracy changes by {_points(lost['random'])} "
            f"at random, {_points(lost['partner_low'])} where the units least alike others go first, and "
            f"{_points(lost['partner_high'])} where those most alike go first (means over layers and networks)."
        )


def _ablated(read: Read) -> Iterator[str]:
    rows = read("ablation_by_layer").pivot_table(index="layer", columns="quantity", values="value")
    for one, other in (("matched", "unmatched"), ("recurring", "lonely")):
        both = [f"{one}_even", f"{other}_even"]
        known = rows.reindex(columns=both).dropna()
        if len(known):
            more = int((known[both[0]] > known[both[1]]).sum())
            means = known.mean()
            yield (
                f"Without {one} units the loss rises by {means[both[0]]:.3f} nats, without as many {other} ones by "
                f"{means[both[1]]:.3f} (means over layers); in {more} of {len(known)} layers more without {one} ones."
            )


def _voted(read: Read) -> Iterator[str]:
    rows = read("ensembles")
    largest = rows[rows["size"] == rows["size"].max()]
    yield (
        f"{largest['size'].iloc[0]} networks that vote classify {largest['top1'].mean():.1%} right, "
        f"{_points(largest['top1_gain'].mean())} against one alone."
    )
    means = read("combinations").groupby("way")["top1"].mean()
    if len(means):
        yield (
            f"Read out linearly, all units of two networks classify {means['both']:.1%} right, two such read-outs that "
            f"vote {means['ensemble']:.1%}, one network’s units {means['alone']:.1%}."
        )


def _stitched(read: Read) -> Iterator[str]:
    rows = read("stitching_by_layer")
    by = {"one-to-one partners": rows[rows["way"] == "matching"]}
    lowest = rows[rows["decay"] == rows["decay"].min()]
    name = f"mapping layers of decay {lowest['decay'].min():g}"
    by[name] = lowest[lowest["way"] == "mapping"]
    by[f"{name} with every unit’s own standard deviation"] = lowest[lowest["way"] == "rescaled"]
    for name, found in by.items():
        change = found.set_index("layer")["top1_change"]
        yield (
            f"With the first layers of another network, joined by {name}, accuracy changes by {_points(change.min())} "
            f"({change.idxmin()}) to {_points(change.max())} ({change.idxmax()})."
        )


def _merged(read: Read) -> Iterator[str]:
    rows = read("merges")
    pairs = rows[rows["alpha"].notna() & (rows["matching"] == rows["matching"].iloc[0])]
    asked_for = pairs.loc[pairs["method"] == "naive", "alpha"]  # zipped networks are halves of each, whatever was asked
    alpha = min(asked_for.unique(), key=lambda value: abs(value - 0.5), default=float("nan"))
    means = pairs[pairs["alpha"] == alpha].groupby("method")["top1"].mean()
    if len(means):
        yield (
            f"Two networks averaged into one (share of the second {alpha:g}) classify {means['naive']:.1%} right, with "
            f"matched units {means['permuted']:.1%}, and with their moments repaired {means['repaired']:.1%}."
        )


def _points(change: float) -> str:
    return f"{100 * change:+.1f} points".replace("-", "−")


SAID: dict[str, tuple[str, Callable[[Read], Iterator[str]]]] = {
    "prune": ("Units removed", _pruned),
    "ablate": ("Matched units and others", _ablated),
    "ensemble": ("Networks together", _voted),
    "stitch": ("Two networks joined", _stitched),
    "merge": ("Two networks made one", _merged),
}
