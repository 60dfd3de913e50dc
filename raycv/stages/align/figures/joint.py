"""Joint distributions of the activations of matched units (paper, Figure 8)."""

from __future__ import annotations

import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from raycv.drawing.style import TEXT, TICKS, label, open_frame, page
from raycv.drawing.undrawable import Undrawable
from raycv.paper import PAIRS_SHOWN

COUNT = PAIRS_SHOWN // 2  # pairs of highest correlation of a layer, and as many of lowest
_BINS = 36
_PALEST = 0.02  # samples; a single one is still well visible


def shown_pairs(joint: pd.DataFrame) -> pd.DataFrame:
    """Per layer the four pairs of highest and the four of lowest correlation, by falling correlation.

    Columns ``layer``, ``unit_a``, ``unit_b``, ``correlation`` and ``is_high``; where a layer has fewer than eight
    pairs, none is both. ``joint`` is the table joint_activations.
    """
    pairs = joint[["layer", "unit_a", "unit_b", "correlation"]].drop_duplicates().dropna()
    found = []
    for _, rows in pairs.groupby("layer", sort=False, observed=True):
        ordered = rows.sort_values(["correlation", "unit_a"], ascending=[False, True])
        high = ordered.head(min(COUNT, (len(ordered) + 1) // 2))
        low = ordered.iloc[len(high) :].tail(COUNT)
        found += [high.assign(is_high=True), low.assign(is_high=False)]
    if not found:
        raise Undrawable("The table joint_activations is empty.")
    return pd.concat(found, ignore_index=True)


def ranks(pairs: pd.DataFrame, matchings: pd.DataFrame, net_a: str, net_b: str) -> dict[str, tuple[list[int], int]]:
    """By layer the ranks of ``shown_pairs`` among all units of ``net_a`` with a partner, 1 the best, and their number.

    ``matchings`` is the table of that name.
    """
    found = {}
    semi = (matchings["method"] == "semi") & (matchings["similarity"] == "correlation") & (matchings["unit_b"] >= 0)
    of_pair = matchings[semi & (matchings["net_a"] == net_a) & (matchings["net_b"] == net_b)]
    for layer, shown in pairs.groupby("layer", sort=False):
        values = of_pair.loc[of_pair["layer"] == layer].set_index("unit_a")["value"]
        rank = values.rank(ascending=False, method="first").astype(int)
        found[str(layer)] = (rank.reindex(shown["unit_a"]).dropna().astype(int).tolist(), len(values))
    return found


def joint_activations(joint: pd.DataFrame, matchings: pd.DataFrame) -> Figure:
    """Figure 8: how often two matched units have which activations in the same sample, for each of ``shown_pairs``.

    Two lines of panels a layer, highest correlations first; the colour is the logarithm of the number of samples.
    ``joint`` is the table joint_activations of one pair of networks, ``matchings`` the table of that name.
    """
    pairs = shown_pairs(joint)
    net_a, net_b = str(joint["net_a"].iloc[0]), str(joint["net_b"].iloc[0])
    groups = [(str(layer), rows) for (layer, _), rows in pairs.groupby(["layer", "is_high"], sort=False)]
    samples = joint["sample"].nunique()
    which = _chosen(ranks(pairs, matchings, net_a, net_b), net_a)
    caption = (
        f"Each panel: a unit of {net_a} (horizontal) and its best partner in {net_b} (vertical) over {samples:,} "
        "samples (image and position); darker: more samples, logarithmic. Above: the two units and their correlation. "
        f"From left to right and line to line correlations fall. {which}"
    )
    title = f"Activations of matched units of {net_a} and {net_b} in the same samples"
    figure = page(0.9 + 1.75 * len(groups), title, caption)
    panels = figure.subplots(len(groups), COUNT, squeeze=False)
    by_pair = dict(iter(joint.groupby(["layer", "unit_a", "unit_b"], observed=True)))
    for place, (line, (layer, rows)) in enumerate(zip(panels, groups, strict=True)):
        for axes in line[len(rows) :]:
            axes.set_axis_off()
        numbers = (rows[name].tolist() for name in ("unit_a", "unit_b", "correlation"))
        for axes, unit_a, unit_b, correlation in zip(line, *numbers, strict=False):
            of_pair = by_pair[layer, unit_a, unit_b]
            axes.hexbin(
                of_pair["value_a"],
                of_pair["value_b"],
                gridsize=_BINS,
                norm=LogNorm(vmin=_PALEST),
                cmap="Blues",
                mincnt=1,
                linewidths=0.1,
            )
            label(
                axes,
                f"{layer}: {unit_a} and {unit_b}, {correlation:.2f}",
                net_a if place == len(groups) - 1 else "",
                "",
            )
            axes.tick_params(labelsize=TICKS - 1)
            open_frame(axes)
        line[0].set_ylabel(net_b, fontsize=TEXT)
    return figure


def _chosen(found: dict[str, tuple[list[int], int]], net: str) -> str:
    """Which pairs are shown: their places in the ranking of all pairs of the layer."""
    of_layers = (f"{layer} {', '.join(map(str, places))} of {of}" for layer, (places, of) in found.items() if places)
    return f"Shown are pairs from all over the ranking of {net}'s units by that correlation: {'; '.join(of_layers)}."
