"""The best and the worst matched units: which are shown, in which order, each above its partner."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raycv.drawing.undrawable import Undrawable
from raycv.stages.patches.figures.matched_units import best_and_worst, matched_units, paired_units
from tests.support.matchings import matching_rows
from tests.support.pictures import patch_tables, shown


@pytest.fixture
def similarity() -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.2, 1, (30, 25)) ** 3


def everything(layers: tuple[str, ...] = ("conv1",), units: int = 30) -> tuple[pd.DataFrame, pd.DataFrame]:
    every = [(net, unit) for net in ("net1", "net2") for unit in range(units)]
    patches, pictures = zip(*(patch_tables(every, layer) for layer in layers), strict=True)
    return pd.concat(patches), pd.concat(pictures)


def test_the_eight_best_stand_left_of_the_eight_worst(similarity: np.ndarray) -> None:
    rows = matching_rows(similarity).sample(frac=1, random_state=1)
    pairs = best_and_worst(rows, "conv1", "net1", "net2", "correlation")
    order = np.argsort(-similarity.max(1))
    assert pairs["unit_a"].tolist() == [*order[:8], *order[-8:]]
    assert pairs["unit_b"].tolist() == similarity.argmax(1)[[*order[:8], *order[-8:]]].tolist()
    assert pairs["is_best"].tolist() == [True] * 8 + [False] * 8
    np.testing.assert_array_equal(pairs["value"], np.sort(similarity.max(1))[::-1][[*range(8), *range(-8, 0)]])


def test_no_pair_is_both_best_and_worst() -> None:
    for units in (1, 2, 5, 15, 16, 17):
        similarity = np.random.default_rng(units).uniform(0, 1, (units, units))
        pairs = best_and_worst(matching_rows(similarity), "conv1", "net1", "net2", "correlation")
        assert len(pairs) == min(units, 16)
        assert pairs["unit_a"].is_unique
        assert pairs["value"].is_monotonic_decreasing
        assert 0 <= 2 * int(pairs["is_best"].sum()) - len(pairs) <= 1


def test_dead_units_are_left_out(similarity: np.ndarray) -> None:
    similarity[[3, 5]] = np.nan
    similarity[:, 2] = np.nan
    pairs = best_and_worst(matching_rows(similarity), "conv1", "net1", "net2", "correlation")
    assert len(pairs) == 16
    assert not {3, 5} & set(pairs["unit_a"])
    assert 2 not in set(pairs["unit_b"])
    assert np.isfinite(pairs["value"]).all()


def test_each_unit_stands_above_its_partner(similarity: np.ndarray) -> None:
    rows = matching_rows(similarity)
    figure = matched_units(rows, *everything(), ["conv1"], "net1", "net2")
    pairs = best_and_worst(rows, "conv1", "net1", "net2", "correlation")
    found = shown(figure)
    upper, lower = found[:16], found[16:]
    assert [(net, unit) for _, _, net, unit in upper] == [(1, unit) for unit in pairs["unit_a"]]
    assert [(net, unit) for _, _, net, unit in lower] == [(2, unit) for unit in pairs["unit_b"]]
    assert [left for _, left, _, _ in upper] == [left for _, left, _, _ in lower]
    assert len({top for top, *_ in upper}) == len({top for top, *_ in lower}) == 1
    steps = np.diff([left for _, left, _, _ in upper])
    assert steps[7] > 1.3 * steps[0]  # the white space between best and worst
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert f"{similarity.max():.2f}\nunit {similarity.max(1).argmax()}" in texts


def test_layers_stand_one_beneath_the_other_and_the_caption_sums_them_up(similarity: np.ndarray) -> None:
    layers = ["conv1", "conv2"]
    rows = pd.concat([matching_rows(similarity, "conv1"), matching_rows(similarity[::-1] * 0.5, "conv2")])
    figure = matched_units(rows, *everything(("conv1", "conv2")), layers, "net1", "net2", side=1)
    headings = [t.get_text() for t in figure.axes[0].texts if "best" in t.get_text()]
    assert headings == ["conv1, best", "conv2, best"]
    assert [unit for *_, unit in shown(figure)[32:40]] == [29 - unit for *_, unit in shown(figure)[:8]]
    best, worst = similarity.max(), similarity.max(1).min()
    caption = figure.get_supxlabel().replace("\n", " ")
    assert (
        f"Best: {best / 2:.2f} (conv2) to {best:.2f} (conv1); worst: {worst / 2:.2f} (conv2) to {worst:.2f}" in caption
    )
    assert "the patch of highest activation" in caption


def test_by_mutual_information_only_its_rows_count(similarity: np.ndarray) -> None:
    other = similarity[::-1].copy()
    rows = pd.concat([matching_rows(similarity), matching_rows(other).assign(similarity="mutual_information")])
    figure = matched_units(rows, *everything(), ["conv1"], "net1", "net2", "mutual_information")
    order = np.argsort(-other.max(1))
    assert [unit for *_, unit in shown(figure)[:16]] == [*order[:8], *order[-8:]]
    assert "mutual information" in figure.get_suptitle()


def test_paired_units_names_every_unit_once(similarity: np.ndarray) -> None:
    pairs = best_and_worst(matching_rows(similarity), "conv1", "net1", "net2", "correlation")
    units = paired_units(pairs, "net1", "net2")
    assert set(units.itertuples(index=False, name=None)) == {
        *(("net1", unit) for unit in pairs["unit_a"]),
        *(("net2", unit) for unit in pairs["unit_b"]),
    }
    assert not units.duplicated().any()


def test_a_layer_without_pairs_is_refused(similarity: np.ndarray) -> None:
    dead = matching_rows(np.full((4, 4), np.nan))
    with pytest.raises(Undrawable, match="No unit of net1 has a partner in net2 by correlation at layer conv1"):
        matched_units(dead, *everything(), ["conv1"], "net1", "net2")
