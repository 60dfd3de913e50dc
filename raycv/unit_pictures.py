"""The figures that show units by their top patches: which units they need, and what draws them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from raycv.cluster_pictures import Clusterings
from raycv.figures.cluster_units import OF_PATCHES, cluster_patches, similar_clusters, units_of
from raycv.figures.extremes import extreme_patches, extreme_units
from raycv.figures.matched_units import best_and_worst, matched_units, paired_units
from raycv.store import RunStore

LAYERS_OF_FIGURE_2 = 3
LAYERS_OF_A_PAGE = 4
PAGED = {"figure-09-matched": "correlation", "figure-11-information": "mutual_information"}


def unit_figures(
    store: RunStore,
    matchings: pd.DataFrame,
    units: pd.DataFrame,
    layers: list[str],
    net_a: str,
    net_b: str,
    clusterings: Clusterings | None,
) -> dict[str, Callable[[], Figure]]:
    """What draws Figures 2, 9, 11, 14 and 19 as far as the run has pictures of patches; their units alone are read.

    ``matchings`` and ``units`` are the tables, ``layers`` all layers in their order.
    """
    if not store.list("tables/patch_pictures"):
        return {}
    second = [layer for layer in layers[1:2] if (units.loc[units["layer"] == layer, "mean"] >= 0).all()]
    wanted = [extreme_units(units, layer).assign(layer=layer) for layer in second]
    matched: dict[str, list[str]] = {similarity: [] for similarity in PAGED.values()}
    for layer in layers:
        for similarity, of_similarity in matched.items():
            pairs = best_and_worst(matchings, layer, net_a, net_b, similarity)
            if len(pairs):
                of_similarity.append(layer)
                wanted.append(paired_units(pairs, net_a, net_b).assign(layer=layer))
    clustered: dict[str, tuple[pd.DataFrame, pd.DataFrame]] = {}
    if clusterings:
        for layer in clusterings.layers:
            clusters = similar_clusters(clusterings.nodes, layer, OF_PATCHES)
            if len(clusters):
                clustered[layer] = clusterings.nodes, clusterings.members
                wanted.append(units_of(clusters, clusterings.members))
    patches = store.read_table("top_patches").astype({"layer": str})
    pictures = _read(store, pd.concat(wanted))
    shown = set(pictures["layer"])

    def of_pairs(layers: list[str], similarity: str, side: int) -> Callable[[], Figure]:
        return partial(matched_units, matchings, patches, pictures, layers, net_a, net_b, similarity, side)

    drawn: dict[str, Callable[[], Figure]] = {}
    for name, similarity in PAGED.items():
        pictured = [layer for layer in matched[similarity] if layer in shown]
        if similarity == "correlation" and pictured:
            drawn["figure-02-matched"] = of_pairs(pictured[:LAYERS_OF_FIGURE_2], similarity, 1)
        for start in range(0, len(pictured), LAYERS_OF_A_PAGE):
            page = pictured[start : start + LAYERS_OF_A_PAGE]
            drawn["-".join(dict.fromkeys([name, page[0], page[-1]]))] = of_pairs(page, similarity, 3)
    for layer, (nodes, members) in clustered.items():
        if layer in shown:
            of_layer = nodes, members, layer, net_a, net_b
            drawn[f"figure-14-clusters-{layer}"] = partial(cluster_patches, patches, pictures, *of_layer)
    for layer in second:
        if layer in shown:
            drawn[f"figure-19-extremes-{layer}"] = partial(extreme_patches, patches, pictures, units, layer)
    return drawn


def _read(store: RunStore, wanted: pd.DataFrame) -> pd.DataFrame:
    """The rows of patch_pictures of the units in ``wanted`` (columns ``layer``, ``net`` and ``unit``)."""
    found = []
    for layer, of_layer in wanted.groupby("layer", sort=False):
        chosen = [
            [("layer", "==", layer), ("net", "==", net), ("unit", "in", units.unique().tolist())]
            for net, units in of_layer.groupby("net")["unit"]
        ]
        found.append(store.read_table("patch_pictures", filters=chosen).astype({"layer": str}))
    return pd.concat(found, ignore_index=True)
