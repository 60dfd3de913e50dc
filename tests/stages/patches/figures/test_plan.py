"""The figures of units in a run: which are drawn, from how few rows of its tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raycv.drawing.filters import smoothness_note
from raycv.drawing.subject import Subject
from raycv.stages.patches.figures.matched_units import best_and_worst
from raycv.stages.patches.figures.plan import plan
from tests.support.matchings import matching_rows
from tests.support.pictures import patch_tables
from tests.support.subjects import subject_of

LAYERS = ["conv1", "conv2", "conv3", "conv4", "fc5"]
NETS = ("net1", "net2", "net3")
UNITS = 24


@pytest.fixture
def matchings() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    found = []
    for layer in LAYERS:
        similarity = generator.uniform(0, 1, (UNITS, UNITS))
        found += [
            matching_rows(similarity, layer),
            matching_rows(similarity**2, layer).assign(similarity="mutual_information"),
        ]
    return pd.concat(found)


@pytest.fixture
def units() -> pd.DataFrame:
    every = [(layer, net, unit) for layer in LAYERS for net in NETS for unit in range(UNITS)]
    return pd.DataFrame(every, columns=["layer", "net", "unit"]).assign(mean=lambda rows: 1.0 + rows["unit"])


def run(
    folder: Path, matchings: pd.DataFrame, units: pd.DataFrame, pictured: list[str], *, pictures: bool = True
) -> Subject:
    """A run of ``LAYERS`` with pictures of all units of the layers ``pictured``, clustered in conv2."""
    every = [(net, unit) for net in NETS for unit in range(UNITS)]
    of_layers = [patch_tables(every, layer, size=33) for layer in pictured]
    frames = {"top_patches": pd.concat(boxes for boxes, _ in of_layers)}
    if pictures:
        frames["patch_pictures"] = pd.concat(shown for _, shown in of_layers)
    return subject_of(folder, frames, layers=LAYERS, nets=NETS, units=units, matchings=matchings)


def test_figures_are_numbered_as_in_the_paper(tmp_path: Path, matchings: pd.DataFrame, units: pd.DataFrame) -> None:
    drawn = plan(run(tmp_path, matchings, units, LAYERS))
    assert set(drawn) == {
        "figure-02-matched",
        "figure-09-matched-conv1-conv4",
        "figure-09-matched-fc5",
        "figure-11-information-conv1-conv4",
        "figure-11-information-fc5",
        "figure-19-extremes-conv2",
    }
    blocks = {name: len(draw().axes[0].images) for name, draw in drawn.items()}
    assert blocks["figure-02-matched"] == 3 * 32
    assert blocks["figure-09-matched-conv1-conv4"] == 4 * 32
    assert blocks["figure-11-information-fc5"] == 32
    assert blocks["figure-19-extremes-conv2"] == len(NETS) * 16


def test_figure_2_says_how_smooth_the_filters_of_its_two_networks_are(
    tmp_path: Path, matchings: pd.DataFrame, units: pd.DataFrame
) -> None:
    """What drives a unit of the first layer is its filter."""
    filters = {net: np.random.default_rng(n).standard_normal((UNITS, 3, 5, 5)) for n, net in enumerate(NETS)}
    of_pair = replace(run(tmp_path, matchings, units, LAYERS[:1]), filters=filters)
    said = plan(of_pair)["figure-02-matched"]().get_supxlabel().replace("\n", " ")
    assert said.endswith(smoothness_note({net: filters[net] for net in NETS[:2]}))
    assert "What drives a unit of conv1 is its filter." in said


def test_only_the_shown_units_are_read(
    tmp_path: Path, matchings: pd.DataFrame, units: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[pd.DataFrame] = []
    original = Subject.read

    def noting(subject: Subject, table: str, **options: Any) -> pd.DataFrame:
        rows = original(subject, table, **options)
        if table == "patch_pictures":
            read.append(rows)
        return rows

    monkeypatch.setattr(Subject, "read", noting)
    plan(run(tmp_path, matchings, units, LAYERS))
    found = pd.concat(read)
    assert not found.duplicated(["layer", "net", "unit", "rank"]).any()
    of_conv3 = found[found["layer"] == "conv3"].groupby("net")["unit"].unique()
    expected: dict[str, set[int]] = {"net1": set(), "net2": set()}
    for similarity in ("correlation", "mutual_information"):
        pairs = best_and_worst(matchings, "conv3", "net1", "net2", similarity)
        expected["net1"] |= set(pairs["unit_a"])
        expected["net2"] |= set(pairs["unit_b"])
    assert {net: set(numbers) for net, numbers in of_conv3.items()} == expected


def test_layers_without_pictures_are_left_out(tmp_path: Path, matchings: pd.DataFrame, units: pd.DataFrame) -> None:
    drawn = plan(run(tmp_path, matchings, units, ["conv1", "conv3"]))
    assert set(drawn) == {"figure-02-matched", "figure-09-matched-conv1-conv3", "figure-11-information-conv1-conv3"}


def test_a_run_without_pictures_has_none_of_these_figures(
    tmp_path: Path, matchings: pd.DataFrame, units: pd.DataFrame
) -> None:
    assert plan(run(tmp_path, matchings, units, LAYERS, pictures=False)) == {}
