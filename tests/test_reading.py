"""A run as Python reads it, on a disk and on a real S3 server: what the reader says is what the run's files hold."""

from __future__ import annotations

import doctest
import pydoc
import re
import subprocess
import sys
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import raycv
from raycv.errors import UserError
from raycv.run import record, tables
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.statistics.folds import correlations
from raycv.statistics.moments import mean, merge
from tests.support.runs import moments_of, specs, write_networks, write_statistics
from tests.support.s3_server import BUCKET
from tests.support.tables import write_layers

LAYERS, WIDTHS = ("conv1", "fc8"), (5, 7, 4)
NETS = ("net1", "net2", "net3")
SAMPLES = 600


def activations(layer: str) -> list[np.ndarray]:
    """(samples, S_n) of every network; unit 2 of net2 is dead."""
    rng = np.random.default_rng(LAYERS.index(layer))
    causes = rng.standard_normal((SAMPLES, 3))
    nets = [np.maximum(causes @ rng.standard_normal((3, width)), 0).astype(np.float32) for width in WIDTHS]
    nets[1][:, 2] = 0
    return nets


@pytest.fixture(scope="module", params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """A run with networks, statistics, one table in one file and one partitioned table."""
    if request.param == "s3":
        request.getfixturevalue("s3_server")
        store = RunStore(f"s3://{BUCKET}/{uuid.uuid4().hex}")
    else:
        store = RunStore(str(tmp_path_factory.mktemp("reading") / "run"))
    nets = specs(WIDTHS, LAYERS)
    write_networks(store, nets)
    halves = {layer: [np.split(net, 2) for net in activations(layer)] for layer in LAYERS}
    folds = {layer: [moments_of([net[fold] for net in halves[layer]]) for fold in range(2)] for layer in LAYERS}
    write_statistics(store, nets, folds)
    units = [
        (net, layer, unit) for layer in LAYERS for net, width in zip(NETS, WIDTHS, strict=True) for unit in range(width)
    ]
    frame = pd.DataFrame(units, columns=["net", "layer", "unit"])
    frame["is_dead"] = (frame["net"] == "net2") & (frame["unit"] == 2)
    frame["is_rare"] = False
    tables.write(store, "units", frame.reindex(columns=BY_NAME["units"].schema.names))
    write_layers(store, "mapping_weights", ((layer, weights(layer)) for layer in LAYERS))
    record.finish(store, "align", "1", {}, {})
    return store


def weights(layer: str) -> pd.DataFrame:
    """One mapping weight per pair of networks and decay."""
    rows = [
        {"source_net": a, "target_net": b, "decay": decay, "target_unit": 0, "source_unit": 1, "weight": 1.5}
        for a in NETS
        for b in NETS
        if a != b
        for decay in (0.0, 10**-2.6)
    ]
    return pd.DataFrame(rows).assign(solver="exact")


@pytest.fixture
def run(store: RunStore) -> raycv.Run:
    return raycv.open_run(store.uri)


def test_a_run_says_what_it_holds(run: raycv.Run, store: RunStore) -> None:
    assert run.uri == store.uri
    assert repr(run).splitlines()[0] == f"Run {store.uri}"
    assert repr(run).splitlines()[2] == f"  net2: {', '.join(f'{layer} (7 units)' for layer in LAYERS)}"
    assert run.tables == ["mapping_weights", "units"]
    assert run.layers == list(LAYERS)
    assert list(run.networks) == list(NETS)
    assert [(spec.width, spec.seed) for spec in run.networks.values()] == [(5, 1), (7, 2), (4, 3)]


@pytest.mark.parametrize(
    ("name", "equalities"),
    [
        ("units", {}),
        ("units", {"net": "net1"}),
        ("units", {"net": "net2", "layer": "fc8"}),
        ("units", {"net": "net2", "is_dead": True}),
        ("units", {"net": "net2", "unit": np.int64(3), "layer": "conv1"}),
        ("units", {"layer": "conv9"}),
        ("mapping_weights", {}),
        ("mapping_weights", {"layer": "fc8"}),
        ("mapping_weights", {"source_net": "net3"}),
        ("mapping_weights", {"source_net": "net3", "decay": 10**-2.6, "layer": "conv1"}),
        ("mapping_weights", {"decay": 0}),
        ("mapping_weights", {"layer": "conv9"}),
    ],
)
def test_every_equality_narrows_a_table(run: raycv.Run, store: RunStore, name: str, equalities: dict[str, Any]) -> None:
    expected = pd.read_parquet(store.locate(f"tables/{name}"))
    expected = expected.astype({"layer": pd.CategoricalDtype(list(LAYERS), ordered=True)})
    for column, value in equalities.items():
        fewer = expected[expected[column] == value]
        assert len(fewer) < len(expected)
        expected = fewer
    pd.testing.assert_frame_equal(run.table(name, **equalities), expected.reset_index(drop=True))


@pytest.mark.parametrize(
    ("name", "equalities", "said"),
    [
        ("unit", {}, "There is no table 'unit'; there are training, units, "),
        ("matchings", {}, "has no table 'matchings' yet; run the stage that writes it"),
        ("units", {"network": "net1"}, "The table 'units' has no column 'network'; it has net, layer, unit, "),
        ("mapping_weights", {"net": "net1"}, "has no column 'net'; it has layer, source_net, "),
        ("units", {"unit": "first"}, "The column 'unit' of the table 'units' holds int32; 'first' is not of that type"),
        ("units", {"net": 1}, "The column 'net' of the table 'units' holds string; 1 is not of that type"),
        ("mapping_weights", {"layer": 1}, "The column 'layer' .* holds string; 1 is not of that type"),
    ],
)
def test_what_no_table_has_is_refused(run: raycv.Run, name: str, equalities: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        run.table(name, **equalities)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("a", range(3))
@pytest.mark.parametrize("b", range(3))
def test_correlations_are_those_of_numpy(run: raycv.Run, layer: str, a: int, b: int) -> None:
    nets = activations(layer)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.corrcoef(nets[a].T.astype(float), nets[b].T.astype(float))[: WIDTHS[a], WIDTHS[a] :]
    found = run.correlation(layer, NETS[a], NETS[b])
    assert found.shape == (WIDTHS[a], WIDTHS[b])
    assert found.dtype == np.float64
    dead = np.zeros_like(found, dtype=bool)
    dead[2 if a == 1 else [], :] = True
    dead[:, 2 if b == 1 else []] = True
    np.testing.assert_array_equal(np.isnan(found), dead)
    np.testing.assert_allclose(found, np.where(dead, np.nan, expected), rtol=0, atol=5e-6)


def test_correlations_are_those_of_the_moments(run: raycv.Run) -> None:
    moments = run.moments("conv1")
    for (a, b), expected in correlations(moments.all, moments.dead()).items():
        np.testing.assert_array_equal(run.correlation("conv1", NETS[a], NETS[b]), expected)
        np.testing.assert_allclose(run.correlation("conv1", NETS[b], NETS[a]), expected.T, rtol=0, atol=1e-12)


def test_moments_come_fold_by_fold(run: raycv.Run) -> None:
    stacked = np.hstack(activations("fc8"))
    first, second = run.moments("fc8").folds
    assert first.widths.tolist() == list(WIDTHS)
    assert (int(first.count), int(second.count)) == (300, 300)
    np.testing.assert_allclose(mean(first), stacked[:300].mean(0), atol=1e-6)
    np.testing.assert_allclose(mean(merge(first, second)), stacked.mean(0), atol=1e-6)


@pytest.mark.parametrize("names", [("net9", "net1"), ("net1", "net9")])
def test_a_network_that_was_not_compared_is_refused(run: raycv.Run, names: tuple[str, str]) -> None:
    with pytest.raises(UserError, match="has no network 'net9'; its networks are net1, net2, net3."):
        run.correlation("conv1", *names)


def test_a_layer_that_was_not_compared_is_refused(run: raycv.Run) -> None:
    for asked in (lambda: run.moments("conv9"), lambda: run.correlation("conv9", "net1", "net2")):
        with pytest.raises(UserError, match="has no layer 'conv9'; its layers are conv1, fc8."):
            asked()


def test_the_report_is_named_once_it_is_there(run: raycv.Run, store: RunStore) -> None:
    with pytest.raises(UserError, match="has no report yet; run `raycv report` first"):
        _ = run.report
    store.write("report.html", b"<html></html>")
    assert run.report == f"{store.uri}/report.html"
    store.remove("report.html")


def test_a_run_that_is_not_there_is_refused(store: RunStore) -> None:
    beside = f"{store.uri}-not"
    said = f"There is no run in {beside}: it has no run.json. Make one with `raycv run --run {beside}`."
    with pytest.raises(UserError, match=re.escape(said)):
        raycv.open_run(beside)


def test_a_folder_seen_from_here_is_named_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=re.escape(f"`raycv run --run {tmp_path}/first`")):
        raycv.open_run("first")


def test_a_run_that_has_only_begun_names_the_stage_to_run(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path))
    record.finish(store, "train", "1", {}, {})
    begun = raycv.open_run(store.uri)
    assert begun.tables == []
    for asked in (lambda: begun.layers, lambda: begun.moments("conv1"), lambda: begun.correlation("c", "a", "b")):
        with pytest.raises(UserError, match="has no statistics yet; run `raycv collect` first"):
            asked()
    with pytest.raises(UserError, match="holds 0 trained networks .* run `raycv train` first"):
        _ = begun.networks


# -- the package itself ----------------------------------------------------------------------------------------------


def test_the_version_is_that_of_the_package() -> None:
    assert raycv.__version__ == version("raycv")


def test_importing_raycv_is_light_until_a_run_is_opened() -> None:
    code = """
import sys, raycv
heavy = ("pandas", "pyarrow", "scipy", "numba", "raycv.api.run")
print(sorted({"Run", "open_run", "__version__"} & set(dir(raycv))), [name for name in heavy if name in sys.modules])
print(raycv.open_run.__name__, raycv.Run.__name__, {"numba", "torch", "ray"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['Run', '__version__', 'open_run'] []", "open_run Run set()"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'raycv' has no attribute 'open_runs'"):
        _ = raycv.open_runs


def test_the_example_of_the_package_is_true() -> None:
    result = doctest.testmod(raycv)
    assert result.attempted >= 5
    assert result.failed == 0


def test_help_names_what_a_reader_needs() -> None:
    said = pydoc.plain(pydoc.render_doc(raycv))
    for name in (
        "open_run(uri",
        "table(self, name",
        "correlation(self, layer",
        "moments(self, layer",
        "networks",
        "report",
    ):
        assert name in said
