"""Ablated groups of units: which they are, what networks with hooks give without them, and that classes add up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from torch import Tensor

from raycv.cli import main
from raycv.run import tables
from raycv.run.store import RunStore
from raycv.stages.ablate.rows import DRAWS, choices, groups_of, units_of
from tests.support.by_hand import images_of, loss_and_top1, outputs

KEY = ["layer", "net", "group", "choice", "draw"]


@pytest.fixture(scope="module")
def run(aligned_run: RunStore) -> RunStore:
    assert main(["ablate", "--run", aligned_run.uri, "--single-units", "20"]) == 0
    return aligned_run


def without(run: RunStore, number: int, layer: str, units: np.ndarray) -> tuple[float, float]:
    """Loss and accuracy of a network with units of one layer at their mean over all images."""

    def change(out: Tensor) -> Tensor:
        changed = out.clone()
        means = out.movedim(1, -1).flatten(0, -2).mean(0)
        for unit in units:
            changed[:, unit] = means[unit]
        return changed

    return loss_and_top1(outputs(run, number, (layer, change)), images_of(run)[1])


@pytest.mark.parametrize("layer", ["conv3", "fc7"])
def test_groups_are_at_their_mean(run: RunStore, layer: str) -> None:
    recurrence = tables.read(run, "recurrence").query(f"layer == '{layer}' and net == 'net2'").set_index("unit")
    units = tables.read(run, "units").query(f"layer == '{layer}' and net == 'net2'").set_index("unit")
    live = units.index[~(units["is_dead"] | units["is_rare"])]
    members = {
        "matched": live[recurrence.loc[live, "mutual"] > 0],
        "recurring": live[recurrence.loc[live, "partners"] == 2],
        "lonely": live[recurrence.loc[live, "partners"] == 0],
        "unmatched": live[recurrence.loc[live, "mutual"] == 0],
    }
    rows = tables.read(run, "ablations").query(f"layer == '{layer}' and net == 'net2' and choice == 'whole'")
    assert set(rows["group"]) == {name for name, group in members.items() if len(group)}
    whole = loss_and_top1(outputs(run, 1), images_of(run)[1])
    for row in rows.to_dict("records"):
        expected = without(run, 1, layer, members[row["group"]].to_numpy())
        assert (row["loss"], row["top1"]) == pytest.approx(expected, rel=1e-4)
        assert row["units"] == len(members[row["group"]])
        assert (row["loss_change"], row["top1_change"]) == pytest.approx(
            (expected[0] - whole[0], expected[1] - whole[1]), rel=1e-3, abs=1e-5
        )


def test_classes_add_up_to_the_whole(run: RunStore) -> None:
    classes, whole = tables.read(run, "ablation_classes"), tables.read(run, "ablations").set_index(KEY)
    for column in ("loss_change", "top1_change"):
        weighted = (classes[column].fillna(0) * classes["images"]).groupby([classes[key] for key in KEY]).sum()
        images = classes.groupby(KEY)["images"].sum()
        assert (images == 160).all()
        np.testing.assert_allclose((weighted / images).reindex(whole.index), whole[column], atol=1e-9)


def test_single_units_of_narrow_layers(run: RunStore) -> None:
    rows = tables.read(run, "unit_ablations")
    assert set(rows["layer"]) == {"conv3"}  # fc7 has more than 20 units
    row = rows.query("net == 'net3' and unit == 5").iloc[0]
    expected = without(run, 2, "conv3", np.array([5]))[0] - loss_and_top1(outputs(run, 2), images_of(run)[1])[0]
    assert row["loss_change"] == pytest.approx(expected, abs=1e-5)
    assert row["label_loss_change"] >= row["loss_change"]


def test_copies_do_the_same(run: RunStore) -> None:
    """net2 is net1 in another order: without all matched units both lose the same."""
    rows = tables.read(run, "ablations").query("choice == 'whole'")
    losses = rows.pivot_table(index=["layer", "group"], columns="net", values="loss_change")[["net1", "net2"]].dropna()
    sizes = rows.pivot_table(index=["layer", "group"], columns="net", values="units").loc[losses.index]
    same = losses[sizes["net1"] == sizes["net2"]]
    assert len(same)
    np.testing.assert_allclose(same["net1"], same["net2"], atol=1e-4)


def test_averages_by_layer(run: RunStore) -> None:
    found = tables.read(run, "ablation_by_layer").set_index(["layer", "quantity"])
    rows = tables.read(run, "ablations").query("layer == 'fc7' and group == 'matched'")
    means = rows.groupby(["choice", "net"])["loss_change"].mean()
    assert found.loc[("fc7", "matched"), "value"] == pytest.approx(means["whole"].mean())
    excess = (means["whole"] - means["random"]).mean()
    assert found.loc[("fc7", "matched_excess"), "value"] == pytest.approx(excess)
    single = tables.read(run, "unit_ablations").query("net == 'net1'").set_index("unit")["loss_change"]
    units = tables.read(run, "units").query("layer == 'conv3' and net == 'net1'").set_index("unit")
    first = single.corr(units["mean"], method="spearman")
    values = [first]
    for net in ("net2", "net3"):
        single = tables.read(run, "unit_ablations").query(f"net == '{net}'").set_index("unit")["loss_change"]
        units = tables.read(run, "units").query(f"layer == 'conv3' and net == '{net}'").set_index("unit")
        values.append(single.corr(units["mean"], method="spearman"))
    assert found.loc[("conv3", "unit_loss_by_mean"), "value"] == pytest.approx(np.mean(values))


def test_even_choices_have_as_many_units(run: RunStore) -> None:
    units = units_of(run, "fc7", "net1")
    assert units.index.tolist() == list(range(len(units)))
    groups = {
        "matched": np.arange(7),
        "unmatched": np.arange(7, 10),
        "recurring": np.arange(4),
        "lonely": np.array([], dtype=np.int64),
    }
    found = choices(groups, np.arange(12), seed=0)
    sizes = pd.Series({key: len(chosen) for key, chosen in found.items()})
    assert sizes["matched", "whole", 0] == sizes["matched", "random", DRAWS - 1] == 7
    assert sizes["matched", "even", 0] == sizes["unmatched", "even", 0] == 3
    assert not any(group == "lonely" for group, _, _ in found)
    assert not any(group == "recurring" and choice == "even" for group, choice, _ in found)
    for (group, choice, _), chosen in found.items():
        assert len(set(chosen.tolist())) == len(chosen)
        assert choice == "random" or set(chosen) <= set(groups[group])


def test_dead_units_are_in_no_group() -> None:
    units = pd.DataFrame({"is_dead": [True, False, False], "is_rare": [False, True, False]})
    units["mutual"], units["partners"] = 0, 0
    assert groups_of(units, 3)["lonely"].tolist() == groups_of(units, 3)["unmatched"].tolist() == [2]
