"""Networks of a user's own and recorded activations through a whole run, against numpy."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import raycv
from raycv.cli import main
from raycv.data.recorded import recorded
from raycv.data.shards import shards
from raycv.data.sources import open_source
from raycv.errors import UserError
from raycv.networks import trust
from raycv.networks.models import build, untrained
from raycv.networks.spec import NetworkSpec, Place
from raycv.run.paths import ACROSS, NETS, NULL, Key
from raycv.stages.collect.collector import Collector, Recording
from raycv.stages.collect.planned import groups_of
from tests.support.nets import OTHER_WAY, WAY, convolutions, tokens

SAMPLES = 160  # the validation images of the fixture


@pytest.fixture(scope="module")
def seen(images: Path) -> dict[str, np.ndarray]:
    """Activations (n, S, ...) in float64 of the networks of the run, from plain forward passes."""
    source = open_source(str(images), "validation")
    found: dict[str, np.ndarray] = {}
    for name, (net, way), modules in (
        ("vit", tokens(3), ("blocks.0", "blocks.1")),
        ("conv", convolutions(), ("0", "1")),
        ("conv2", convolutions(5), ("0", "1")),
    ):
        pixels, _ = source.decode(np.arange(len(source)), way.resizing)
        for module in modules:
            given: list[torch.Tensor] = []
            net.get_submodule(module).register_forward_hook(lambda _m, _a, out, given=given: given.append(out))
            with torch.inference_mode():
                net.eval()(way.evaluation(torch.from_numpy(pixels)))
            values = given[-1].double().numpy()
            found[f"{name}/{module}"] = values.swapaxes(1, 2) if values.ndim == 3 else values
    return found


@pytest.fixture(scope="module")
def run(images: Path, seen: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    """A transformer, two convolutional networks and a recording in another order, all layers against all."""
    folder = tmp_path_factory.mktemp("any")
    order = np.random.default_rng(0).permutation(SAMPLES)
    copied = seen["conv/1"][:, ::-1].mean((2, 3))[order] + 1e-4 * np.random.default_rng(1).standard_normal((SAMPLES, 8))
    np.savez(folder / "copy.npz", deep=copied, ids=order)
    (folder / "nets.yaml").write_text(
        f"""
networks:
  - {{name: vit, model: "tests.support.nets:tokens", arguments: {{seed: 3}}, layers: ["blocks.?"]}}
  - {{name: conv, model: "tests.support.nets:convolutions", layers: ["0", "1"]}}
  - {{name: conv2, model: "tests.support.nets:convolutions", arguments: {{seed: 5}}, layers: ["0", "1"]}}
  - {{name: copy, model: "{folder}/copy.npz"}}
data: {images}
compare: all
positions: mean
"""
    )
    run = folder / "run"
    for stage in ("train", "collect", "align"):
        assert main([stage, "--run", str(run), "--config", str(folder / "nets.yaml")]) == 0
    return run


def correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(np.corrcoef(x, y, rowvar=False)[: x.shape[1], x.shape[1] :])


def mean_of(values: np.ndarray) -> np.ndarray:
    return np.asarray(values.reshape(*values.shape[:2], -1).mean(2))


def test_layers_at_the_same_depth_are_compared(run: Path, seen: dict[str, np.ndarray]) -> None:
    opened = raycv.open_run(str(run))
    where = opened.table("layers")
    (layer,) = opened.layers  # a recording has one, and no logits
    module = dict(zip(where["net"], where["module"], strict=True))
    assert module["copy"] == "deep"
    assert (where["grid"] == "mean").all()
    x, y = (mean_of(seen[f"{net}/{module[net]}"]) for net in ("vit", "conv"))
    np.testing.assert_allclose(opened.correlation(layer, "vit", "conv"), correlation(x, y), atol=5e-6)


def test_every_layer_is_compared_with_every_layer(run: Path, seen: dict[str, np.ndarray]) -> None:
    across = pd.read_parquet(run / "tables/across")
    units = pd.read_parquet(run / "tables/across_units")
    live = {key: of["unit_a"][of["unit_b"] >= 0].unique() for key, of in units.groupby(["net_a", "layer_a"])}
    assert live["vit", "blocks.0"].tolist() == list(range(8))
    for row in across.to_dict("records"):
        if "copy" in (row["net_a"], row["net_b"]):
            continue
        x, y = (mean_of(seen[f"{row[f'net_{side}']}/{row[f'layer_{side}']}"]) for side in "ab")
        x, y = x[:, live[row["net_a"], row["layer_a"]]], y[:, live[row["net_b"], row["layer_b"]]]
        assert row["mean"] == pytest.approx(correlation(x, y).max(1).mean(), abs=1e-5)
    assert len(across) == sum(1 for a, b in itertools.permutations("vvccddr", 2) if a != b)


def test_a_permuted_copy_is_found_in_the_layer_it_was_made_of(run: Path) -> None:
    """Also that ids were followed: the recording stands in another order."""
    found = pd.read_parquet(run / "tables/across_units").query("net_a == 'copy' and net_b == 'conv'")
    alike = found[found["value"] > 0.9]  # copies of dead units are noise
    assert len(alike) >= 4
    assert (alike["layer_b"] == "1").all()
    assert (alike["unit_b"] == 7 - alike["unit_a"]).all()


def test_mutual_partners_are_each_others(run: Path) -> None:
    units = pd.read_parquet(run / "tables/across_units")
    rows: Any = units.to_dict("records")
    best = {(r["net_a"], r["layer_a"], r["unit_a"], r["net_b"]): (r["layer_b"], r["unit_b"]) for r in rows}
    for r in rows:
        back = best.get((r["net_b"], r["layer_b"], r["unit_b"], r["net_a"])) == (r["layer_a"], r["unit_a"])
        assert r["is_mutual"] == (r["unit_b"] >= 0 and back)


def test_the_recording_has_no_untrained_counterpart(run: Path) -> None:
    rows = pd.read_parquet(run / "tables/alignment").query("method == 'semi' and similarity == 'correlation'")
    with_recording = rows[(rows["net_a"] == "copy") | (rows["net_b"] == "copy")]
    assert with_recording["untrained_mean"].isna().all()
    assert rows.drop(with_recording.index)["untrained_mean"].notna().all()


def test_other_layers_are_compared_without_importing_again(
    run: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--run", str(run), "--compare", "blocks.0~0~0~deep"]
    before = (run / "networks/vit/weights.safetensors").stat().st_mtime_ns
    kept = {path: path.read_bytes() for path in (run / "networks").glob("*/network.json")}
    assert main([*command, "--layers", "x"]) == 2
    assert "leave one of the two out" in capsys.readouterr().err
    (run.parent / "without.yaml").write_text(
        "\n".join(
            line.partition(", layers")[0] + "}" if ", layers" in line else line
            for line in (run.parent / "nets.yaml").read_text().splitlines()
            if "compare" not in line
        )
    )
    assert main([*command, "--config", str(run.parent / "without.yaml")]) == 0
    assert "the networks are there, and other layers of them will be compared" in capsys.readouterr().out
    assert (run / "networks/vit/weights.safetensors").stat().st_mtime_ns == before
    assert list(raycv.open_run(str(run)).networks) == ["vit", "conv", "conv2", "copy"]
    assert raycv.open_run(str(run)).networks["conv"].layers == ("blocks.0~0~deep",)
    for path, content in kept.items():
        path.write_bytes(content)


def test_each_network_runs_once_a_batch_whatever_is_compared() -> None:
    trust.allow(["tests.support.nets:tokens", "tests.support.nets:convolutions"])
    specs = [
        NetworkSpec(
            name=name,
            model=f"tests.support.nets:{name}",
            classes=10,
            seed=1,
            layers=("x",),
            preprocessing=way,
            places=(Place(module=modules[0], grid=()),),
            across=modules,
            as_built=True,
        )
        for name, way, modules in (("tokens", WAY, ("blocks.0", "blocks.1")), ("convolutions", OTHER_WAY, ("0", "1")))
    ]
    groups = groups_of(specs)
    assert set(groups) == {NETS, NULL, ACROSS}
    nets: dict[str, torch.nn.Module | Recording] = {spec.name: build(spec) for spec in specs}
    nets |= {spec.name: untrained(spec) for spec in groups[NULL]}
    calls = dict.fromkeys(nets, 0)
    for name, net in nets.items():
        assert isinstance(net, torch.nn.Module)
        net.register_forward_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    collector = Collector(groups, nets, torch.device("cpu"))
    numbers = np.arange(64)
    pixels = {
        way.resizing: np.random.default_rng(0).integers(0, 256, (64, way.resize, way.resize, 3), dtype=np.uint8)
        for way in (WAY, OTHER_WAY)
    }
    pilot = collector.pilot(pixels, numbers)
    before = dict(calls)
    partial = collector.partial(pixels, numbers, pilot, 1000)
    assert {name: calls[name] - before[name] for name in calls} == dict.fromkeys(calls, 1)
    assert [rows.shape for rows in partial.rows[Key(ACROSS, ACROSS)]] == [(64, 8), (64, 8), (64, 6), (64, 8)]
    assert Key(ACROSS, ACROSS) not in {key for _, key in partial.samples}


def test_a_recording_gives_the_samples_of_its_ids() -> None:
    values = np.arange(12, dtype=np.float16).reshape(6, 2)
    given = Recording(recorded("r", {"x": values}), np.array([5, 4, 3, 2, 1, 0]))
    found = given.rows(["x"], np.array([0, 2]), torch.device("cpu"))["x"]
    assert found.tolist() == [[10.0, 11.0], [6.0, 7.0]]
    assert found.dtype is torch.float32


def test_the_same_from_python(run: Path, images: Path, tmp_path: Path) -> None:
    """In a run of its own, and equal to a comparison in this process."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 6)).astype(np.float32)
    names_of = {net: [f"{net}{n}" for n in range(6)] for net in "ab"}
    one = pd.DataFrame(x, columns=names_of["a"], index=[f"image {n}" for n in range(400)])
    noisy = x[:, ::-1] + 0.1 * rng.standard_normal((400, 6)).astype(np.float32)
    (tmp_path / "parts").mkdir()
    for part in range(2):
        one[part * 200 : part * 200 + 200].to_parquet(tmp_path / "parts" / f"{part}.parquet")
    pd.DataFrame(noisy, one.index, names_of["b"]).sample(frac=1, random_state=1).to_parquet(tmp_path / "b.parquet")
    files = {"a": str(tmp_path / "parts"), "b": str(tmp_path / "b.parquet")}
    kept = raycv.compare(files, run=str(tmp_path / "run"))
    here = raycv.compare(files)
    assert kept.units()["unit_name"].tolist() == here.units()["unit_name"].tolist() == names_of["a"] + names_of["b"]
    expected = np.corrcoef(x, noisy, rowvar=False)[:6, 6:]
    np.testing.assert_allclose(kept.correlation("activations", "a", "b"), expected, atol=1e-6)
    names = "activations", "a", "b"
    np.testing.assert_allclose(kept.correlation(*names), here.correlation(*names), atol=1e-6)
    pd.testing.assert_frame_equal(
        kept.matching("bipartite")[["unit_a", "unit_b"]], here.matching("bipartite")[["unit_a", "unit_b"]]
    )
    with pytest.raises(UserError, match="a is Linear, which other machines cannot be given; on Ray name a model"):
        raycv.compare({"a": torch.nn.Linear(2, 2), "b": files["b"]}, run=str(tmp_path / "other"))
    with pytest.raises(UserError, match="There is no file"):
        raycv.compare({"a": "nowhere.npy", "b": files["b"]}, run=str(tmp_path / "other"))
    assert main(["align", "--run", str(tmp_path / "run")]) == 0
    units = raycv.open_run(str(tmp_path / "run")).table("units")
    assert units["unit_name"].tolist() == names_of["a"] + names_of["b"]


@pytest.mark.slow
def test_rare_units_of_a_wide_layer_are_told_by_eight_folds(tmp_path: Path, ray_cluster: None) -> None:
    """A unit of five folds, mostly of one half, is no rare one."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 1030)).astype(np.float32)
    fold_of = np.empty(400, np.int64)
    for shard in shards(400, folds=8, shard_size=256):
        fold_of[shard.images] = shard.fold
    x[:, :3] *= 1e-3
    x[np.flatnonzero(fold_of == 5)[:3], 0] = 9
    for fold in (0, 1, 2, 3, 6):
        x[np.flatnonzero(fold_of == fold)[0], 1] = 9
    x[:, 2] = 4
    np.save(tmp_path / "a.npy", x)
    np.save(tmp_path / "b.npy", x[:, ::-1] + 1e-4 * rng.standard_normal(x.shape).astype(np.float32))
    files = {"a": str(tmp_path / "a.npy"), "b": str(tmp_path / "b.npy")}
    found = raycv.compare(files, run=str(tmp_path / "run"))
    units = found.units().query("net == 'a'")
    assert np.flatnonzero(units["is_rare"]).tolist() == [0]
    assert np.flatnonzero(units["is_dead"]).tolist() == [2]
    partners = found.matching().query("net_a == 'a'")
    assert partners["unit_b"].tolist()[:5] == [-1, 1028, -1, 1026, 1025]
    assert partners["q_value"].isna().tolist()[:3] == [True, False, True]
    assert main(["align", "--run", str(tmp_path / "run")]) == 0
    layers = raycv.open_run(str(tmp_path / "run")).table("layers")
    assert layers[["units", "dead_units", "rare_units"]].values.tolist()[0] == [1030, 1, 1]
    kept = raycv.compare(files, run=str(tmp_path / "kept"), keep_rare=True)
    assert kept.matching().query("net_a == 'a'")["unit_b"].tolist()[:3] == [1029, 1028, -1]
