"""Joint distributions: which pairs are shown, and that every sample is counted where it lies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raycv.drawing.undrawable import Undrawable
from raycv.stages.align.figures.joint import joint_activations, shown_pairs

SAMPLES = 300


def joint(pairs: int = 12, layers: tuple[str, ...] = ("conv1", "conv2")) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    frames = []
    for layer in layers:
        for unit, correlation in enumerate(generator.permutation(np.linspace(0.1, 0.9, pairs))):
            a, b = generator.standard_normal((2, SAMPLES))
            frames.append(
                pd.DataFrame(
                    {
                        "layer": layer,
                        "net_a": "net1",
                        "net_b": "net2",
                        "unit_a": unit,
                        "unit_b": 20 - unit,
                        "correlation": correlation,
                        "sample": np.arange(SAMPLES),
                        "value_a": np.maximum(a, 0),
                        "value_b": 3 * np.maximum(correlation * a + b, 0),
                    }
                )
            )
    return pd.concat(frames)


def matchings(table: pd.DataFrame, more: int = 9) -> pd.DataFrame:
    """The semi-matching of all units: those of ``table``, and ``more`` whose activations are not in it."""
    shown = table[["layer", "net_a", "net_b", "unit_a", "unit_b", "correlation"]].drop_duplicates()
    rng = np.random.default_rng(3)
    others = [
        shown.head(1).assign(layer=name, unit_a=100 + n, correlation=rng.uniform())
        for name in shown["layer"].unique()
        for n in range(more)
    ]
    rows = pd.concat([shown, *others]).rename(columns={"correlation": "value"})
    return rows.assign(similarity="correlation", method="semi")


def test_four_pairs_of_highest_and_four_of_lowest_correlation() -> None:
    table = joint()
    pairs = shown_pairs(table)
    for layer, of_layer in pairs.groupby("layer"):
        every = table[table["layer"] == layer].groupby("unit_a")["correlation"].first().sort_values(ascending=False)
        assert of_layer["unit_a"].tolist() == [*every.index[:4], *every.index[-4:]]
        assert (of_layer["unit_b"] == 20 - of_layer["unit_a"]).all()
        assert of_layer["is_high"].tolist() == [True] * 4 + [False] * 4


def test_few_pairs_are_shown_once() -> None:
    pairs = shown_pairs(joint(5))
    assert pairs.groupby("layer")["is_high"].sum().tolist() == [3, 3]
    assert len(pairs) == 10


def test_each_panel_counts_the_samples_of_its_pair() -> None:
    table = joint()
    figure = joint_activations(table, matchings(table))
    pairs = shown_pairs(table)
    assert len(figure.axes) == len(pairs)
    for axes, (_, pair) in zip(figure.axes, pairs.iterrows(), strict=True):
        heading = f"{pair['layer']}: {pair['unit_a']} and {pair['unit_b']}, {pair['correlation']:.2f}"
        assert axes.get_title(loc="left") == heading
        of_pair = table[(table["layer"] == pair["layer"]) & (table["unit_a"] == pair["unit_a"])]
        (bins,) = axes.collections
        counts = np.asarray(bins.get_array(), dtype=float)
        assert counts.sum() == SAMPLES
        centres = np.asarray(bins.get_offsets(), dtype=float)
        for axis, column in enumerate(("value_a", "value_b")):
            spread = of_pair[column].max() / 50
            assert np.average(centres[:, axis], weights=counts) == pytest.approx(of_pair[column].mean(), abs=spread)
    assert f"{SAMPLES} samples" in figure.get_supxlabel().replace("\n", " ")


def test_a_pair_that_never_fires_is_drawn() -> None:
    table = joint(2, ("conv1",))
    table.loc[table["unit_a"] == 0, ["value_a", "value_b"]] = 0.0
    figure = joint_activations(table, matchings(table))
    figure.draw_without_rendering()
    assert sum(axes.axison for axes in figure.axes) == 2


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(Undrawable, match="joint_activations is empty"):
        joint_activations(joint().iloc[:0], matchings(joint()))


def test_the_caption_says_which_of_all_pairs_are_shown() -> None:
    """Their ranks are those among all units with a partner, which fall in the order of the panels."""
    table = joint()
    every = matchings(table)
    caption = joint_activations(table, every).get_supxlabel().replace("\n", " ")
    for layer, pairs in shown_pairs(table).groupby("layer"):
        of_layer = every.loc[every["layer"] == layer, "value"].to_numpy()
        places = [int((of_layer > value).sum()) + 1 for value in pairs["correlation"]]
        assert places == sorted(places)
        assert f"{layer} {', '.join(map(str, places))} of {len(of_layer)}" in caption
