"""The clusters of highest between-net similarity with their units as pictures (paper, Figures 13 and 14)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from raycv.drawing.filters import filter_pictures
from raycv.drawing.montage import BETWEEN, Cell, Row, blocks, explained, montage
from raycv.drawing.style import counted
from raycv.drawing.undrawable import Undrawable
from raycv.stages.clusters.figures.clusters import one_net_counts

OF_FILTERS, OF_PATCHES = 12, 8  # clusters shown, as in the paper
MOST = 5  # units of a network in a cluster; the paper's clusters have fewer than 6 (S.3.4)
_NARROWEST = 6.5  # columns of a cluster; fewer would make huge pictures


def similar_clusters(nodes: pd.DataFrame, layer: str, count: int) -> pd.DataFrame:
    """The ``count`` rows of highest between-net similarity among a layer's final clusters with units of both networks.

    ``nodes``: rows of the table clusters of one clustering per layer.
    """
    both = (nodes["layer"] == layer) & nodes["is_leaf"] & (nodes["units_a"] > 0) & (nodes["units_b"] > 0)
    return nodes[both].sort_values(["between_net_similarity", "cluster"], ascending=[False, True]).head(count)


def units_of(clusters: pd.DataFrame, members: pd.DataFrame) -> pd.DataFrame:
    """``layer``, ``cluster``, ``net`` and ``unit`` of the first five units of each network in each cluster.

    ``clusters``: rows of ``similar_clusters``, ``members``: rows of cluster_members of the same clusterings.
    """
    named = members[["layer", "leaf", "net", "unit"]].rename(columns={"leaf": "cluster"})
    within = clusters[["layer", "cluster"]].merge(named, on=["layer", "cluster"]).sort_values("unit", kind="stable")
    return within.groupby(["layer", "cluster", "net"], sort=False).head(MOST)


def cluster_filters(
    filters: Mapping[str, np.ndarray], nodes: pd.DataFrame, members: pd.DataFrame, layer: str, net_a: str, net_b: str
) -> Figure:
    """Figure 13: the filters (network -> (S, C, H, W)) of the units of the first layer's twelve most similar clusters.

    ``nodes`` and ``members`` as of ``similar_clusters`` and ``units_of``.
    """
    shown = {
        (net, unit): picture
        for net in (net_a, net_b)
        for unit, picture in enumerate(filter_pictures(net, np.asarray(filters[net])))
    }
    clusters = similar_clusters(nodes, layer, OF_FILTERS)
    title = f"Filters of {layer}'s clusters of {net_a}'s and {net_b}'s units, most similar first"
    how = f"{_one_net(nodes, layer)} Each filter is scaled from its smallest to its largest weight."
    return _montage(title, how, clusters, members, shown, net_a, net_b)


def cluster_patches(
    patches: pd.DataFrame,
    pictures: pd.DataFrame,
    nodes: pd.DataFrame,
    members: pd.DataFrame,
    layer: str,
    net_a: str,
    net_b: str,
) -> Figure:
    """Figure 14: the top patches of the units of a layer's eight most similar clusters, what drives them beneath.

    ``patches`` and ``pictures``: rows of top_patches and patch_pictures; the others as of ``cluster_filters``.
    """
    clusters = similar_clusters(nodes, layer, OF_PATCHES)
    title = f"Clusters of {net_a}'s and {net_b}'s units at {layer}, most similar first"
    shown = blocks(patches, pictures, layer, units_of(clusters, members))
    return _montage(title, f"{_one_net(nodes, layer)} {explained(pictures, 3)}", clusters, members, shown, net_a, net_b)


def _montage(
    title: str,
    how: str,
    clusters: pd.DataFrame,
    members: pd.DataFrame,
    shown: Mapping[tuple[str, int], np.ndarray],
    net_a: str,
    net_b: str,
) -> Figure:
    """Two clusters a row; in each the units of ``net_a``, white space, those of ``net_b``."""
    if clusters.empty:
        raise Undrawable(f"No cluster has units of both {net_a} and {net_b}.")
    units = units_of(clusters, members)
    widest = clusters[["units_a", "units_b"]].clip(upper=MOST).sum(axis=1).max() + BETWEEN
    half = max(_NARROWEST, float(widest))
    rows = []
    for start in range(0, len(clusters), 2):
        cells: list[Cell] = []
        headings = {}
        of_row = clusters.iloc[start : start + 2]
        columns = (of_row[name].tolist() for name in ("cluster", "units_a", "units_b", "between_net_similarity"))
        for place, (cluster, units_a, units_b, similarity) in enumerate(zip(*columns, strict=True)):
            left = place * (half + 2 * BETWEEN)
            of_cluster = units[units["cluster"] == cluster]
            headings[left] = f"{start + place + 1}: {similarity:.2f}, {units_a} + {units_b} units"
            for net in (net_a, net_b):
                for number, unit in enumerate(of_cluster.loc[of_cluster["net"] == net, "unit"]):
                    cells.append(Cell(left, shown[net, unit], str(unit) if number else f"{net}\n{unit}"))
                    left += 1
                left += BETWEEN
        rows.append(Row(cells, headings=headings))
    similarities = clusters["between_net_similarity"]
    caption = (
        f"Spectral clustering with k = {clusters['k'].iloc[0]}, large clusters split: the "
        f"{counted(len(clusters), 'cluster')} of highest between-net similarity, {similarities.max():.2f} to "
        f"{similarities.min():.2f}. In each: left of the white space units of {net_a}, right of it units of {net_b}"
        f"{_left_out(clusters)}. {how}"
    )
    return montage(title, caption, rows, 2 * half + 2 * BETWEEN)


def _one_net(nodes: pd.DataFrame, layer: str) -> str:
    return one_net_counts({layer: nodes[(nodes["layer"] == layer) & nodes["is_leaf"]][["units_a", "units_b"]]})


def _left_out(clusters: pd.DataFrame) -> str:
    more = int((clusters[["units_a", "units_b"]] - MOST).clip(lower=0).to_numpy().sum())
    return f", the first {MOST} of each (not drawn: {counted(more, 'unit')})" if more else ""
