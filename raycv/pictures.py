"""`raycv figures`: draw the figures of a run from its tables (and, for the filters, its networks)."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from raycv import checkpoints, record
from raycv.cluster_pictures import cluster_figures, drawn_clusterings
from raycv.config import FiguresConfig
from raycv.figures.activity import mean_activations
from raycv.figures.cluster_units import OF_FILTERS, cluster_filters, similar_clusters
from raycv.figures.correlations import correlation_matrices
from raycv.figures.extremes import extreme_filters
from raycv.figures.filters import first_layer_filters
from raycv.figures.joint import joint_activations
from raycv.figures.layers import layer_averages
from raycv.figures.matchings import matching_curves
from raycv.figures.training import training_curves
from raycv.mapping_pictures import mapping_plan
from raycv.progress import Progress, say
from raycv.store import RunStore
from raycv.unit_pictures import unit_figures

DOTS_PER_INCH = 200


def figures(config: FiguresConfig, store: RunStore) -> None:
    """Write ``figures/`` of a run as PNG, with title and caption as its texts. Figures are numbered as in the paper."""
    began = time.time()
    drawn = _planned(store)
    with Progress("figures", len(drawn), "figures") as progress:
        for name, draw in drawn.items():
            say(f"figures: {store.write(f'figures/{name}.png', _png(draw()))}")
            progress.update(progress.done + 1)
    written = {f"figures/{name}.png" for name in drawn}
    for path in store.list("figures"):
        if path not in written:
            store.remove(path)
    facts = {"seconds": {"figures": round(time.time() - began, 1)}}
    record.finish(store, "figures", record.fingerprint(sorted(written)), {}, facts)


def _png(figure: Figure) -> bytes:
    texts = {"Title": figure.get_suptitle(), "Description": figure.get_supxlabel()}
    buffer = io.BytesIO()
    metadata = {name: " ".join(text.split()) for name, text in texts.items()}
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()


def _planned(store: RunStore) -> dict[str, Callable[[], Figure]]:
    """What draws each figure that the run has the tables for, by name; drawn one at a time they need less memory."""
    matchings, alignment, units = (
        store.read_table(name).astype({"layer": str}) for name in ("matchings", "alignment", "units")
    )
    layers = list(dict.fromkeys(matchings["layer"]))
    networks = checkpoints.stored(store)
    first, second = networks[0].spec.name, networks[1].spec.name
    correlations = store.read_table("correlations", filters=[("layer", "==", layers[0])])
    drawn: dict[str, Callable[[], Figure]] = {
        f"figure-01-correlations-{layers[0]}": lambda: correlation_matrices(
            correlations, matchings, layers[0], first, second
        ),
        f"figure-03-matchings-{layers[0]}": lambda: matching_curves(matchings, layers[:1], first, second),
        "figure-04-layers": lambda: layer_averages(alignment),
    }
    if len(layers) > 1:
        drawn["figure-10-matchings"] = lambda: matching_curves(matchings, layers[1:], first, second)
    if store.list("tables/training"):
        drawn["training"] = lambda: training_curves(store.read_table("training"))
    if store.list("tables/joint_activations"):
        drawn["figure-08-joint"] = lambda: joint_activations(store.read_table("joint_activations"))
    if (units["mean"] >= 0).any():
        drawn["figure-17-activity"] = lambda: mean_activations(units)
    clusterings = drawn_clusterings(store, layers, first, second)
    if clusterings:
        drawn |= cluster_figures(store, clusterings)
    drawn |= unit_figures(store, matchings, units, layers, first, second, clusterings)
    filters = _filters(store, networks, units[units["layer"] == layers[0]])
    drawn |= mapping_plan(store, units, layers[0], first, second, filters)
    if len(filters) == len(networks):
        order = _order(matchings, layers[0], first, list(filters))
        drawn["filters"] = lambda: first_layer_filters(filters, order)
        if (units.loc[units["layer"] == layers[0], "mean"] >= 0).all():
            drawn[f"figure-18-extremes-{layers[0]}"] = lambda: extreme_filters(filters, units, layers[0])
        if clusterings and len(similar_clusters(clusterings.nodes, layers[0], OF_FILTERS)):
            found = clusterings.nodes, clusterings.members, layers[0], first, second
            drawn[f"figure-13-clusters-{layers[0]}"] = lambda: cluster_filters(filters, *found)
    return dict(sorted(drawn.items()))


def _filters(store: RunStore, networks: list[checkpoints.StoredNetwork], units: pd.DataFrame) -> dict[str, np.ndarray]:
    """The kernels (S, 3, H, W) of every network's convolution of the image, where it has one of as many ``units``."""
    counts = units["net"].value_counts()
    found = {}
    for network in networks:
        kernels = [v for _, v in sorted(checkpoints.weights_of(store, network).items()) if v.ndim == 4]
        of_colours = [v.float().numpy() for v in kernels if v.shape[1] == 3 and len(v) == counts.get(network.spec.name)]
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
