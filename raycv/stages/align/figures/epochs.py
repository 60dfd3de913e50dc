"""How the alignment of the networks comes about in training."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raycv.drawing.style import QUIET, TICKS, ends, label, open_frame, page, shade
from raycv.drawing.undrawable import Undrawable

_PANELS = (
    ("mean", "(a) correlation", "correlation"),
    ("excess", "(b) excess, mixed after non-linearity", "excess correlation"),
    ("prerelu_excess", "(c) excess, mixed before it", ""),
    ("settled", "(d) partner settled", "fraction of units"),
    ("effective_dimension", "(e) effective dimensions", "dimensions"),
)


def through_training(epochs: pd.DataFrame, training: pd.DataFrame) -> Figure:
    """What matched units have above chance after each epoch that was kept, how settled they are, and the accuracy.

    One line per layer, the mean over ordered pairs of networks. ``epochs`` and ``training`` are the tables of those
    names. Raises Undrawable where no epoch was kept.
    """
    if epochs["epoch"].nunique() < 2:
        raise Undrawable("Training kept no earlier epochs.")
    layers = [str(layer) for layer in dict.fromkeys(epochs["layer"])]
    means = epochs.groupby(["layer", "epoch"], sort=False).mean(numeric_only=True)
    kept = sorted(epochs["epoch"].unique())
    figure = page(5.6, "Alignment through training", _caption(means, layers, kept, training))
    *panels, last = figure.subplots(2, 3, sharex=True).ravel()
    for axes, (column, title, unit) in zip(panels, _PANELS, strict=True):
        for number, layer in enumerate(layers):
            curve = means.loc[layer][column]
            colour = shade(number, len(layers))
            axes.plot(curve.index, curve, marker="o", markersize=3, linewidth=1.2, color=colour, label=layer)
        label(axes, title, "epoch" if column in ("settled", "effective_dimension") else "", unit)
        _scale(axes, kept)
    for axes in panels[1:3]:
        axes.axhline(0, color=QUIET, linewidth=0.6)
    for _, of_net in training.groupby("net"):
        last.plot(of_net["epoch"], 100 * of_net["validation_top1"], linewidth=0.9, color=QUIET)
    label(last, "(f) validation top-1", "epoch", "%")
    _scale(last, kept)
    for axes in (panels[0], panels[3], panels[4], last):
        axes.set_ylim(bottom=0)
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=TICKS, frameon=False, loc="outside right center")
    return figure


def _scale(axes: Axes, kept: list[int]) -> None:
    """Early epochs far enough apart to be told apart; only kept epochs have ticks."""
    axes.set_xscale("symlog", linthresh=1, linscale=0.5)
    axes.set_xticks(kept, [str(epoch) for epoch in kept])
    axes.minorticks_off()
    axes.grid(axis="y", linewidth=0.4, color="#dddddd")
    axes.set_axisbelow(True)
    open_frame(axes)


def _caption(means: pd.DataFrame, layers: list[str], kept: list[int], training: pd.DataFrame) -> str:
    top1 = training.groupby("epoch")["validation_top1"].mean()
    accuracy = ", ".join(f"{top1[epoch]:.1%} after {epoch}" for epoch in kept if np.isfinite(top1.get(epoch, np.nan)))
    settled = means["settled"].unstack()[kept[-2]]
    before = {layer: float(settled[layer]) for layer in layers}
    return (
        f"Lines: means over ordered pairs of networks. Mean top-1 accuracy: {accuracy}. A partner is settled where it "
        f"is the best one from that epoch on; after epoch {kept[-2]} it is for {ends(before, '.0%')} of the units. "
        "Epoch 0: before training."
    )
