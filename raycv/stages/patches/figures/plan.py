"""Which figures of single units a run gets (paper, figures 2, 9, 11, 18, 19)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from raycv.drawing.filters import smoothness_note
from raycv.drawing.subject import Plan, Subject
from raycv.stages.patches.figures.extremes import extreme_filters, extreme_patches, extreme_units
from raycv.stages.patches.figures.matched_units import best_and_worst, matched_units, paired_units

LAYERS_OF_FIGURE_2 = 3
LAYERS_OF_A_PAGE = 4
PAGED = {"figure-09-matched": "correlation", "figure-11-information": "mutual_information"}


def plan(run: Subject) -> Plan:
    """Those that the run's pictures of patches and filters allow; only the units shown are read."""
    drawn: Plan = {}
    if run.all_have_filters and run.is_rectified(run.first):
        drawn[f"figure-18-extremes-{run.first}"] = lambda: extreme_filters(run.filters, run.units, run.first)
    return drawn | _of_patches(run) if run.has("patch_pictures") else drawn


def _of_patches(run: Subject) -> Plan:
    second = [layer for layer in run.layers[1:2] if run.is_rectified(layer)]
    wanted = [extreme_units(run.units, layer).assign(layer=layer) for layer in second]
    matched: dict[str, list[str]] = {similarity: [] for similarity in PAGED.values()}
    for layer in run.layers:
        for similarity, of_similarity in matched.items():
            pairs = best_and_worst(run.matchings, layer, run.net_a, run.net_b, similarity)
            if len(pairs):
                of_similarity.append(layer)
                wanted.append(paired_units(pairs, run.net_a, run.net_b).assign(layer=layer))
    patches, pictures = run.read("top_patches"), run.pictures(pd.concat(wanted))
    shown = set(pictures["layer"])

    def of_pairs(layers: list[str], similarity: str, side: int) -> Callable[[], Figure]:
        nets = run.net_a, run.net_b
        note = _of_filters(run) if side == 1 and run.first in layers else ""
        return partial(matched_units, run.matchings, patches, pictures, layers, *nets, similarity, side, note)

    drawn: Plan = {}
    for name, similarity in PAGED.items():
        pictured = [layer for layer in matched[similarity] if layer in shown]
        if similarity == "correlation" and pictured:
            drawn["figure-02-matched"] = of_pairs(pictured[:LAYERS_OF_FIGURE_2], similarity, 1)
        for start in range(0, len(pictured), LAYERS_OF_A_PAGE):
            page = pictured[start : start + LAYERS_OF_A_PAGE]
            drawn["-".join(dict.fromkeys([name, page[0], page[-1]]))] = of_pairs(page, similarity, 3)
    for layer in second:
        if layer in shown:
            drawn[f"figure-19-extremes-{layer}"] = partial(extreme_patches, patches, pictures, run.units, layer)
    return drawn


def _of_filters(run: Subject) -> str:
    """Why what drives units of the first layer may look like noise."""
    if not run.all_have_filters:
        return ""
    return (
        f"What drives a unit of {run.first} is its filter. {smoothness_note({n: run.filters[n] for n in run.nets[:2]})}"
    )
