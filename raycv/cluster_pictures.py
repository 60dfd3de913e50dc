"""Which clusterings of a run are drawn, and their figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from raycv.cluster_sweep import PAPERS_K, PAPERS_K_FIRST
from raycv.figures.clusters import cluster_tree, eigengaps, permuted_correlations, similarity_curves
from raycv.store import RunStore

MOST_MATRICES = 6


@dataclass(frozen=True)
class Clusterings:
    """The clusterings of two networks that are drawn, one per layer of ``layers``, as rows of the tables.

    ``all`` are the rows of clusterings of the same networks and threshold for all k.
    """

    net_a: str
    net_b: str
    layers: list[str]
    all: pd.DataFrame
    nodes: pd.DataFrame
    members: pd.DataFrame
    eigenvalues: pd.DataFrame


def drawn_clusterings(store: RunStore, layers: list[str], net_a: str, net_b: str) -> Clusterings | None:
    """The clusterings at the lowest threshold and the paper's k; None where the run has none of these networks.

    Where a layer's graph does not allow the paper's k, the one chosen by the eigengap stands in.
    """
    if not store.list("tables/clusterings"):
        return None
    pair = [("net_a", "==", net_a), ("net_b", "==", net_b)]
    found = {
        name: store.read_table(name, filters=pair).astype({"layer": str})
        for name in ("clusterings", "clusters", "cluster_members", "eigenvalues")
    }
    rows = found["clusterings"]
    if rows.empty:
        return None
    rows = rows[rows["threshold"] == rows["threshold"].min()]
    drawn_k = []
    for place, layer in enumerate(layers):
        of_layer = rows[rows["layer"] == layer]
        wanted = of_layer[of_layer["k"] == (PAPERS_K if place else PAPERS_K_FIRST)]
        drawn_k.append(wanted if len(wanted) else of_layer[of_layer["chosen"]])
    keys = pd.concat(drawn_k)[["layer", "threshold", "k"]]
    nodes, members = (found[name].merge(keys) for name in ("clusters", "cluster_members"))
    eigenvalues = found["eigenvalues"].merge(keys[["layer", "threshold"]])
    shown = [layer for layer in layers if layer in set(keys["layer"])]
    return Clusterings(net_a, net_b, shown, rows, nodes, members, eigenvalues)


def cluster_figures(store: RunStore, found: Clusterings) -> dict[str, Callable[[], Figure]]:
    """What draws Figures 12, 15, 16 and the eigengaps."""
    spatial = [layer for layer in found.layers if layer.startswith("conv")] or found.layers
    nets = [found.net_a, found.net_b]

    def matrices() -> Figure:
        both = ("net_a", "in", nets), ("net_b", "in", nets)
        correlations = {
            layer: store.read_table("correlations", filters=[("layer", "==", layer), *both])
            for layer in spatial[:MOST_MATRICES]
        }
        return permuted_correlations(correlations, found.members, *nets)

    def tree() -> Figure:
        nodes, members = (frame[frame["layer"] == spatial[0]] for frame in (found.nodes, found.members))
        return cluster_tree(nodes, members, spatial[0], *nets)

    return {
        "figure-12-clusters": matrices,
        "figure-15-tree": tree,
        "figure-16-similarity": lambda: similarity_curves(found.nodes, found.layers, *nets),
        "eigengaps": lambda: eigengaps(found.eigenvalues, found.all, found.layers, *nets),
    }
