"""How many units recur in every network, layer by layer."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from raycv.drawing.style import COLOURS, NETS, SIGNAL, TICKS, ends, label, open_frame, page
from raycv.drawing.undrawable import Undrawable

_SHARES = {
    "partner_share": ("partner in another network", NETS[0]),
    "recurring_share": ("partners in all networks", COLOURS["bipartite"]),
    "group_share": ("in a group", NETS[3]),
}


def recurring_units(shares: pd.DataFrame) -> Figure:
    """The shares of units with a partner in another network, in all networks, and in a group, with their intervals.

    ``shares`` is the table recurrence_by_layer. Raises Undrawable where it has no shares.
    """
    rows = shares[shares["quantity"].isin(list(_SHARES)) & shares["value"].notna()]
    if rows.empty:
        raise Undrawable("The table recurrence_by_layer has no shares of units.")
    layers = [str(layer) for layer in dict.fromkeys(rows["layer"])]
    recurring = rows[rows["quantity"] == "recurring_share"].set_index("layer")["value"]
    caption = (
        f"Units with partners in all other networks: {ends({str(k): v for k, v in recurring.items()}, '.0%')}. "
        "A partner is above chance at a false discovery rate of 5%; a group is one unit of "
        "every network, all mutual best. Bars: 95% interval over networks, cut off at 0 and 1."
    )
    figure = page(3.7, "Units that recur in other networks, layer by layer", caption)
    axes = figure.subplots()
    for number, (quantity, (name, colour)) in enumerate(_SHARES.items()):
        of_quantity = rows[rows["quantity"] == quantity].set_index("layer").reindex(layers)
        place = np.arange(len(layers)) + 0.2 * (number - 1)
        low, high = (of_quantity[end].clip(0, 1) for end in ("low", "high"))
        axes.vlines(place, low, high, color=colour, linewidth=1.4)
        axes.plot(place, of_quantity["value"], "o", color=colour, markersize=4, label=name)
        if quantity == "partner_share":
            chance = of_quantity["untrained"]
            axes.plot(place, chance, "_", color=SIGNAL, markersize=8, markeredgewidth=1.8, label="untrained networks")
    axes.set_xticks(range(len(layers)), layers)
    axes.set_ylim(-0.03, 1.03)
    label(axes, "", "layer", "fraction of units")
    if sum(map(len, layers)) > 90:
        axes.tick_params(axis="x", labelrotation=90)
    axes.grid(axis="y", linewidth=0.4, color="#dddddd")
    axes.set_axisbelow(True)
    open_frame(axes)
    axes.legend(fontsize=TICKS, frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1, 1))
    return figure
