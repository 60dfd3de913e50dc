"""`raycv sweep mapping` on a real cluster, on the runs of `tests.test_sweeps`: no network is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raycv import statistics
from raycv.analysis.agglomeration import Agglomeration, agglomerate
from raycv.analysis.mapping import lasso_path
from raycv.analysis.sgd import sgd_path
from raycv.analysis.sparsity import loss_with_as_many, rotated_sources
from raycv.cli import main
from raycv.config import MappingSweepConfig
from raycv.run import record
from raycv.run.paths import NETS, Key, chance_path
from raycv.run.store import RunStore
from raycv.stages.mapping.rows import WRITTEN
from raycv.stages.mapping.stage import sweep as sweep_mapping
from raycv.statistics.folds import correlations
from tests.support.runs import LAYERS, WIDTHS, make_run

DECAYS = (0.0, 1e-3, 1e-2)
FLAGS = ("--decays", "0,1e-3,1e-2", "--units-used", "3")


def sweep(run: Path, *flags: str) -> int:
    return main(["sweep", "mapping", "--run", str(run), *flags])


def table(run: Path, name: str) -> pd.DataFrame:
    frame = pd.read_parquet(f"{run}/tables/{name}").drop(columns="seconds", errors="ignore")
    frame["layer"] = frame["layer"].astype(str)
    return frame.sort_values(sorted(map(str, frame.columns))).reset_index(drop=True)


def pair(run: Path, layer: str, a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
    of_layer = statistics.read(RunStore(str(run))).layer(layer)
    found = correlations(of_layer.all, of_layer.left_out())
    return found[a, a], found[a, b] if a < b else found[b, a].T


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    run = make_run(tmp_path_factory.mktemp("mapping") / "run")
    assert sweep(run, *FLAGS) == 0
    return run


def of(frame: pd.DataFrame, layer: str, a: int, b: int, **more: object) -> pd.DataFrame:
    key = {"layer": layer, "source_net": f"net{a + 1}", "target_net": f"net{b + 1}", **more}
    return frame[(frame[list(key)] == pd.Series(key)).all(axis=1)]


def test_the_rows_are_those_of_direct_calls(swept: Path) -> None:
    rows, weights = table(swept, "mappings"), table(swept, "mapping_weights")
    given = rows[rows["sought"] == ""]
    assert len(given) == len(LAYERS) * 6 * 2 * len(DECAYS)
    for layer, a, b in (("conv1", 0, 1), ("conv1", 1, 0), ("conv2", 2, 1)):
        for solver, solve in (("exact", lasso_path), ("sgd", sgd_path)):
            for mapping in solve(*pair(swept, layer, a, b), DECAYS):
                (row,) = of(given, layer, a, b, solver=solver, decay=mapping.decay).to_dict("records")
                assert row["alpha"] == pytest.approx(mapping.decay * WIDTHS[b])
                assert (row["loss"], row["r2"]) == pytest.approx((mapping.loss, mapping.r2), abs=1e-6)
                assert row["units_used"] == mapping.units_used()
                assert row["duality_gap"] == pytest.approx(mapping.duality_gap, abs=1e-6)
                stored = np.zeros_like(mapping.weights)
                found = of(weights, layer, a, b, solver=solver, decay=mapping.decay)
                stored[found["target_unit"], found["source_unit"]] = found["weight"]
                np.testing.assert_allclose(stored, mapping.weights, atol=1.1e-3 if solver == "sgd" else 1e-6)
                assert (found["weight"] != 0).all()


def test_mixtures_of_the_source_units_are_the_null_of_the_optimum(swept: Path) -> None:
    rows = table(swept, "mappings")
    exact = rows[rows["solver"] == "exact"]
    dense = exact[exact["decay"] == 0]
    np.testing.assert_allclose(dense["rotated_loss"], dense["loss"], atol=1e-6)  # all mixtures span what all units do
    found = statistics.read(RunStore(str(swept)))
    for layer, a, b in (("conv1", 0, 1), ("conv2", 2, 1)):
        layers = lasso_path(*pair(swept, layer, a, b), DECAYS)
        of_pair = of(exact[exact["sought"] == ""], layer, a, b).sort_values("decay")
        mixed = found.mixed(layer)[a]
        expected = loss_with_as_many(mixed.own, mixed.units[b].T, layers)
        np.testing.assert_allclose(of_pair["prerelu_loss"], expected, atol=1e-6)
        rotated = rotated_sources(*pair(swept, layer, a, b), seed=np.random.default_rng([a, b]))
        np.testing.assert_allclose(of_pair["rotated_loss"], loss_with_as_many(*rotated, layers), atol=1e-6)
    assert rows.loc[rows["solver"] == "sgd", ["rotated_loss", "prerelu_loss"]].isna().all(axis=None)


def test_as_many_mixtures_take_no_part_as_units(swept: Path) -> None:
    store = RunStore(str(swept))
    found = statistics.read(store)
    mixed = found.mixed("conv1")
    assert [int(np.isnan(np.diagonal(of.own)).sum()) for of in mixed.values()] == [2, 0, 0]
    active = store.read_arrays(chance_path(found.folder, Key(NETS, "conv1"), 0, 0))["prerelu/active"]
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(np.diagonal(mixed[0].own))), np.sort(np.argsort(active)[:2]))
    assert np.isnan(mixed[1].units[0][:2]).all()  # the dead and the rare unit of net1
    assert not np.isnan(mixed[1].units[0][2:]).any()


def test_training_of_wide_layers_is_left_to_gpus(
    tmp_path: Path, ray_cluster: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run")
    monkeypatch.setattr("raycv.stages.mapping.stage.UNITS_FOR_GPU", max(WIDTHS) - 1)
    assert sweep(run, "--decays", "1e-3") == 0
    said = capsys.readouterr().out
    for layer in LAYERS:
        assert (
            f"left out {layer} by sgd: {max(WIDTHS)} units need a GPU with float64, and the processors wanted have none"
            in said
        )
    assert set(table(run, "mappings")["solver"]) == {"exact"}
    assert set(RunStore(str(run)).read_json("run.json")["stages"]["sweep mapping"]["left_out"]) == {
        f"{layer} by sgd" for layer in LAYERS
    }


def test_held_out_errors_are_above_fitted_ones_where_units_are_many(swept: Path) -> None:
    rows = table(swept, "mappings")
    dense = rows[(rows["solver"] == "exact") & (rows["decay"] == 0)]
    assert (dense["heldout_loss"] > dense["loss"]).all()
    assert (dense["heldout_loss_low"] < dense["heldout_loss"]).all()
    assert (dense["heldout_loss"] < dense["heldout_loss_high"]).all()
    np.testing.assert_allclose(2 * dense["heldout_loss"], 1 - dense["heldout_r2"], atol=1e-9)


def test_the_optimum_is_below_the_training_and_certified(swept: Path) -> None:
    rows = table(swept, "mappings")
    given = rows[rows["sought"] == ""]
    keys = ["layer", "source_net", "target_net", "decay"]
    beside = given.pivot_table(index=keys, columns="solver", values=["loss", "duality_gap"])
    dense = beside.xs(0.0, level="decay")
    assert (dense["loss", "exact"] <= dense["loss", "sgd"] + 1e-6).all()
    assert beside["duality_gap", "exact"].max() < 2e-6


def test_dead_and_rare_units_keep_their_rows_without_a_score(swept: Path) -> None:
    of_layer = statistics.read(RunStore(str(swept))).layer("conv1")
    np.testing.assert_array_equal(np.flatnonzero(of_layer.dead()), [0])
    np.testing.assert_array_equal(np.flatnonzero(of_layer.rare()), [1])
    units = table(swept, "mapping_units")
    into = units[units["target_net"] == "net1"]
    left_out = into["target_unit"] < 2
    assert into.loc[left_out, ["r2", "heldout_r2", "units_used"]].isna().all(axis=None)
    assert into.loc[~left_out, ["r2", "heldout_r2"]].notna().all(axis=None)
    weights = table(swept, "mapping_weights")
    assert not ((weights["target_net"] == "net1") & (weights["target_unit"] < 2)).any()
    assert not ((weights["source_net"] == "net1") & (weights["source_unit"] < 2)).any()


def test_medians_and_quartiles_are_those_of_the_target_units(swept: Path) -> None:
    rows, units = table(swept, "mappings"), table(swept, "mapping_units")
    key = ["layer", "source_net", "target_net", "solver", "decay"]
    losses = units.assign(fitted=(1 - units["r2"]) / 2, held=(1 - units["heldout_r2"]) / 2).groupby(key)
    beside = rows[rows["sought"] == ""].set_index(key).sort_index()
    assert len(beside) == len(LAYERS) * 6 * 2 * len(DECAYS)
    for column, of, share in (
        ("loss_median", "fitted", 0.5),
        ("heldout_loss_median", "held", 0.5),
        ("heldout_loss_lower_quartile", "held", 0.25),
        ("heldout_loss_upper_quartile", "held", 0.75),
    ):
        expected = losses[of].quantile(share).loc[beside.index]
        np.testing.assert_allclose(beside[column], expected, atol=1e-12)


def test_trees_are_those_of_the_mapping_layers(swept: Path) -> None:
    merges = table(swept, "agglomerations")
    there = lasso_path(*pair(swept, "conv2", 0, 1), DECAYS)[1].weights
    back = lasso_path(*pair(swept, "conv2", 1, 0), DECAYS)[1].weights
    for reverse, expected in ((False, agglomerate(there)), (True, agglomerate(there, back))):
        found = of(merges, "conv2", 0, 1, decay=1e-3, reverse=reverse).sort_values("merge")
        rows = found[["cluster_a", "cluster_b", "weight", "size"]].to_numpy(float)
        np.testing.assert_allclose(rows[:, 2:], expected.merges[:, 2:], atol=1e-6)
        # Members at any cut can be read back from the table.
        np.testing.assert_array_equal(Agglomeration(rows).cut(9), expected.cut(9))


def test_a_decay_for_a_wanted_sparsity_is_found(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sought = table(swept, "mappings").query("sought == 'units_used=3'")
    assert len(sought) == len(LAYERS) * 6
    assert (sought["units_used"] - 3).abs().max() <= 0.5  # one unit more or less of fourteen targets is a step
    for layer, a, b in (("conv1", 0, 1), ("conv2", 1, 2)):
        (row,) = of(sought, layer, a, b).to_dict("records")
        assert lasso_path(*pair(swept, layer, a, b), row["decay"])[0].units_used() == row["units_used"]


def test_a_wanted_sparsity_that_no_decay_reaches_is_told(
    tmp_path: Path, ray_cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", ("conv1",))
    assert sweep(run, "--decays", "0.01", "--solvers", "exact", "--units-used", "500", "--loss", "0.3") == 0
    said = capsys.readouterr().out
    assert "units_used = 500 is reached by no decay for 6 of 6 pairs" in said
    assert "conv1: loss = 0.3 at decay" in said
    found = table(run, "mappings")
    assert found.loc[found["sought"] == "loss=0.3", "loss"].to_numpy() == pytest.approx(0.3, abs=1e-4)


def test_solvers_may_be_added_and_are_not_taken_away(
    tmp_path: Path, ray_cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", ("conv1",))
    store, config = RunStore(str(run)), MappingSweepConfig(run=str(run), decays=(0, 0.001))
    sweep_mapping(config, store, solvers=("exact",))  # as `raycv run` does
    assert set(table(run, "mappings")["solver"]) == {"exact"}
    assert sweep(run) == 0
    before = {name: table(run, name) for name in WRITTEN}
    assert set(before["mappings"]["solver"]) == {"exact", "sgd"}
    sweep_mapping(config, store, solvers=("exact",))
    assert "nothing to do" in capsys.readouterr().out
    for name in WRITTEN:
        pd.testing.assert_frame_equal(table(run, name), before[name])
    assert record.read(store)["stages"]["sweep mapping"]["trials"] == 6
    assert not (run / "sweeps").exists()


@pytest.mark.parametrize("flags", [("--decays", "-1"), ("--units-used", "0"), ("--loss", "0.7"), ("--solvers", "adam")])
def test_settings_out_of_range_are_refused(
    tmp_path: Path, flags: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path, *flags) == 2
    assert flags[0].removeprefix("--") in capsys.readouterr().err
