"""Which figures of mapping layers a run gets (paper, section 4): Table 1 and figures 6 and 7."""

from __future__ import annotations

from functools import partial

import pandas as pd

from raycv.drawing.portraits import Portraits
from raycv.drawing.subject import Plan, Subject
from raycv.stages.mapping.figures.agglomeration import agglomeration_tree
from raycv.stages.mapping.figures.mapping import mapping_matrix, weight_matrix
from raycv.stages.mapping.figures.table1 import SOLVERS, loss_curves, optimiser_part, sparse_decay, table_1


def plan(run: Subject) -> Plan:
    """Table 1 and its curves, what the optimiser caused where both solvers were asked, figures 6 and 7."""
    if not run.has("mappings"):
        return {}
    mappings = run.read("mappings", filters=[("solver", "in", list(SOLVERS))])
    if mappings.empty:
        return {}
    drawn: Plan = {
        "table-1": partial(table_1, mappings),
        "table-1-curves": partial(loss_curves, mappings),
    }
    solvers = set(mappings["solver"])
    if len(solvers) == len(SOLVERS):
        drawn["table-1-optimiser"] = partial(optimiser_part, mappings)
    return drawn | _of_first_layer(run, sparse_decay(mappings)) if "exact" in solvers else drawn


def _of_first_layer(run: Subject, decay: float) -> Plan:
    """Figures 6 and 7, of the optimum at one decay between the first two networks."""
    layer, both = run.first, [run.net_a, run.net_b]
    of_pair = [("layer", "==", layer), ("source_net", "in", both), ("target_net", "in", both)]
    of_exact = [*of_pair, ("solver", "==", "exact"), ("decay", "==", decay)]
    weights, mapping_units = (run.read(name, filters=of_exact) for name in ("mapping_weights", "mapping_units"))
    trees = run.read("agglomerations", filters=[*of_pair, ("decay", "==", decay), ("source_net", "==", run.net_a)])
    of_map = weights, mapping_units, run.units, layer, run.net_a, run.net_b, decay
    portraits = _portraits(run, both)
    drawn: Plan = {f"figure-06-mapping-{layer}": partial(mapping_matrix, *of_map, portraits)}
    forward = weight_matrix(weights, run.units, layer, run.net_a, run.net_b, decay)
    for reverse in sorted(set(trees["reverse"])):
        merges = trees[trees["reverse"] == reverse]
        back = weight_matrix(weights, run.units, layer, run.net_b, run.net_a, decay) if reverse else forward.T
        drawn[f"figure-07-agglomeration-{layer}{'-both-ways' if reverse else ''}"] = partial(
            agglomeration_tree, merges, forward, back, layer, run.net_a, run.net_b, decay, portraits
        )
    return drawn


def _portraits(run: Subject, nets: list[str]) -> Portraits:
    """Pictures of the first layer's units: their patches, or their filters where there are none."""
    patches: pd.DataFrame | None = None
    pictures: pd.DataFrame | None = None
    if run.has("patch_pictures"):
        of_layer = ("layer", "==", run.first)
        patches = run.read("top_patches", filters=[of_layer])
        pictures = run.read("patch_pictures", filters=[of_layer, ("net", "in", nets)])
    return Portraits(patches, pictures, run.filters)
