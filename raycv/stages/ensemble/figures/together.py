"""What networks gain by voting, and what the units of two networks give together."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raycv.drawing.style import NETS, QUIET, SIGNAL, TICKS, label, open_frame, page
from raycv.drawing.undrawable import Undrawable

_WAYS = {
    "alone": "one network",
    "random": "both, units at random",
    "matched": "both, partners once",
    "redundancy": "both, least redundant",
    "both": "all units of both",
    "ensemble": "two read-outs vote",
}


def together(ensembles: pd.DataFrame, agreement: pd.DataFrame, combinations: pd.DataFrame) -> Figure:
    """The gain of ensembles by their size and by the agreement of their units, and read-outs of combined units.

    The arguments are the tables ensembles, ensemble_agreement and combinations. Raises Undrawable where the first
    knows of no ensemble of two networks.
    """
    several = ensembles[ensembles["size"] > 1]
    if several.empty:
        raise Undrawable("The table ensembles has no ensembles of two networks.")
    figure = page(3.3, "What networks give together", _caption(ensembles, agreement))
    sizes, alike, joined = figure.subplots(1, 3, width_ratios=(1, 1, 1.3))
    for _, row in ensembles.iterrows():
        sizes.plot(row["size"], 100 * row["top1"], "o", markersize=3, color=QUIET)
    means = ensembles.groupby("size")["top1"].mean()
    sizes.plot(means.index, 100 * means, color=NETS[0], linewidth=1.2)
    sizes.set_xticks(sorted(ensembles["size"].unique()))
    label(sizes, "(a) ensembles", "networks that vote", "validation top-1 (%)")
    pairs = _pairs(ensembles, agreement)
    alike.plot(pairs["agreement"], 100 * pairs["top1_gain"], "o", markersize=4, color=NETS[0])
    label(alike, "(b) pairs", "correlation of best partners,\nmean over layers", "gain over the members (points)")
    _read_outs(joined, combinations)
    for axes in (sizes, alike, joined):
        open_frame(axes)
    return figure


def _pairs(ensembles: pd.DataFrame, agreement: pd.DataFrame) -> pd.DataFrame:
    """The ensembles of two networks with their agreement, the mean over layers."""
    means = agreement.groupby("nets")["agreement"].mean()
    two = ensembles[ensembles["size"] == 2]
    return two.assign(agreement=two["nets"].map(means))


def _read_outs(axes: Axes, combinations: pd.DataFrame) -> None:
    """One line per way and number of units: the mean, and every network or pair as a point."""
    if combinations.empty:
        axes.text(0.5, 0.5, "no training images", ha="center", fontsize=TICKS, transform=axes.transAxes)
        axes.set_axis_off()
        return
    rows = combinations.groupby(["way", "units", "net_a", "net_b"])["top1"].mean().reset_index()
    lines = [
        (f"{name}, {units}", rows.loc[(rows["way"] == way) & (rows["units"] == units), "top1"])
        for way, name in _WAYS.items()
        for units in sorted(rows.loc[rows["way"] == way, "units"].unique())
    ]
    for place, (_, values) in enumerate(reversed(lines)):
        axes.plot(100 * values, np.full(len(values), place), "o", markersize=3, color=QUIET)
        axes.plot([100 * values.mean()], [place], "|", markersize=10, markeredgewidth=2, color=SIGNAL)
    axes.set_yticks(range(len(lines)), [name for name, _ in reversed(lines)])
    label(axes, "(c) linear read-outs", "validation top-1 (%)", "")


def _caption(ensembles: pd.DataFrame, agreement: pd.DataFrame) -> str:
    means = ensembles.groupby("size")[["top1", "top1_gain"]].mean()
    gains = ", ".join(f"{100 * row['top1_gain']:+.1f} with {size}" for size, row in means.iterrows() if size != 1)
    pairs = _pairs(ensembles, agreement)
    relation = pairs["agreement"].corr(pairs["top1_gain"]) if len(pairs) > 2 else float("nan")
    said = f"; correlation over {len(pairs)} pairs {relation:.2f}" if np.isfinite(relation) else ""
    return (
        f"(a) Networks vote by the mean of their class probabilities. Gain over the mean of the members, in points: "
        f"{gains}. (b) The same of two networks against how alike their units are{said}. (c) Multinomial logistic "
        "regression on units of one network or two, with the number of units; partners once: of the pairs that "
        "correlate most one unit is left out. Red: means."
    )
