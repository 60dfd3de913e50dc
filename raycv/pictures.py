"""`raycv figures`: draw the figures of a run from its tables (and, for the filters, its networks)."""

from __future__ import annotations

import io
import time

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from raycv import checkpoints, record
from raycv.cluster_sweep import PAPERS_K, PAPERS_K_FIRST
from raycv.config import FiguresConfig
from raycv.figures.activity import extreme_filters, mean_activations
from raycv.figures.clusters import cluster_tree, eigengaps, permuted_correlations, similarity_curves
from raycv.figures.correlations import correlation_matrices
from raycv.figures.filters import first_layer_filters
from raycv.figures.layers import layer_averages
from raycv.figures.matchings import matching_curves
from raycv.figures.training import training_curves
from raycv.progress import Progress, say
from raycv.store import RunStore

DOTS_PER_INCH = 200


def figures(config: FiguresConfig, store: RunStore) -> None:
    """Write ``figures/`` of a run as PNG. Figures are numbered as in the paper."""
    began = time.time()
    matchings, alignment = store.read_table("matchings"), store.read_table("alignment")
    layers = list(dict.fromkeys(matchings["layer"]))
    networks = checkpoints.stored(store)
    first, second = networks[0].spec.name, networks[1].spec.name
    correlations = store.read_table("correlations", filters=[("layer", "==", layers[0])])
    drawn: dict[str, Figure] = {
        f"figure-01-correlations-{layers[0]}": correlation_matrices(correlations, matchings, layers[0], first, second),
        f"figure-03-matchings-{layers[0]}": matching_curves(matchings, layers[:1], first, second),
        "figure-04-layers": layer_averages(alignment),
    }
    if len(layers) > 1:
        drawn["figure-10-matchings"] = matching_curves(matchings, layers[1:], first, second)
    if store.exists("tables/training"):
        drawn["training"] = training_curves(store.read_table("training"))
    filters = _filters(store, networks)
    if len(filters) == len(networks):
        drawn["filters"] = first_layer_filters(filters, _order(matchings, layers[0], first, list(filters)))
    units = store.read_table("units")
    units["layer"] = units["layer"].astype(str)
    if (units["mean"] >= 0).any():
        drawn["figure-17-activity"] = mean_activations(units)
    first_units = units[units["layer"] == layers[0]]
    if filters and (first_units["mean"] >= 0).all():
        drawn["figure-18-19-extremes"] = extreme_filters(filters, first_units)
    if store.list("tables/clusterings"):
        drawn |= _clusters(store, layers, first, second)
    with Progress("figures", len(drawn), "figures") as progress:
        for name, figure in drawn.items():
            buffer = io.BytesIO()
            described = {"Title": figure.get_suptitle(), "Description": figure.get_supxlabel()}
            figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata=described)
            say(f"figures: {store.write(f'figures/{name}.png', buffer.getvalue())}")
            progress.update(progress.done + 1)
    written = {f"figures/{name}.png" for name in drawn}
    for path in store.list("figures"):
        if path not in written:
            store.remove(path)
    facts = {"seconds": {"figures": round(time.time() - began, 1)}}
    record.finish(store, "figures", record.fingerprint(sorted(written)), {}, facts)


def _clusters(store: RunStore, layers: list[str], first: str, second: str) -> dict[str, Figure]:
    """The figures of the clusters of the first two networks, at the lowest threshold and the paper's k if allowed.

    Where a layer's graph does not allow the paper's k, the one chosen by the eigengap stands in.
    """
    pair = [("net_a", "==", first), ("net_b", "==", second)]
    found = {
        name: store.read_table(name, filters=pair).astype({"layer": str})
        for name in ("clusterings", "clusters", "cluster_members", "eigenvalues")
    }
    rows = found["clusterings"]
    if rows.empty:
        return {}
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
    spatial = [layer for layer in shown if layer.startswith("conv")] or shown
    both = ("net_a", "in", [first, second]), ("net_b", "in", [first, second])
    matrices = {
        layer: store.read_table("correlations", filters=[("layer", "==", layer), *both]) for layer in spatial[:6]
    }
    first_nodes, first_members = (frame[frame["layer"] == spatial[0]] for frame in (nodes, members))
    return {
        "figure-12-clusters": permuted_correlations(matrices, members, first, second),
        "figure-15-tree": cluster_tree(first_nodes, first_members, spatial[0], first, second),
        "figure-16-similarity": similarity_curves(nodes, shown, first, second),
        "eigengaps": eigengaps(eigenvalues, rows, shown, first, second),
    }


def _filters(store: RunStore, networks: list[checkpoints.StoredNetwork]) -> dict[str, np.ndarray]:
    """The kernels (S, 3, H, W) of every network's convolution of the image, where it has one."""
    found = {}
    for network in networks:
        kernels = [v for _, v in sorted(checkpoints.weights_of(store, network).items()) if v.ndim == 4]
        of_colours = [v.float().numpy() for v in kernels if v.shape[1] == 3]
        if of_colours:
            found[network.spec.name] = of_colours[0]
    return found


def _order(matchings: pd.DataFrame, layer: str, first: str, names: list[str]) -> dict[str, np.ndarray]:
    """For each network the unit that stands at each place: the first network's order, matched one to one."""
    order = {}
    chosen = matchings[
        (matchings["layer"] == layer)
        & (matchings["method"] == "bipartite")
        & (matchings["similarity"] == "correlation")
        & (matchings["net_a"] == first)
    ]
    best = chosen.groupby("unit_a")["value"].mean().sort_values(ascending=False).index.to_numpy()
    for name in names:
        if name == first:
            order[name] = best
        else:
            partners = chosen[chosen["net_b"] == name].set_index("unit_a")["unit_b"]
            order[name] = partners.reindex(best).to_numpy()
    return order
