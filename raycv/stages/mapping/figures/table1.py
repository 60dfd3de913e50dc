"""Table 1 of the paper, its curves of loss against sparsity, and what the optimiser has to do with it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from raycv.drawing.short_names import LONGEST
from raycv.drawing.style import NETS, QUIET, SIGNAL, TICKS, counted, ends, label, open_frame, page
from raycv.drawing.undrawable import Undrawable
from raycv.paper import SPARSE_DECAY

SOLVERS = {"exact": "LASSO optimum", "sgd": "paper's SGD"}
COLOURS = {"exact": NETS[0], "sgd": NETS[1]}
NEAR = 0.02  # a loss so little above the least counts as equal to it
HIGHEST = 0.58  # top of a scale of losses: a little above 0.5, which predicts nothing
_LINES = (("exact", "exact", "loss"), ("exact, held out", "exact", "heldout_loss"), ("sgd", "sgd", "loss"))
NULLS = {
    "rotated_loss": ("units rotated, fitted", SIGNAL),
    "prerelu_loss": ("mixed before the non-linearity, fitted", NETS[3]),
}
_VALUES = ["loss", "heldout_loss", "heldout_loss_low", "heldout_loss_high", "units_used", *NULLS]
_COLUMNS = 3


def decay_name(decay: float) -> str:
    """0, 10^-2.6, or the number where it is not a power of ten to one decimal."""
    if decay == 0:
        return "0"
    exponent = math.log10(decay)
    return f"10^{exponent:.2g}" if math.isclose(exponent, round(exponent, 1), abs_tol=1e-9) else f"{decay:.2g}"


def sparse_decay(mappings: pd.DataFrame) -> float:
    """The decay of the table mappings nearest to the paper's 10^-2.6, by ratio; those found by a search left out."""
    decays = _given(mappings)["decay"].unique().tolist()
    return float(min(decays, key=lambda decay: abs(math.log(decay / SPARSE_DECAY)) if decay else math.inf))


def losses(mappings: pd.DataFrame) -> pd.DataFrame:
    """One row per layer, solver and decay: the means over all ordered pairs of networks.

    Columns loss, heldout_loss with the mean of its intervals (the pairs share the images, so it does not shrink with
    their number), units_used, rotated_loss and prerelu_loss. Layers stand in the order of their first row, decays rise.
    Decays found by a search are left out. ``mappings`` is the table of that name; raises Undrawable where it is empty.
    """
    means = _given(mappings).groupby(["layer", "solver", "decay"], sort=False)[_VALUES].mean().reset_index()
    place = means["layer"].map({layer: place for place, layer in enumerate(means["layer"].unique())})
    return means.assign(place=place).sort_values(["place", "solver", "decay"], ignore_index=True).drop(columns="place")


def table_1(mappings: pd.DataFrame) -> Figure:
    """Loss and, in brackets, source units used per target unit: layers x decays, solver by solver (paper, Table 1).

    Both solvers are scored on the images they were fitted on, the same for both; a second line of a layer gives the
    optimum's loss on images held out, where there are any. Bold: at most ``NEAR`` above the least of its line.
    """
    means = losses(mappings)
    decays = sorted(means["decay"].unique().tolist())
    texts: list[list[str]] = []
    bold: list[list[bool]] = []
    for layer in _layers(means):
        heading = layer
        for name, solver, column in _LINES:
            of_line = _curve(means, layer, solver).reindex(decays)
            cells = of_line[column].tolist()
            if not np.isfinite(cells).any():
                continue
            units = of_line["units_used"].tolist() if column == "loss" else [math.nan] * len(decays)
            texts.append([heading, name, *map(_cell, cells, units)])
            bold.append([False, False, *(value <= np.nanmin(cells) + NEAR for value in cells)])
            heading = ""
    title = "Sparse prediction loss and, in brackets, units used"
    figure = page(1.4 + 0.17 * (len(texts) + 1), title, _caption(means, mappings))
    head = ["", "", f"decay {_typeset(decays[0])}", *map(_typeset, decays[1:])]
    _draw_table(figure.subplots(), [head, *texts], [[False] * len(head), *bold])
    return figure


def loss_curves(mappings: pd.DataFrame) -> Figure:
    """Held-out and fitted loss against source units used per target unit, one panel per layer, solver by solver.

    A point is a decay, the mean over all ordered pairs of networks; the band is the 95% interval of the optimum's
    held-out loss over folds of the images. Beside it stands the loss of as many mixtures of the source units. Losses
    far above 0.5 are off the scale; the panel then says how high.
    """
    means = losses(mappings)
    layers = _layers(means)
    columns = min(_COLUMNS, len(layers))
    rows = -(-len(layers) // columns)
    title = "Loss of mapping layers against the units they use"
    sparse = sparse_decay(mappings)
    figure = page(1.3 + 1.75 * rows, title, _caption_of_curves(means, sparse))
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for place, (axes, layer) in enumerate(zip(panels, layers, strict=False)):
        for solver in _solvers(means):
            _draw_curve(axes, _curve(means, layer, solver), solver, sparse)
        highest = float(means.loc[means["layer"] == layer, "heldout_loss"].max())
        if highest > HIGHEST:
            text = f"held out: up to {highest:.2g},\noff the scale"
            axes.text(0.97, 0.05, text, transform=axes.transAxes, fontsize=TICKS, color=QUIET, ha="right", va="bottom")
        axes.axhline(0.5, color=QUIET, linewidth=0.6, linestyle=":", zorder=0)
        axes.set_xscale("symlog", linthresh=1, linscale=0.5)
        axes.set_xlim(left=-0.1)
        bottom = place + columns >= len(layers)
        label(axes, layer, "source units per target unit" if bottom else "", "" if place % columns else "loss")
        axes.xaxis.set_major_formatter("{x:g}")
        open_frame(axes)
    panels[0].set_ylim(0, HIGHEST)
    for axes in panels[len(layers) :]:
        axes.set_axis_off()
    free = panels[len(layers)] if len(layers) < len(panels) else panels[0]
    free.legend(*panels[0].get_legend_handles_labels(), fontsize=TICKS, frameon=False, loc="best")
    return figure


def optimiser_shares(mappings: pd.DataFrame) -> pd.DataFrame:
    """How much of the loss of the paper's training the training itself caused: one row per layer and decay.

    ``optimum``: the least loss there is; ``optimiser``: what the paper's training adds to it; ``trained``: their sum,
    the loss after that training; ``share`` = optimiser / trained. These on the images of the fit, the same for both.
    ``heldout``, ``heldout_low``, ``heldout_high``: the optimum's loss on other images, with its interval. The decays
    are the smallest (0, as a rule) and the one nearest to 10^-2.6; at a decay above 0 the optimum is that of the
    penalised objective, so ``optimiser`` may be a little below 0. Means over pairs of networks. Raises Undrawable where
    the run has not both solvers.
    """
    means = losses(mappings)
    if set(means["solver"]) != set(SOLVERS):
        raise Undrawable(
            f"The table mappings has the solver {', '.join(means['solver'].unique())} only; the comparison "
            f"needs {' and '.join(SOLVERS)}; `raycv sweep mapping --solvers {','.join(SOLVERS)}` adds the other."
        )
    means = means[means["decay"].isin([means["decay"].min(), sparse_decay(mappings)])]
    exact, sgd = (means[means["solver"] == solver] for solver in SOLVERS)
    both = exact.merge(sgd[["layer", "decay", "loss"]], on=["layer", "decay"], suffixes=("", "_sgd"))
    return pd.DataFrame(
        {
            "layer": both["layer"],
            "decay": both["decay"],
            "optimum": both["loss"],
            "optimiser": both["loss_sgd"] - both["loss"],
            "trained": both["loss_sgd"],
            "share": 1 - both["loss"] / both["loss_sgd"],
            "heldout": both["heldout_loss"],
            "heldout_low": both["heldout_loss_low"],
            "heldout_high": both["heldout_loss_high"],
        }
    )


def optimiser_part(mappings: pd.DataFrame) -> Figure:
    """What the optimiser caused: per layer the least loss there is and, on top, what the paper's training adds.

    One panel for the dense mapping layer, one for the sparse (`optimiser_shares`); dots are single pairs of networks,
    diamonds the optimum's loss on images held out.
    """
    shares, rows = optimiser_shares(mappings), _given(mappings)
    layers, decays = _layers(shares), shares["decay"].unique().tolist()
    figure = page(3.9, "What the optimiser caused: the loss of mapping layers taken apart", _caption_of_shares(shares))
    panels = figure.subplots(1, len(decays), squeeze=False, sharey=True).ravel()
    for axes, decay in zip(panels, decays, strict=True):
        _draw_parts(axes, shares[shares["decay"] == decay])
        for solver, offset in (("exact", -0.2), ("sgd", 0.2)):
            chosen = rows[(rows["solver"] == solver) & (rows["decay"] == decay)]
            x = [layers.index(layer) + offset for layer in chosen["layer"]]
            axes.plot(x, chosen["loss"], ".", color="black", markersize=2.5, markeredgewidth=0, alpha=0.6)
        axes.axhline(0.5, color=QUIET, linewidth=0.6, linestyle=":", zorder=0)
        axes.set_xticks(range(len(layers)), layers)
        label(axes, f"decay {_typeset(decay)}", "", "" if axes is not panels[0] else "loss")
        if sum(map(len, layers)) > 45:
            axes.tick_params(axis="x", labelrotation=90)
        open_frame(axes)
    panels[0].set_ylim(0, 0.68)
    panels[0].legend(fontsize=TICKS, frameon=False, loc="upper left")
    return figure


def _given(mappings: pd.DataFrame) -> pd.DataFrame:
    """The rows whose decay was given, not searched for: the same decays for every layer and pair."""
    rows = mappings[mappings["sought"] == ""]
    if rows.empty:
        raise Undrawable("The table mappings has no rows.")
    return rows.assign(layer=rows["layer"].astype(str))


def _solvers(means: pd.DataFrame) -> list[str]:
    return [solver for solver in SOLVERS if (means["solver"] == solver).any()]


def _typeset(decay: float) -> str:
    base, power, exponent = decay_name(decay).partition("^")
    return f"${base}^{{{exponent}}}$" if power else base


def _layers(rows: pd.DataFrame) -> list[str]:
    return [str(layer) for layer in rows["layer"].unique()]


def _curve(means: pd.DataFrame, layer: str, solver: str) -> pd.DataFrame:
    """The rows of one layer and solver, indexed by rising decay."""
    return means[(means["layer"] == layer) & (means["solver"] == solver)].set_index("decay")


def _cell(loss: float, units: float) -> str:
    if not math.isfinite(loss):
        return ""
    if not math.isfinite(units):
        return f"{loss:z.3f}"
    return f"{loss:z.3f} ({units:.1f})" if units < 100 else f"{loss:z.3f} ({units:.0f})"


def _draw_table(axes: Axes, texts: list[list[str]], bold: list[list[bool]]) -> None:
    """Rows of texts, the first the head; the first two columns name layer and line. A rule stands above each layer."""
    axes.set_axis_off()
    longest = min(max(len(line[0]) for line in texts), LONGEST)
    widths = np.array([max(0.6, 0.11 * longest), 1.05, *[1.0] * (len(texts[0]) - 2)])
    whole = Bbox.from_bounds(0, 0, 1, 1)
    table = axes.table(texts, colWidths=list(widths / widths.sum()), bbox=whole, cellLoc="right")
    table.auto_set_font_size(False)
    for row, line in enumerate(texts):
        for column in range(len(line)):
            cell = table[row, column]
            cell.PAD = 0.04
            cell.set_fontsize(TICKS)
            cell.set_linewidth(0.5)
            cell.visible_edges = ("T" if line[0] else "") + ("B" if row == len(texts) - 1 else "")
            text = cell.get_text()
            text.set_horizontalalignment("left" if column < 2 else "right")
            text.set_fontweight("bold" if bold[row][column] else "normal")
            text.set_color(QUIET if "held out" in line[1] else "black")


def _caption(means: pd.DataFrame, mappings: pd.DataFrame) -> str:
    pairs = counted(len(mappings[["source_net", "target_net"]].drop_duplicates()), "ordered pair")
    text = (
        f"Means over {pairs} of networks; 0.5 predicts nothing. {_named(means)}. Bold: at most {NEAR} above the "
        "least of its line."
    )
    exact = means[means["solver"] == "exact"]
    for name, column in (("Least loss", "loss"), ("Least loss on images held out", "heldout_loss")):
        rows = exact.dropna(subset=column)
        if len(rows):
            least = {layer: float(rows.loc[rows["layer"] == layer, column].min()) for layer in _layers(rows)}
            text += f" {name}: {ends(least, 'z.3f')}."
    return text


def _caption_of_curves(means: pd.DataFrame, sparse: float) -> str:
    rows = means[(means["solver"] == "exact") & (means["decay"] == sparse)]
    used = dict(zip(_layers(rows), rows["units_used"].tolist(), strict=True))
    seen = f" At decay {decay_name(sparse)} (circles) the optimum uses {ends(used, '.1f')} units." if used else ""
    trained = "; SGD is held out on the last fold only" if "sgd" in _solvers(means) else ""
    return (
        f"Points: decays, growing from right to left.{seen} Band: 95% interval of the optimum's held-out "
        f"loss{trained}. Solid: on images held out; dashed: on those of the fit. Rotated, mixed: as many mixtures "
        "of the source units in their place, made after the ReLU or before it. Both nulls are of the fit: compare them "
        f"with the dashed line of the optimum. {_below_nulls(means, sparse)} Dotted: 0.5, nothing predicted. "
        "Horizontal scale logarithmic from 1 up."
    )


def below_nulls(means: pd.DataFrame, decay: float) -> dict[str, list[str]]:
    """By null the layers in which the optimum of one decay fits no better; a null that is not there is left out."""
    rows = means[(means["solver"] == "exact") & (means["decay"] == decay)]
    return {
        column: rows.loc[rows["loss"] >= rows[column], "layer"].astype(str).tolist()
        for column in NULLS
        if rows[column].notna().any()
    }


def _below_nulls(means: pd.DataFrame, sparse: float) -> str:
    found = below_nulls(means, sparse)
    if not found:
        return ""
    parts = [
        f"than {NULLS[column][0].split(',')[0]} in every layer{' but ' + ', '.join(layers) if layers else ''}"
        for column, layers in found.items()
    ]
    return f"At that decay the optimum fits better {'; '.join(parts)}."


def _named(means: pd.DataFrame) -> str:
    return "; ".join(f"{solver}: the {SOLVERS[solver]}" for solver in _solvers(means))


def _draw_curve(axes: Axes, of_solver: pd.DataFrame, solver: str, sparse: float) -> None:
    """``of_solver``: means of one layer and solver by rising decay; the point of decay ``sparse`` gets a circle."""
    colour, name = COLOURS[solver], SOLVERS[solver]
    units, held = of_solver["units_used"].to_numpy(), of_solver["heldout_loss"].to_numpy()
    axes.plot(units, held, ".-", color=colour, markersize=4, linewidth=1.1, label=f"{name}, held out")
    axes.plot(units, of_solver["loss"], "--", color=colour, linewidth=0.9, label=f"{name}, fitted")
    if solver == "exact":
        low, high = of_solver["heldout_loss_low"].to_numpy(), of_solver["heldout_loss_high"].to_numpy()
        axes.fill_between(units, low, high, color=colour, alpha=0.2, linewidth=0)
        for column, (null, shade) in NULLS.items():
            if of_solver[column].notna().any():
                axes.plot(units, of_solver[column], "--", color=shade, linewidth=0.9, label=null)
    at = of_solver.index.to_numpy() == sparse
    axes.plot(units[at], held[at], "o", color=colour, markersize=6, markerfacecolor="none", markeredgewidth=0.9)


def _draw_parts(axes: Axes, parts: pd.DataFrame) -> None:
    """The bars of one decay, ``parts``: rows of `optimiser_shares`, one per layer."""
    place = np.arange(len(parts))
    optimum, trained = parts["optimum"].to_numpy(), parts["trained"].to_numpy()
    axes.bar(place, optimum, 0.7, color="#9cc9e6", label="least loss there is (exact)")
    axes.bar(
        place,
        trained - optimum,
        0.7,
        bottom=optimum,
        facecolor=COLOURS["sgd"],
        edgecolor="#7a4f00",
        linewidth=0.5,
        hatch="//////",
        label="added by the paper's SGD",
    )
    held, low, high = (parts[column].to_numpy() for column in ("heldout", "heldout_low", "heldout_high"))
    shown = held <= HIGHEST
    axes.vlines(place[shown], low[shown], high[shown], color=COLOURS["exact"], linewidth=1.0)
    axes.plot(place[shown], held[shown], "D", color=COLOURS["exact"], markersize=3.5, label="exact, on images held out")
    tops = np.fmax(np.fmax(optimum, trained), np.where(shown, np.fmax(held, high), 0))
    for x, (top, share) in enumerate(zip(tops, parts["share"], strict=True)):
        axes.text(x, top + 0.01, f"{share:.0%}".replace("-0%", "0%"), ha="center", va="bottom", fontsize=TICKS)
    for x in np.flatnonzero(held > HIGHEST).tolist():
        text = f"{held[x]:.2g} ↑"
        axes.text(x, HIGHEST, text, ha="center", va="bottom", fontsize=TICKS, color=COLOURS["exact"])


def _caption_of_shares(shares: pd.DataFrame) -> str:
    parts = []
    for decay in shares["decay"].unique().tolist():
        rows = shares[shares["decay"] == decay].dropna(subset="share")
        of_layers = dict(zip(_layers(rows), rows["share"].tolist(), strict=True))
        parts.append(f"at decay {decay_name(decay)} {ends(of_layers, '.0%')}")
    return (
        f"Above a bar: the optimiser's share of the loss, {'; '.join(parts)}. Bars: means over pairs of networks "
        "(dots: each of them), on the images of the fit. Bars of a diamond: 95% interval. Dotted: nothing predicted."
    )
