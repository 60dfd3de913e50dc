"""The clusters of highest between-net similarity with their units as pictures (paper, Figures 13 and 14)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from raycv.drawing.filters import filter_pictures, smoothness_note
from raycv.drawing.montage import BETWEEN, Cell, Row, blocks, explained, montage
from raycv.drawing.style import counted
from raycv.drawing.undrawable import Undrawable
from raycv.stages.clusters.figures.clusters import one_net_counts

OF_FILTERS, OF_PATCHES = 12, 8  # clusters shown, as in the paper
MOST = 5  # units of a network in a cluster; the paper's clusters have fewer than 6 (S.3.4)
_NARROWEST = 2.5  # columns of a cluster, so that its heading has room
_PAGE = 14.0  # columns of a row; fewer would make huge pictures
_COLUMNS = ("cluster", "units_a", "units_b", "between_net_similarity")


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
    scaled = "Each filter is scaled from its smallest to its largest weight."
    how = f"{_one_net(nodes, layer)} {scaled} {smoothness_note({net: filters[net] for net in (net_a, net_b)})}"
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
    """As many clusters a row as it has room for; in each the units of ``net_a``, white space, those of ``net_b``."""
    if clusters.empty:
        raise Undrawable(f"No cluster has units of both {net_a} and {net_b}.")
    units = units_of(clusters, members)
    columns = list(zip(*(clusters[name].tolist() for name in _COLUMNS), strict=True))
    widths = [max(_NARROWEST, min(a, MOST) + min(b, MOST) + BETWEEN) for _, a, b, _ in columns]
    room = max(_PAGE, *widths)
    rows: list[Row] = []
    cells: list[Cell] = []
    headings: dict[float, str] = {}
    left = 0.0
    for (cluster, units_a, units_b, similarity), width in zip(columns, widths, strict=True):
        if cells and left + width > room:
            rows.append(Row(cells, headings=headings))
            cells, headings, left = [], {}, 0.0
        more = f", {units_a} + {units_b}" if max(units_a, units_b) > MOST else ""
        headings[left] = f"{cluster}: {similarity:.2f}{more}"
        cells += _cells(units[units["cluster"] == cluster], shown, left, (net_a, net_b))
        left += width + 2 * BETWEEN
    rows.append(Row(cells, headings=headings))
    similarities = clusters["between_net_similarity"]
    caption = (
        f"Spectral clustering with k = {clusters['k'].iloc[0]}, large clusters split: the "
        f"{counted(len(clusters), 'cluster')} of highest between-net similarity, {similarities.max():.2f} to "
        f"{similarities.min():.2f}. Above each: its number, as in the tables and the "
        "report, and that similarity. In each: left of the white space units of "
        f"{net_a}, right of it units of {net_b}"
        f"{_left_out(clusters)}. {how}"
    )
    return montage(title, caption, rows, room)


def _cells(
    of_cluster: pd.DataFrame, shown: Mapping[tuple[str, int], np.ndarray], left: float, nets: tuple[str, str]
) -> list[Cell]:
    """The units of a cluster from ``left`` on, those of the second network after white space."""
    cells = []
    for net in nets:
        for number, unit in enumerate(of_cluster.loc[of_cluster["net"] == net, "unit"]):
            cells.append(Cell(left, shown[net, unit], str(unit) if number else f"{net}\n{unit}"))
            left += 1
        left += BETWEEN
    return cells


def _one_net(nodes: pd.DataFrame, layer: str) -> str:
    return one_net_counts({layer: nodes[(nodes["layer"] == layer) & nodes["is_leaf"]][["units_a", "units_b"]]})


def _left_out(clusters: pd.DataFrame) -> str:
    more = int((clusters[["units_a", "units_b"]] - MOST).clip(lower=0).to_numpy().sum())
    return f", the first {MOST} of each (not drawn: {counted(more, 'unit')})" if more else ""
