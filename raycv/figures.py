"""Figures and averages of a run's tables, as notebooks show them: `raycv figures` draws the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["layer_averages", "loss_curves", "losses", "optimiser_shares", "similarity_curves", "sparse_decay"]


def layer_averages(alignment: pd.DataFrame) -> Figure:
    """Draw what matched units have beyond chance, layer by layer, and the averages themselves.

    Parameters
    ----------
    alignment : DataFrame
        The table alignment of a run, or some of its layers.

    Returns
    -------
    matplotlib.figure.Figure
        Large marks are means over all ordered pairs of networks, faint ones single pairs.

    Raises
    ------
    ValueError
        Where the table has no averages of correlations.

    Examples
    --------
    >>> import raycv, raycv.figures
    >>> figure = raycv.figures.layer_averages(raycv.open_run("runs/first").table("alignment"))
    >>> len(figure.axes)
    2
    """
    from raycv.stages.align.figures.layers import layer_averages as drawn

    return drawn(_with_text(alignment))


def loss_curves(mappings: pd.DataFrame) -> Figure:
    """Draw the loss of mapping layers against the source units that they use, one panel per layer.

    Parameters
    ----------
    mappings : DataFrame
        The table mappings of a run, or some of its layers.

    Returns
    -------
    matplotlib.figure.Figure
        A point is a decay, the mean over all ordered pairs of networks.

    Raises
    ------
    ValueError
        Where the table is empty.

    Examples
    --------
    >>> import raycv, raycv.figures
    >>> figure = raycv.figures.loss_curves(raycv.open_run("runs/first").table("mappings", layer="conv1"))
    >>> figure.axes[0].get_title(loc="left")
    'conv1'
    """
    from raycv.stages.mapping.figures.table1 import loss_curves as drawn

    return drawn(_with_text(mappings))


def losses(mappings: pd.DataFrame) -> pd.DataFrame:
    """Average the losses of mapping layers over all ordered pairs of networks.

    Parameters
    ----------
    mappings : DataFrame
        The table mappings of a run.

    Returns
    -------
    DataFrame
        One row per layer, solver and decay: loss, heldout_loss with the mean of its intervals, units_used,
        rotated_loss, prerelu_loss. Decays that a search has found are left out.

    Raises
    ------
    ValueError
        Where the table is empty.

    Examples
    --------
    >>> import raycv, raycv.figures
    >>> means = raycv.figures.losses(raycv.open_run("runs/first").table("mappings"))
    >>> means[["layer", "solver"]].drop_duplicates().values.tolist()[:2]
    [['conv1', 'exact'], ['conv1', 'sgd']]
    """
    from raycv.stages.mapping.figures.table1 import losses as averaged

    return averaged(_with_text(mappings))


def optimiser_shares(mappings: pd.DataFrame) -> pd.DataFrame:
    """Tell how much of the loss of the paper's training of mapping layers the training itself caused.

    Parameters
    ----------
    mappings : DataFrame
        The table mappings of a run that was swept with both solvers.

    Returns
    -------
    DataFrame
        One row per layer and decay, the smallest and the one nearest to 10^-2.6: optimum, the least loss there is;
        optimiser, what the training adds to it; trained, their sum; share = optimiser / trained; heldout, the optimum's
        loss on other images, with its interval. Means over pairs of networks.

    Raises
    ------
    ValueError
        Where the table has one solver alone.

    Examples
    --------
    >>> import raycv, raycv.figures
    >>> shares = raycv.figures.optimiser_shares(raycv.open_run("runs/first").table("mappings"))
    >>> bool(((shares["optimum"] + shares["optimiser"]).round(6) == shares["trained"].round(6)).all())
    True
    """
    from raycv.stages.mapping.figures.table1 import optimiser_shares as told

    return told(_with_text(mappings))


def similarity_curves(clusters: pd.DataFrame, layers: Sequence[str], net_a: str, net_b: str) -> Figure:
    """Draw the similarity of every cluster's units, between two networks and within them, one panel per layer.

    Parameters
    ----------
    clusters : DataFrame
        Rows of the table clusters of a run, of one clustering per layer.
    layers : sequence of str
        The panels.
    net_a, net_b : str
        The networks, for the title.

    Returns
    -------
    matplotlib.figure.Figure
        As the paper's Figure 16.

    Raises
    ------
    ValueError
        Where there are several clusterings of a layer, or none.

    Examples
    --------
    >>> import raycv, raycv.figures
    >>> rows = raycv.open_run("runs/first").table("clusters", layer="conv1")
    >>> rows = rows[rows["k"] == rows["k"].max()]
    >>> len(raycv.figures.similarity_curves(rows, ["conv1"], "net1", "net2").axes)
    1
    """
    from raycv.stages.clusters.figures.clusters import similarity_curves as drawn

    return drawn(_with_text(clusters), list(layers), net_a, net_b)


def sparse_decay(mappings: pd.DataFrame) -> float:
    """Find the decay of mapping layers that is nearest to the paper's 10^-2.6, by ratio.

    Parameters
    ----------
    mappings : DataFrame
        The table mappings of a run.

    Returns
    -------
    float
        One of its decays; those that a search has found are left out.

    Examples
    --------
    >>> import raycv, raycv.figures
    >>> round(raycv.figures.sparse_decay(raycv.open_run("runs/first").table("mappings")), 6)
    0.002512
    """
    from raycv.stages.mapping.figures.table1 import sparse_decay as nearest

    return nearest(_with_text(mappings))


def _with_text(rows: pd.DataFrame) -> pd.DataFrame:
    """Layers as the stages have them: text, which groups by what there is."""
    return rows.astype({"layer": str})
