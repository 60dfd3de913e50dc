"""How convergence grows with the width or with the number of training images."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from raycv.drawing.style import QUIET, TICKS, ends, label, open_frame, page
from raycv.drawing.undrawable import Undrawable

_PANELS = {
    "excess": "(a) excess over units mixed after the ReLU",
    "prerelu_excess": "(b) excess over units mixed before it",
    "partner_share": "(c) units with a partner in another network",
    "recurring_share": "(d) units with partners in all other networks",
}
_AXES = {"width": "units in conv1", "images": "training images"}
_SPREAD = 0.012  # of a doubling, for each layer: the layers of one setting stand side by side


def growth(study: pd.DataFrame, against: str) -> Figure:
    """Four quantities against ``against``, width or images, one line per layer, with their intervals over networks.

    ``study`` is the table of that name. Where the other setting varies too, its largest value is shown. Raises
    Undrawable where it holds fewer than two values of ``against``.
    """
    other = "images" if against == "width" else "width"
    rows = study[study[other] == study[other].max()].sort_values(against)
    values = sorted(set(rows[against]))
    if len(values) < 2:
        raise Undrawable(f"The table study has fewer than two values of {against}.")
    layers = [str(layer) for layer in dict.fromkeys(rows["layer"])]
    title = f"Convergence against the {'width' if against == 'width' else 'number of training images'}, layer by layer"
    figure = page(6.4, title, _caption(rows, against, other))
    shades = dict(zip(layers, colormaps["viridis"](np.linspace(0, 0.92, len(layers))), strict=True))
    panels = figure.subplots(2, 2, sharex=True).ravel()
    for axes, (quantity, name) in zip(panels, _PANELS.items(), strict=True):
        for place, layer in enumerate(layers):
            aside = 2 ** (_SPREAD * len(layers) * (2 * place / max(len(layers) - 1, 1) - 1))
            _draw(axes, rows[rows["layer"] == layer], against, quantity, aside, shades[layer], layer)
        axes.axhline(0, color=QUIET, linewidth=0.6)
        axes.set_xscale("log", base=2)
        axes.set_xticks(values, [f"{value:,}" for value in values])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        share = quantity.endswith("share")
        label(axes, name, "", "fraction of units" if share else "excess correlation")
        if share:
            axes.set_ylim(-0.03, 1.03)
        open_frame(axes)
    for axes in panels[2:]:
        axes.set_xlabel(_AXES[against])
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=TICKS, frameon=False, loc="outside right upper")
    return figure


def _draw(
    axes: Axes, rows: pd.DataFrame, against: str, quantity: str, aside: float, shade: np.ndarray, layer: str
) -> None:
    places = rows[against].to_numpy() * aside
    axes.vlines(places, rows[f"{quantity}_low"], rows[f"{quantity}_high"], color=shade, linewidth=1, alpha=0.6)
    if f"{quantity}_null" in rows:
        axes.plot(places, rows[f"{quantity}_null"].to_numpy(), ":", color=shade, linewidth=1)
    axes.plot(places, rows[quantity].to_numpy(), "o-", color=shade, markersize=3, linewidth=1.2, label=layer)


def _caption(rows: pd.DataFrame, against: str, other: str) -> str:
    least, most = (
        rows[rows[against] == end].set_index("layer")["excess"] for end in (rows[against].min(), rows[against].max())
    )
    gained = {str(layer): value for layer, value in (most - least).dropna().items()}
    untrained = rows["untrained_excess"].dropna()
    texts = [
        f"(a) From {rows[against].min():,} to {rows[against].max():,} {_AXES[against]}: {ends(gained, '+z.2f')}."
        if gained
        else "",
        f"Excess between untrained networks: {untrained.min():+z.2f} to {untrained.max():+z.2f}."
        if len(untrained)
        else "",
        f"All with {rows[other].iloc[0]:,} {_AXES[other]}. Bars: 95% interval over networks. Dotted: simulated "
        "networks that share as much at every width.",
    ]
    return " ".join(text for text in texts if text)
