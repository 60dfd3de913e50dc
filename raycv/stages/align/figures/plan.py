"""Which figures of the alignment a run gets (paper, figures 1, 3, 4, 8, 10, 17)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from raycv.drawing.filters import first_layer_filters
from raycv.drawing.subject import Plan, Subject
from raycv.stages.align.figures.across import layers_across
from raycv.stages.align.figures.activity import mean_activations
from raycv.stages.align.figures.correlations import correlation_matrices
from raycv.stages.align.figures.epochs import through_training
from raycv.stages.align.figures.joint import joint_activations
from raycv.stages.align.figures.layers import layer_averages
from raycv.stages.align.figures.matchings import matching_curves
from raycv.stages.align.figures.measures import measures_by_layer
from raycv.stages.align.figures.recurrence import recurring_units
from raycv.stages.align.figures.universal import universal_units


def plan(run: Subject) -> Plan:
    """Those that the run's tables and layers allow."""
    matchings, nets = run.matchings, (run.net_a, run.net_b)
    both = ("net_a", "in", nets), ("net_b", "in", nets)
    correlations = run.read("correlations", filters=[("layer", "==", run.first), *both])
    drawn: Plan = {
        f"figure-01-correlations-{run.first}": lambda: correlation_matrices(correlations, matchings, run.first, *nets),
        f"figure-03-matchings-{run.first}": lambda: matching_curves(matchings, run.layers[:1], *nets),
        "figure-04-layers": lambda: layer_averages(run.read("alignment")),
    }
    if len(run.layers) > 1:
        drawn["figure-10-matchings"] = lambda: matching_curves(matchings, run.layers[1:], *nets)
    if run.has("recurrence_by_layer"):
        drawn["recurrence"] = lambda: recurring_units(run.read("recurrence_by_layer"))
    if run.has("universal_by_layer"):
        drawn["universal"] = lambda: universal_units(run.read("universal_by_layer"))
    if run.has("epochs"):
        drawn["epochs"] = lambda: through_training(run.read("epochs"), run.read("training"))
    if run.has("measures"):
        drawn["measures"] = lambda: measures_by_layer(run.read("measures"))
    if run.has("across"):
        drawn["across"] = lambda: layers_across(run.read("across"))
    if run.has("joint_activations"):
        drawn["figure-08-joint"] = lambda: joint_activations(run.read("joint_activations"), matchings)
    if any(run.is_rectified(layer) for layer in run.layers):
        drawn["figure-17-activity"] = lambda: mean_activations(run.units)
    if run.all_have_filters:
        order = _order(matchings, run.first, run.net_a, list(run.filters))
        drawn["filters"] = lambda: first_layer_filters(run.filters, order)
    return drawn


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
