"""Ablated groups of units: which they are, what networks with hooks give without them, and that classes add up."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from torch import Tensor

from raycv import statistics
from raycv.networks.bench import Bench
from raycv.run import tables
from raycv.run.store import RunStore
from raycv.stages.ablate.rows import DRAWS, WRITTEN, Ablater, by_layer, choices, groups_of, of_single_units, units_of
from tests.support.by_hand import images_of, loss_and_top1, outputs

KEY = ["layer", "net", "unit_group", "choice", "draw"]


Frames = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def found(aligned_run: RunStore) -> Frames:
    """The tables, with single units of layers of at most 20."""
    bench = Bench.of(aligned_run, statistics.read(aligned_run).source())
    ablater = Ablater(bench, 20)
    parts = [ablater(piece) for piece in bench.pieces()]
    frames = {name: pd.concat(part[name] for part in parts if name in part) for name in WRITTEN}
    summary = by_layer(frames["ablations"], frames["unit_ablations"], partial(units_of, aligned_run))
    return frames | {"ablation_by_layer": summary}


def without(aligned_run: RunStore, number: int, layer: str, units: np.ndarray) -> tuple[float, float]:
    """Loss and accuracy of a network with units of one layer at their mean over all images."""

    def change(out: Tensor) -> Tensor:
        changed = out.clone()
        means = out.movedim(1, -1).flatten(0, -2).mean(0)
        for unit in units:
            changed[:, unit] = means[unit]
        return changed

    return loss_and_top1(outputs(aligned_run, number, (layer, change)), images_of(aligned_run)[1])


@pytest.mark.parametrize("layer", ["conv3", "fc7"])
def test_groups_are_at_their_mean(aligned_run: RunStore, found: Frames, layer: str) -> None:
    recurrence = tables.read(aligned_run, "recurrence").query(f"layer == '{layer}' and net == 'net2'").set_index("unit")
    units = tables.read(aligned_run, "units").query(f"layer == '{layer}' and net == 'net2'").set_index("unit")
    live = units.index[~(units["is_dead"] | units["is_rare"])]
    members = {
        "matched": live[recurrence.loc[live, "mutual"] > 0],
        "recurring": live[recurrence.loc[live, "partners"] == 2],
        "lonely": live[recurrence.loc[live, "partners"] == 0],
        "unmatched": live[recurrence.loc[live, "mutual"] == 0],
    }
    rows = found["ablations"].query(f"layer == '{layer}' and net == 'net2' and choice == 'whole'")
    assert set(rows["unit_group"]) == {name for name, group in members.items() if len(group)}
    whole = loss_and_top1(outputs(aligned_run, 1), images_of(aligned_run)[1])
    for row in rows.to_dict("records"):
        expected = without(aligned_run, 1, layer, members[row["unit_group"]].to_numpy())
        assert (row["loss"], row["top1"]) == pytest.approx(expected, rel=1e-4)
        assert row["units"] == len(members[row["unit_group"]])
        assert (row["loss_change"], row["top1_change"]) == pytest.approx(
            (expected[0] - whole[0], expected[1] - whole[1]), rel=1e-3, abs=1e-5
        )


def test_classes_add_up_to_the_whole(found: Frames) -> None:
    classes, whole = found["ablation_classes"], found["ablations"].set_index(KEY)
    for column in ("loss_change", "top1_change"):
        weighted = (classes[column].fillna(0) * classes["images"]).groupby([classes[key] for key in KEY]).sum()
        images = classes.groupby(KEY)["images"].sum()
        assert (images == 160).all()
        np.testing.assert_allclose((weighted / images).reindex(whole.index), whole[column], atol=1e-9)


def test_single_units_of_narrow_layers(aligned_run: RunStore, found: Frames) -> None:
    rows = found["unit_ablations"]
    assert set(rows["layer"]) == {"conv3"}  # fc7 has more than 20 units
    row = rows.query("net == 'net3' and unit == 5").iloc[0]
    expected = (
        without(aligned_run, 2, "conv3", np.array([5]))[0]
        - loss_and_top1(outputs(aligned_run, 2), images_of(aligned_run)[1])[0]
    )
    assert row["loss_change"] == pytest.approx(expected, abs=1e-5)
    assert row["label_loss_change"] >= row["loss_change"]


def test_copies_do_the_same(found: Frames) -> None:
    """net2 is net1 in another order: without all matched units both lose the same."""
    rows = found["ablations"].query("choice == 'whole'")
    losses = rows.pivot_table(index=["layer", "unit_group"], columns="net", values="loss_change")[
        ["net1", "net2"]
    ].dropna()
    sizes = rows.pivot_table(index=["layer", "unit_group"], columns="net", values="units").loc[losses.index]
    same = losses[sizes["net1"] == sizes["net2"]]
    assert len(same)
    np.testing.assert_allclose(same["net1"], same["net2"], atol=1e-4)


def test_averages_by_layer(aligned_run: RunStore, found: Frames) -> None:
    averages = found["ablation_by_layer"].set_index(["layer", "quantity"])
    rows = found["ablations"].query("layer == 'fc7' and unit_group == 'matched'")
    means = rows.groupby(["choice", "net"])["loss_change"].mean()
    assert averages.loc[("fc7", "matched"), "value"] == pytest.approx(means["whole"].mean())
    excess = (means["whole"] - means["random"]).mean()
    assert averages.loc[("fc7", "matched_excess"), "value"] == pytest.approx(excess)
    values = []
    for net in ("net1", "net2", "net3"):
        single = found["unit_ablations"].query(f"net == '{net}'").set_index("unit")["loss_change"]
        units = units_of(aligned_run, "conv3", net)
        live = units["partner"].notna()
        values.append(single[live].corr(units["mean"][live], method="spearman"))
    assert averages.loc[("conv3", "unit_loss_by_mean"), "value"] == pytest.approx(np.mean(values))


def test_a_partial_correlation_is_that_of_what_the_spread_leaves() -> None:
    rng = np.random.default_rng(0)
    std = rng.standard_normal(40)
    units = pd.DataFrame({"std": std, "partner": std + rng.standard_normal(40), "loss": std + rng.standard_normal(40)})
    units = units.assign(excess=rng.standard_normal(40), partners=rng.integers(0, 3, 40), mean=1.0)
    units.loc[7, "partner"] = np.nan  # dead
    found = of_single_units(units)
    ranks = units.drop(index=7)[["loss", "partner", "std"]].rank()
    line = {name: np.polyfit(ranks["std"], ranks[name], 1) for name in ("loss", "partner")}
    loss, partner = (ranks[name] - np.polyval(of_name, ranks["std"]) for name, of_name in line.items())
    assert found["unit_loss_by_partner_given_std"] == pytest.approx(loss.corr(partner))
    assert found["unit_loss_by_std"] == pytest.approx(ranks["loss"].corr(ranks["std"]))
    assert np.isnan(found["unit_loss_by_mean"])


def test_even_choices_have_as_many_units(aligned_run: RunStore) -> None:
    units = units_of(aligned_run, "fc7", "net1")
    assert units.index.tolist() == list(range(len(units)))
    groups = {
        "matched": np.arange(7),
        "unmatched": np.arange(7, 10),
        "recurring": np.arange(4),
        "lonely": np.array([], dtype=np.int64),
    }
    chosen_by = choices(groups, np.arange(12), seed=0)
    sizes = pd.Series({key: len(chosen) for key, chosen in chosen_by.items()})
    assert sizes["matched", "whole", 0] == sizes["matched", "random", DRAWS - 1] == 7
    assert sizes["matched", "even", 0] == sizes["unmatched", "even", 0] == 3
    assert not any(group == "lonely" for group, _, _ in chosen_by)
    assert not any(group == "recurring" and choice == "even" for group, choice, _ in chosen_by)
    for (group, choice, _), chosen in chosen_by.items():
        assert len(set(chosen.tolist())) == len(chosen)
        assert choice == "random" or set(chosen) <= set(groups[group])


def test_dead_units_are_in_no_group() -> None:
    units = pd.DataFrame({"is_dead": [True, False, False], "is_rare": [False, True, False]})
    units["mutual"], units["partners"] = 0, 0
    assert groups_of(units, 3)["lonely"].tolist() == groups_of(units, 3)["unmatched"].tolist() == [2]
