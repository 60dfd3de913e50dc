"""What runs and comparisons have in common, and what a person sees of them: names, tables, plots, folders."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import raycv
from raycv.analysis.recurrence import recurrence
from raycv.analysis.similarity import correlation
from raycv.api import given
from raycv.api.batches import Batch
from raycv.api.kept import KeptProducts
from raycv.api.members import Member
from raycv.api.naming import LayerNames
from raycv.errors import UserError
from raycv.run import record, tables
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from tests.support.runs import moments_of, specs, write_chance, write_networks, write_statistics
from tests.support.tables import write_layers

LAYERS = ("blocks.2", "blocks.10")
NETS = ("net1", "net2", "net3")


def activations(samples: int = 800) -> dict[str, dict[str, np.ndarray]]:
    """Three networks of two layers; the first two share their units, with noise."""
    rng = np.random.default_rng(0)
    shared, own, noise = rng.standard_normal((3, samples, 20))
    nets = (shared, shared[:, ::-1] + noise, own)
    return {
        net: {"blocks.2": values.astype(np.float32), "blocks.10": np.maximum(values[:, :12], 0).astype(np.float32)}
        for net, values in zip(NETS, nets, strict=True)
    }


@pytest.fixture(scope="module")
def found() -> raycv.Comparison:
    return raycv.compare(activations())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> raycv.Run:
    """The same units as a run."""
    store = RunStore(str(tmp_path_factory.mktemp("face") / "run"))
    nets, values = specs((20, 20, 20), LAYERS), activations()
    write_networks(store, nets)
    folds = {
        layer: [moments_of([np.split(values[net][layer], 2)[fold] for net in NETS]) for fold in range(2)]
        for layer in LAYERS
    }
    write_statistics(store, nets, folds)
    for layer in LAYERS:
        write_chance(store, layer, [values[net][layer] for net in NETS])
    record.finish(store, "align", "1", {}, {})
    return raycv.open_run(store.uri)


def test_runs_and_comparisons_answer_in_the_same_columns(found: raycv.Comparison, run: raycv.Run) -> None:
    assert isinstance(run, raycv.Comparison)
    assert list(run.networks) == list(found.networks) == list(NETS)
    assert run.layers == found.layers == list(LAYERS)
    asked: dict[str, Any] = {
        "units": lambda one: one.units(),
        "matching": lambda one: one.matching("bipartite"),
        "alignment": lambda one: one.alignment(["mean", "linear_cka"]),
        "mapping": lambda one: one.mapping([0.001]),
        "recurrence": lambda one: one.recurrence(),
        "nearest_layers": lambda one: one.nearest_layers("mean"),
        "measures": lambda one: one.measures(),
    }
    for name, ask in asked.items():
        here, there = ask(found), ask(run)
        assert list(here.columns) == list(there.columns), name
        assert here["layer"].dtype == there["layer"].dtype == pd.CategoricalDtype(list(LAYERS), ordered=True)
        assert len(here) == len(there) > 0
    pair = {net: layers for net, layers in activations().items() if net != "net3"}
    columns = raycv.compare(pair, compare=[("blocks.2", "blocks.2")]).clusters(k=20).columns.tolist()
    assert columns == ["layer", "net_a", "net_b", "k", "net", "unit", "cluster"]
    for layer in LAYERS:
        first, second = (one.correlation(layer, "net1", "net2") for one in (found, run))
        np.testing.assert_allclose(first, second, atol=1e-6)


def test_layers_sort_as_the_networks_run_them(found: raycv.Comparison) -> None:
    rows = found.alignment(["mean"]).sort_values("layer", ascending=False)
    assert rows["layer"].astype(str).tolist() == ["blocks.10"] * 6 + ["blocks.2"] * 6
    across = raycv.compare({"a": activations()["net1"], "b": activations()["net2"]}, compare="all")
    rows = across.alignment(["mean"])
    assert rows.columns[:4].tolist() == ["net_a", "layer_a", "net_b", "layer_b"]
    assert (rows["layer_a"] == rows["layer_b"]).sum() == 4  # of the same categories, so that they can be compared
    members = [[Member("a", "x"), Member("a", "z"), Member("b", "x"), Member("b", "y"), Member("b", "z")]]
    assert LayerNames.of(members, is_across=True).order == ("x", "y", "z")


def test_one_layer_of_one_name_has_two_columns_where_all_are_compared_with_all() -> None:
    x = activations()["net1"]["blocks.2"]
    assert "layer_a" in raycv.compare({"a": x, "b": x}, compare="all").alignment(["mean"])
    assert "layer" in raycv.compare({"a": x, "b": x}).alignment(["mean"])


def test_correlations_of_two_layers_are_named_by_both() -> None:
    nets = activations()
    across = raycv.compare({"a": nets["net1"], "b": nets["net2"]}, compare="all")
    expected = correlation(nets["net1"]["blocks.2"], nets["net2"]["blocks.10"])
    np.testing.assert_allclose(across.correlation(("blocks.2", "blocks.10"), "a", "b"), expected, atol=5e-6)
    with pytest.raises(UserError, match="There is no network 'c'; there are a, b"):
        across.correlation("blocks.2", "a", "c")
    with pytest.raises(UserError, match="a/blocks.3 and b/blocks.3 were not compared; there are a/blocks.2"):
        across.correlation("blocks.3", "a", "b")
    with pytest.raises(UserError, match="must name one layer, or one of a and one of b"):
        across.correlation(("blocks.2",), "a", "b")  # type: ignore[arg-type]


def test_recurrence_is_that_of_all_pairs(found: raycv.Comparison) -> None:
    rows = found.recurrence().query("layer == 'blocks.2'")
    values = [activations()[net]["blocks.2"] for net in NETS]
    expected = recurrence({(n, m): correlation(values[n], values[m]) for n in range(3) for m in range(n, 3)})
    for n, net in enumerate(NETS):
        of_net = rows[rows["net"] == net]
        np.testing.assert_array_equal(of_net["mutual"], expected.mutual(n))
        np.testing.assert_array_equal(of_net["recurring_group"], expected.group(n))
    assert rows[rows["net"] != "net3"]["partners"].mean() > 0.9
    assert rows[rows["net"] == "net3"]["partners"].mean() < 0.2
    across = raycv.compare({"a": activations()["net1"], "b": activations()["net2"]}, compare="all")
    with pytest.raises(UserError, match="Whether a unit recurs is told of one layer of every network"):
        across.recurrence()


def test_tables_are_narrowed_by_columns(found: raycv.Comparison) -> None:
    rows = found.table("units", net="net2", layer="blocks.10")
    assert rows["unit"].tolist() == list(range(12))
    assert found.table("units", layer="blocks.3").empty
    with pytest.raises(UserError, match="The table 'units' has no column 'network'; it has net, layer, unit"):
        found.table("units", network="net2")


def test_top_samples_are_those_of_numpy(found: raycv.Comparison) -> None:
    values = activations()["net2"]["blocks.2"][:, 5]
    top = found.top_samples("net2", "blocks.2", 5)
    np.testing.assert_array_equal(top["sample"], np.argsort(-values)[:9])
    np.testing.assert_array_equal(top["value"], np.sort(values)[::-1][:9])
    with pytest.raises(UserError, match="net2 has no unit 20 in layer blocks.2; its units are 0 to 19"):
        found.top_samples("net2", "blocks.2", 20)


def test_top_samples_are_found_over_batches_at_their_best_positions() -> None:
    torch.manual_seed(0)
    conv, images = nn.Conv2d(1, 4, 3), torch.randn(30, 1, 6, 6)
    twins = {"a": conv, "b": nn.Conv2d(1, 4, 3)}
    with torch.inference_mode():
        by_image = conv(images).flatten(2)
    nets = {name: nn.Sequential(net) for name, net in twins.items()}
    found = raycv.compare(nets, torch.split(images, 7))
    top = found.top_samples("a", "0", 2)
    best, place = by_image[:, 2].max(1)
    order = best.argsort(descending=True)[:9]
    np.testing.assert_array_equal(top["sample"], order)
    np.testing.assert_array_equal(top["position"], place[order])
    np.testing.assert_allclose(top["value"], best[order], rtol=1e-5)


def test_names_of_samples_are_told() -> None:
    x = pd.DataFrame(activations()["net1"]["blocks.2"], index=[f"image {n}" for n in range(800)])
    top = raycv.compare({"a": x, "b": x.iloc[::-1]}).top_samples("b", "activations", 0)
    assert top["id"].tolist() == x[0].nlargest(9).index.tolist()


@pytest.mark.parametrize("kind", ["rows", "products", "networks"])
def test_what_is_saved_says_the_same(kind: str, tmp_path: Path) -> None:
    if kind == "networks":
        torch.manual_seed(0)
        nets = {
            name: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5), nn.GELU()).eval()
            for name in "ab"
        }
        made = raycv.compare(nets, torch.randn(300, 6), layers=["2", "4"], control="untrained")
    else:
        samples = 300 if kind == "rows" else 6000
        x = {net: layers["blocks.10"] for net, layers in activations(samples).items()}
        made = raycv.compare(x, compare="all" if kind == "products" else "same")
    assert isinstance(made._groups[0].kept, KeptProducts) == (kind != "rows")
    folder = made.save(tmp_path / "found")
    assert not [path for path in Path(folder).rglob("*") if path.is_file() and path.suffix not in (".json", ".npz")]
    again = raycv.load(folder)
    assert repr(again) == repr(made)
    for name in (
        "units",
        "matchings",
        "alignment",
        "mappings",
        *(["measures", "recurrence"] if kind == "rows" else []),
    ):
        pd.testing.assert_frame_equal(again.table(name), made.table(name), check_exact=True)
    net, layer = made.members[0]
    pd.testing.assert_frame_equal(again.top_samples(net, layer, 1), made.top_samples(net, layer, 1))
    with pytest.raises(UserError, match="found holds files already; name a new folder"):
        made.save(folder)


def test_what_is_no_comparison_is_not_loaded(found: raycv.Comparison, run: raycv.Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it has no comparison.json; write one with its method save"):
        raycv.load(tmp_path)
    with pytest.raises(UserError, match="is a run; open it with raycv.open_run"):
        raycv.load(run.uri)
    with pytest.raises(UserError, match="is stored already; `raycv export"):
        run.save(tmp_path / "run")
    folder = Path(found.save(tmp_path / "found"))
    np.savez(folder / "0.npz", nothing=np.zeros(3))
    with pytest.raises(UserError, match="The comparison in .* is damaged"):
        raycv.load(folder)
    (folder / "comparison.json").write_text('{"format": 0}')
    with pytest.raises(UserError, match="was saved by another version of raycv"):
        raycv.load(folder)


def test_a_prompt_and_a_notebook_show_one_screen(found: raycv.Comparison, run: raycv.Run) -> None:
    x = activations()["net1"]["blocks.2"]
    deep = {net: {f"blocks.{n}.attn<1>": x[:, n % 7 :] for n in range(60)} for net in "ab"}
    for one in (found, raycv.compare(deep), run):
        lines = repr(one).splitlines()
        assert len(lines) <= 10
        assert max(map(len, lines)) <= 100 or one is run
        html = one._repr_html_()
        assert html.count("<tr") < 40
        assert all(net in html for net in one.networks)
        assert "<1>" not in html
    assert repr(found).splitlines()[1] == "  net1: blocks.2 (20 units), blocks.10 (12 units)"


def test_plots_show_what_the_tables_say(found: raycv.Comparison, run: raycv.Run) -> None:
    lines = found.plot().axes[0].get_lines()
    table = found.alignment(["mean_absolute"]).query("net_a == 'net1' and net_b == 'net2'")
    np.testing.assert_allclose(np.asarray(lines[0].get_ydata()), table["mean_absolute"])
    units = found.plot("blocks.2", "net1", "net2").axes[0]
    rows = found.matching().query("layer == 'blocks.2' and net_a == 'net1' and net_b == 'net2'")
    drawn = {line.get_label(): np.asarray(line.get_ydata()) for line in units.get_lines()}
    count = int((rows["q_value"] <= 0.05).sum())
    assert len(drawn[f"best partner, beyond chance ({count} units)"]) == count > 10
    pair = found.plot("blocks.2", "net1", "net2", unit=3).axes[0]
    values = activations()
    partner = int(rows["unit_b"].iloc[3])
    assert pair.get_xlabel() == "net1/blocks.2, unit 3"
    xs, ys = (np.sort(of) for of in pair.get_lines()[0].get_data())
    np.testing.assert_allclose(xs, np.sort(values["net1"]["blocks.2"][:, 3]), rtol=1e-6)
    np.testing.assert_allclose(ys, np.sort(values["net2"]["blocks.2"][:, partner]), rtol=1e-6)
    across = raycv.compare({"a": values["net1"], "b": values["net2"]}, compare="all").plot().axes[0]
    assert [label.get_text() for label in across.get_yticklabels()] == list(LAYERS)
    assert run.plot("blocks.2")._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="has no table 'sampled_activations' yet"):
        run.plot("blocks.2", unit=3)


def test_two_units_of_a_run_are_drawn_in_the_sampled_images(run: raycv.Run) -> None:
    partner = int(run.matching().query("layer == 'blocks.2' and net_a == 'net1' and net_b == 'net2'")["unit_b"].iloc[3])
    images = np.array([7, 2, 9], dtype=np.int32)
    highest = {("net1", 3): [0.5, 2.0, 0.1], ("net2", partner): [1.5, 4.0, 0.2]}
    rows = pd.concat(
        pd.DataFrame({"net": net, "unit": unit, "image": images, "value": values})
        for (net, unit), values in highest.items()
    )
    store = RunStore(run.uri)
    columns = [name for name in BY_NAME["sampled_activations"].schema.names if name != "layer"]
    write_layers(store, "sampled_activations", [("blocks.2", rows.reindex(columns=columns))])
    axes = run.plot("blocks.2", unit=3).axes[0]
    assert axes.get_title(loc="left").endswith("; highest activations in 3 images")
    drawn = np.stack([np.asarray(values) for values in axes.get_lines()[0].get_data()])
    np.testing.assert_allclose(drawn[:, drawn[0].argsort()], [[0.1, 0.5, 2.0], [0.2, 1.5, 4.0]], rtol=1e-6)
    store.remove("tables/sampled_activations")


def test_untrained_networks_of_a_run_stand_beside_its_alignment(run: raycv.Run) -> None:
    """They are those of its table, as long as that was written of the statistics that are there now."""
    means = run.alignment(["mean"])
    kept = means.assign(similarity="correlation", method="semi", untrained_mean=0.4, untrained_excess=0.01)
    store, schema = RunStore(run.uri), BY_NAME["alignment"].schema
    tables.write(store, "alignment", kept.astype({"layer": str}).reindex(columns=schema.names))
    found = run.alignment(["mean", "excess", "linear_cka"])
    assert [name for name in found.columns if str(name).startswith("control_")] == ["control_mean", "control_excess"]
    assert found["control_mean"].tolist() == [0.4] * len(means)
    assert found["control_excess"].tolist() == [0.01] * len(means)
    assert "control_mean" not in run.alignment(["linear_cka"])
    of_others = kept.assign(mean=kept["mean"] + 0.1).astype({"layer": str})
    tables.write(store, "alignment", of_others.reindex(columns=schema.names))
    assert list(run.alignment(["mean"])) == list(means)
    store.remove("tables/alignment")


def test_lists_tensors_and_datasets_are_taken_as_they_are(tmp_path: Path) -> None:
    torch.manual_seed(0)
    nets, x = [nn.Sequential(nn.Linear(6, 8)) for _ in range(2)], torch.randn(300, 6)
    expected = raycv.compare({"net1": nets[0], "net2": nets[1]}, torch.split(x, 64)).matching()
    given_as: list[Any] = [x, x.numpy(), TensorDataset(x), TensorDataset(x, torch.zeros(300))]
    for data in given_as:
        pd.testing.assert_frame_equal(raycv.compare(nets, data).matching(), expected)
    for name in ("one", "two"):
        np.save(tmp_path / f"{name}.npy", x.numpy())
    assert list(raycv.compare([tmp_path / "one.npy", str(tmp_path / "two.npy")]).networks) == ["one", "two"]


def test_recordings_that_may_be_transposed_are_warned_of() -> None:
    x = activations()["net1"]["blocks.2"]
    with pytest.warns(UserWarning, match="a/activations has 20 samples of 800 units; if it is the other way round"):
        raycv.compare({"a": x.T, "b": x.T})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raycv.compare({"a": x, "b": x})


def test_long_data_is_told_of_and_short_data_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batches = [Batch(None, {Member("a", "x"): torch.zeros(10, 2)}, {}, {}) for _ in range(5)]
    for seconds, is_told, said in ((60.0, True, ""), (-1.0, False, ""), (-1.0, True, "comparing: 50 of 50 samples")):
        monkeypatch.setattr(given, "SILENT", seconds)
        with given.passing(50, is_told=is_told) as told:
            assert len(list(told(iter(batches)))) == 5
        assert said in capsys.readouterr().out if said else capsys.readouterr().out == ""


def test_completion_offers_what_is_public(found: raycv.Comparison) -> None:
    for one in (raycv, raycv.analysis):
        assert sorted(dir(one)) == sorted(one.__all__)
    offered = [name for name in dir(found) if not name.startswith("_")]
    assert {"correlation", "plot", "save", "recurrence", "top_samples"} <= set(offered)
