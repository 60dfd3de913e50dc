"""Which clusterings of a run are drawn, and their figures (paper, figures 12 to 16)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from raycv.drawing.subject import Plan, Subject
from raycv.stages.clusters.figures.cluster_units import (
    OF_FILTERS,
    OF_PATCHES,
    cluster_filters,
    cluster_patches,
    similar_clusters,
    units_of,
)
from raycv.stages.clusters.figures.clusters import (
    cluster_tree,
    modularity_curves,
    permuted_correlations,
    similarity_curves,
)

MOST_MATRICES = 6


@dataclass(frozen=True)
class Clusterings:
    """The clusterings of two networks that are drawn, one per layer of ``layers``, as rows of the tables.

    ``all`` are the rows of clusterings of the same networks and threshold for all k.
    """

    layers: list[str]
    all: pd.DataFrame
    nodes: pd.DataFrame
    members: pd.DataFrame
    eigenvalues: pd.DataFrame


def plan(run: Subject) -> Plan:
    """Those of the first two networks, where they were clustered."""
    found = drawn_clusterings(run)
    return _of_clusters(run, found) | _of_units(run, found) if found else {}


def drawn_clusterings(run: Subject) -> Clusterings | None:
    """The clusterings at the lowest threshold and the default k; None where the run has none of these networks."""
    if not run.has("clusterings"):
        return None
    pair = [("net_a", "==", run.net_a), ("net_b", "==", run.net_b)]
    found = {
        name: run.read(name, filters=pair) for name in ("clusterings", "clusters", "cluster_members", "eigenvalues")
    }
    rows = found["clusterings"]
    if rows.empty:
        return None
    rows = rows[rows["threshold"] == rows["threshold"].min()]
    keys = rows.loc[rows["is_default"], ["layer", "threshold", "k"]]
    nodes, members = (found[name].merge(keys) for name in ("clusters", "cluster_members"))
    eigenvalues = found["eigenvalues"].merge(keys[["layer", "threshold"]])
    shown = [layer for layer in run.layers if layer in set(keys["layer"])]
    return Clusterings(shown, rows, nodes, members, eigenvalues)


def _of_clusters(run: Subject, found: Clusterings) -> Plan:
    """Figures 12, 15, 16 and the modularity of every k."""
    spatial = [layer for layer in found.layers if layer.startswith("conv")] or found.layers
    of_tree = spatial[min(1, len(spatial) - 1)]  # the second layer, as in the paper
    nets = [run.net_a, run.net_b]

    def matrices() -> Figure:
        both = ("net_a", "in", nets), ("net_b", "in", nets)
        correlations = {
            layer: run.read("correlations", filters=[("layer", "==", layer), *both])
            for layer in spatial[:MOST_MATRICES]
        }
        return permuted_correlations(correlations, found.members, *nets)

    def tree() -> Figure:
        nodes, members = (frame[frame["layer"] == of_tree] for frame in (found.nodes, found.members))
        return cluster_tree(nodes, members, of_tree, *nets)

    return {
        "figure-12-clusters": matrices,
        "figure-15-tree": tree,
        "figure-16-similarity": lambda: similarity_curves(found.nodes, found.layers, *nets),
        "modularity": lambda: modularity_curves(found.eigenvalues, found.all, found.layers, *nets),
    }


def _of_units(run: Subject, found: Clusterings) -> Plan:
    """Figures 13 and 14: the units of a cluster as filters of the first layer, and as patches of every layer."""
    drawn: Plan = {}
    if run.all_have_filters and len(similar_clusters(found.nodes, run.first, OF_FILTERS)):
        of_first = found.nodes, found.members, run.first, run.net_a, run.net_b
        drawn[f"figure-13-clusters-{run.first}"] = partial(cluster_filters, run.filters, *of_first)
    similar = {layer: similar_clusters(found.nodes, layer, OF_PATCHES) for layer in found.layers}
    wanted = [units_of(clusters, found.members) for clusters in similar.values() if len(clusters)]
    if not wanted or not run.has("patch_pictures"):
        return drawn
    patches, pictures = run.read("top_patches"), run.pictures(pd.concat(wanted))
    shown = set(pictures["layer"])
    for layer, clusters in similar.items():
        if len(clusters) and layer in shown:
            of_layer = found.nodes, found.members, layer, run.net_a, run.net_b
            drawn[f"figure-14-clusters-{layer}"] = partial(cluster_patches, patches, pictures, *of_layer)
    return drawn
