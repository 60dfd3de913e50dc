"""Spectral clusters of the units of two networks (paper, Figures 12, 15 and 16) and the modularity that chooses k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from raycv.drawing.style import NETS, QUIET, SIGNAL, TICKS, WIDTH, counted, label, open_frame, page
from raycv.drawing.undrawable import Undrawable

_OUTLINED = 2  # units; smaller blocks are too small to outline
_COLUMNS = 3


def permuted_correlations(
    correlations: Mapping[str, pd.DataFrame], members: pd.DataFrame, net_a: str, net_b: str
) -> Figure:
    """Figure 12: the combined correlation matrix of each layer with its units in the order of their clusters.

    ``correlations``: layer -> rows of that table, ``members``: rows of cluster_members of one clustering per layer,
    both of ``net_a`` and ``net_b``. Clusters after splitting are outlined; isolated units stand last, dead ones are
    left out.
    """
    _check(members)
    caption = (
        f"Rows and columns: units of both networks by cluster; outlined: clusters of at least {_OUTLINED} units. "
        + one_net_counts({layer: _units_per_net(members, layer) for layer in correlations})
    )
    title = f"Correlations within and between {net_a} and {net_b}, by cluster"
    figure, panels = _grid(len(correlations), 2.5, title, caption)
    image = None
    for axes, (layer, rows) in zip(panels, correlations.items(), strict=False):
        of_layer = members[members["layer"] == layer]
        order = of_layer.sort_values(["cluster", "leaf", "net", "unit"], key=_last)
        units = pd.MultiIndex.from_frame(order[["net", "unit"]])
        matrix = _symmetric(rows, units)
        alive = np.isfinite(matrix).any(axis=1)
        image = axes.imshow(matrix[np.ix_(alive, alive)], cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        leaves = order["leaf"].to_numpy()[alive]
        starts = np.flatnonzero(np.diff(leaves, prepend=np.iinfo(np.int64).min))
        for start, end in zip(starts, [*starts[1:], len(leaves)], strict=True):
            if leaves[start] >= 0 and end - start >= _OUTLINED:
                corner = (start - 0.5, start - 0.5)
                axes.add_patch(Rectangle(corner, end - start, end - start, fill=False, linewidth=0.5, color="black"))
        clusters = len(np.unique(leaves[leaves >= 0]))
        label(axes, f"{layer}: {counted(clusters, 'cluster')}, k = {of_layer['k'].iloc[0]}", "", "")
        axes.set(xticks=[], yticks=[])
    if image is not None:
        bar = figure.colorbar(image, ax=list(panels), shrink=0.5)
        bar.ax.tick_params(labelsize=TICKS)
    return figure


def cluster_tree(nodes: pd.DataFrame, members: pd.DataFrame, layer: str, net_a: str, net_b: str) -> Figure:
    """Figure 15: the largest cluster of a layer that was split, its parts, and the units of each network in them.

    ``nodes`` and ``members``: rows of clusters and cluster_members of one clustering.
    """
    _check(members)
    first = nodes[nodes["parent"] < 0].set_index("cluster")
    split = first.index[~first["is_leaf"].astype(bool)]
    sizes = first[["units_a", "units_b"]].sum(axis=1)
    largest = sizes.loc[split] if len(split) else sizes
    root = int(largest.index.to_numpy()[largest.to_numpy().argmax()])
    table = nodes.set_index("cluster")
    children: dict[int, list[int]] = {}
    for node, parent in zip(nodes["cluster"].tolist(), nodes["parent"].tolist(), strict=True):
        children.setdefault(parent, []).append(node)
    place: dict[int, float] = {}
    depth: dict[int, int] = {}

    def settle(node: int, level: int) -> float:
        depth[node] = level
        below = [settle(child, level + 1) for child in children.get(node, [])]
        place[node] = float(np.mean(below)) if below else float(sum(n not in children for n in place))
        return place[node]

    settle(root, 0)
    leaves = [node for node in place if node not in children]
    deepest = max(depth.values())
    title = f"Cluster {root} of {layer} and the parts it was split into, {net_a} and {net_b}"
    caption = (
        f"Under a cluster's number: its units of {net_a} + of {net_b}, and, of both networks, its "
        "between-net similarity. To the right of a cluster that was not split: its units."
    )
    figure = page(1.3 + 0.36 * len(leaves), title, caption)
    axes = figure.subplots()
    for node, y in place.items():
        for child in children.get(node, []):
            axes.plot([depth[node], depth[child]], [y, place[child]], color=QUIET, linewidth=0.6, zorder=0)
        row = table.loc[node]
        of_both = f", {row['between_net_similarity']:.2f}" if min(row["units_a"], row["units_b"]) else ""
        text = f"{node}\n{row['units_a']} + {row['units_b']}{of_both}"
        box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": QUIET, "linewidth": 0.5}
        axes.text(depth[node], y, text, fontsize=5.5, ha="center", va="center", bbox=box)
        if node in leaves:
            for line, net in enumerate((net_a, net_b)):
                units = members[(members["leaf"] == node) & (members["net"] == net)]["unit"].sort_values()
                shown = f"{net}: {', '.join(map(str, units[:24]))}{' ...' if len(units) > 24 else ''}"
                offset = 0.2 * (1 if line else -1)
                if len(units):
                    axes.text(depth[node] + 0.3, y + offset, shown, fontsize=5.5, color=NETS[line], va="center")
    axes.set(xlim=(-0.3, deepest + 1.8), ylim=(len(leaves) - 0.4, -0.6))
    axes.set_axis_off()
    return figure


def similarity_curves(nodes: pd.DataFrame, layers: Sequence[str], net_a: str, net_b: str) -> Figure:
    """Figure 16: between-net and within-net similarity of every cluster of several units, one panel per layer.

    ``nodes``: rows of clusters of one clustering per layer. Clusters after splitting, by falling
    between-net similarity.
    """
    _check(nodes)
    drawn = {layer: several_units(_leaves(nodes, layer)) for layer in layers}
    title = f"Similarity of the clusters of {net_a}'s and {net_b}'s units"
    figure, panels = _grid(len(layers), 1.9, title, _caption_of_similarity(nodes, drawn))
    for axes, (layer, rows) in zip(panels, drawn.items(), strict=False):
        units = rows[["units_a", "units_b"]]
        both = rows["between_net_similarity"].where(units.min(axis=1) > 0).sort_values(ascending=False, kind="stable")
        within = rows["within_net_similarity"].where(units.max(axis=1) > 1).reindex(both.index)
        place = np.arange(1, len(rows) + 1)
        for values, colour, name in ((within, QUIET, "within net"), (both, SIGNAL, "between nets")):
            axes.plot(place, values, ".-", color=colour, markersize=3, linewidth=0.7, label=name)
        label(axes, f"{layer}: {counted(len(rows), 'cluster')}", "cluster", "mean correlation")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_ylim(min(-0.03, float(np.nanmin([0.0, *both])) - 0.03), 1.03)
        open_frame(axes)
    panels[0].legend(fontsize=TICKS, frameon=False)
    return figure


def several_units(leaves: pd.DataFrame) -> pd.DataFrame:
    """The clusters of two units or more; one unit alone is as similar to itself as can be."""
    return leaves[leaves["units_a"] + leaves["units_b"] > 1]


def _caption_of_similarity(nodes: pd.DataFrame, drawn: Mapping[str, pd.DataFrame]) -> str:
    alone = {layer: len(_leaves(nodes, layer)) - len(rows) for layer, rows in drawn.items()}
    left_out = "; ".join(f"{layer} {count} of {count + len(drawn[layer])}" for layer, count in alone.items() if count)
    one_net = {layer: int(((rows["units_a"] == 0) | (rows["units_b"] == 0)).sum()) for layer, rows in drawn.items()}
    of_one = "; ".join(f"{layer} {count} of {len(drawn[layer])}" for layer, count in one_net.items() if count)
    text = (
        "Clusters by falling similarity between networks. Within net: of clusters with several units of a network, "
        "each unit with itself included."
    )
    if left_out:
        text += f" Not drawn: clusters of one unit ({left_out})."
    if of_one:
        text += f" Clusters of one network only have no similarity between networks and stand last: {of_one}."
    return text


def modularity_curves(
    eigenvalues: pd.DataFrame, clusterings: pd.DataFrame, layers: Sequence[str], net_a: str, net_b: str
) -> Figure:
    """The modularity of each layer's clusters against k, with the largest and the default k marked."""
    _check(eigenvalues)
    not_above = _not_above(modularity_at_default(eigenvalues, clusterings, layers))
    caption = (
        "Modularity: the fraction of the edges' weight within clusters, less that of random edges between units of the "
        "same degrees. Dashed: the k of the largest modularity. Dotted: the default k, which the other figures have; "
        f"cross: there, with one network's units mixed (chance). {not_above}"
    )
    title = f"Modularity of the clusters of {net_a}'s and {net_b}'s units"
    figure, panels = _grid(len(layers), 1.9, title, caption)
    for axes, layer in zip(panels, layers, strict=False):
        rows = eigenvalues[eigenvalues["layer"] == layer].sort_values("number").dropna(subset="modularity")
        axes.plot(rows["number"], rows["modularity"], color=NETS[0], linewidth=0.8)
        of_layer = clusterings[clusterings["layer"] == layer]
        chosen, default = (of_layer.loc[of_layer[column], "k"].iloc[0] for column in ("chosen", "is_default"))
        mixed = of_layer.loc[of_layer["is_default"], "mixed_modularity"].iloc[0]
        axes.plot(default, mixed, "x", color=SIGNAL, markersize=5)
        axes.axvline(default, color=QUIET, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.axvline(chosen, color=SIGNAL, linewidth=0.8, linestyle=(0, (4, 3)))
        label(axes, f"{layer}: k = {chosen}, default {default}", "k", "modularity")
        open_frame(axes)
    return figure


def modularity_at_default(
    eigenvalues: pd.DataFrame, clusterings: pd.DataFrame, layers: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """By layer the modularity of the default k, as it is drawn, and that by chance; NaN where it is not known."""
    found = {}
    for layer in layers:
        of_layer = clusterings[(clusterings["layer"] == layer) & clusterings["is_default"]].iloc[0]
        rows = eigenvalues[(eigenvalues["layer"] == layer) & (eigenvalues["number"] == of_layer["k"])]
        value = float(rows["modularity"].iloc[0]) if len(rows) else np.nan
        found[layer] = (value, float(of_layer["mixed_modularity"]))
    return found


def _not_above(found: Mapping[str, tuple[float, float]]) -> str:
    """In which layers the default k has no more modularity than by chance."""
    known = {layer: values for layer, values in found.items() if np.isfinite(values).all()}
    below = [layer for layer, (value, chance) in known.items() if value <= chance]
    if not known:
        return ""
    if not below:
        return f"In {'all' if len(known) == len(found) else len(known)} layers it is above chance."
    return f"Not above chance: {', '.join(below)}."


def one_net_counts(units: Mapping[str, pd.DataFrame]) -> str:
    """How many clusters of each layer have units of one network only, and how many of those one unit, as a sentence.

    ``units``: layer -> units of each network (columns) in each cluster (rows).
    """
    parts = []
    for layer, counts in units.items():
        alone = int(((counts > 0).sum(axis=1) == 1).sum())
        single = int((counts.sum(axis=1) == 1).sum())
        parts.append(f"{layer} {alone} ({single}) of {len(counts)}")
    return f"Clusters of one network only (of these, of one unit): {', '.join(parts)}."


def _leaves(nodes: pd.DataFrame, layer: str) -> pd.DataFrame:
    """The rows of a layer's clusters after splitting."""
    return nodes[(nodes["layer"] == layer) & nodes["is_leaf"]]


def _units_per_net(members: pd.DataFrame, layer: str) -> pd.DataFrame:
    """Units of each network in each of a layer's clusters after splitting."""
    clustered = members[(members["layer"] == layer) & (members["leaf"] >= 0)]
    return clustered.groupby(["leaf", "net"]).size().unstack(fill_value=0)


def _last(column: pd.Series) -> pd.Series:
    """Sort key that puts -1, "in no cluster", last."""
    return column.where(column >= 0, np.iinfo(np.int64).max) if column.name in ("cluster", "leaf") else column


def _symmetric(rows: pd.DataFrame, units: pd.MultiIndex) -> np.ndarray:
    """(n, n) correlations among ``units``, pairs of (net, unit), in their order."""
    matrix = np.full((len(units), len(units)), np.nan)
    first = units.get_indexer(pd.MultiIndex.from_frame(rows[["net_a", "unit_a"]]))
    second = units.get_indexer(pd.MultiIndex.from_frame(rows[["net_b", "unit_b"]]))
    known = (first >= 0) & (second >= 0)
    matrix[first[known], second[known]] = matrix[second[known], first[known]] = rows["value"].to_numpy()[known]
    return matrix


def _grid(panels: int, height: float, title: str, caption: str) -> tuple[Figure, list[Axes]]:
    columns = min(_COLUMNS, panels)
    rows = -(-panels // columns)
    figure = page(0.9 + height * rows * min(1.0, WIDTH / 7), title, caption)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for empty in axes[panels:]:
        empty.set_axis_off()
    return figure, axes


def _check(rows: pd.DataFrame) -> None:
    if rows.empty:
        raise Undrawable("There are no clusters to draw.")
