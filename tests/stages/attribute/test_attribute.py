"""A small attribution on real images, what it leaves, how it goes on after kill -9, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch

import raycv
from raycv.cli import main
from raycv.config import AttributeConfig, TrainConfig
from raycv.data.preprocessing import Resize
from raycv.data.sources import open_source
from raycv.networks.catalogue import preprocessing_of
from raycv.networks.checkpoints import weights_of
from raycv.networks.models import load_weights
from raycv.networks.stored import stored
from raycv.run.store import RunStore
from tests.support.commands import failing

CELLS = "true,untrained,same_weights,half,disjoint_halves"
SETTINGS = ("--seeds", "1,2,3,4", "--width", "4", "--epochs", "1", "--layers", "conv1,conv2", "--learning-rate", "0.02")


def weights(folder: Path, net: str) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / f"networks/{net}/weights.safetensors")


def best_correlations(run: RunStore, images: Path) -> dict[tuple[str, str], float]:
    """Of conv1, by ordered pair of networks, from the weights in float64, without raycv's moments."""
    source = open_source(str(images), "validation")
    pixels, _ = source.decode(np.arange(len(source)), Resize(32))
    inputs = preprocessing_of("small-alexnet").evaluation(torch.from_numpy(pixels))
    seen = {}
    with torch.inference_mode():
        for one in stored(run):
            net = load_weights(one.spec, weights_of(run, one))
            seen[one.spec.name] = net.get_submodule("conv1")(inputs).movedim(1, -1).reshape(-1, 4).double().numpy()
    found = {}
    for a, first in seen.items():
        for b, second in seen.items():
            if a != b:
                cross = np.abs(np.corrcoef(first.T, second.T)[:4, 4:])
                found[a, b] = float(cross.max(1).mean())
    return found


@pytest.mark.slow
def test_an_attribution_is_made_of_runs_and_goes_on_after_kill_9(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ray_cluster: None
) -> None:
    folder = tmp_path / "attribution"
    command = ["attribute", "--run", str(folder), "--data", str(images), *SETTINGS, "--cells", CELLS]
    killed_in_a_cell(command, folder / "cells/same_weights/networks")
    first = folder / "cells/true/networks/net1/weights.safetensors"
    written = first.stat().st_mtime_ns
    assert main(command) == 0
    said = capsys.readouterr().out
    assert first.stat().st_mtime_ns == written
    assert said.count("train: already finished") == 2
    assert "disjoint_halves - half" in said

    cells = {name: folder / "cells" / name for name in CELLS.split(",")}
    one, other = weights(cells["true"], "net1"), weights(cells["same_weights"], "net1")
    assert torch.equal(one["conv1.0.weight"], other["conv1.0.weight"])  # the first one's weights and order are its own
    alike = {name: raycv.open_run(str(path)).table("alignment")["weight_correlation"] for name, path in cells.items()}
    assert (alike["same_weights"] > 0.5).all()
    assert (alike["true"] < 0.4).all()
    for number in (1, 2, 3, 4):
        one, other = (weights(cells[name], f"net{number}") for name in ("half", "disjoint_halves"))
        assert torch.equal(one["conv1.0.weight"], other["conv1.0.weight"]) == (number % 2 == 1)

    by_hand = {name: best_correlations(RunStore(str(path)), images) for name, path in cells.items()}
    of_both = by_hand["disjoint_halves"]
    by_hand["disjoint_halves"] = {pair: of_both[pair] for pair in of_both if (int(pair[0][3:]) + int(pair[1][3:])) % 2}
    table = pd.read_parquet(folder / "tables/attribution_cells")
    rows = table.query("layer == 'conv1' and measure == 'correlation'").set_index("cell")
    for name, values in by_hand.items():
        assert rows.loc[name, "value"] == pytest.approx(np.mean(list(values.values())), abs=1e-4)
    contrasts = raycv.open_run(str(folder)).table("attribution").query("layer == 'conv1' and measure == 'correlation'")
    for row in contrasts.to_dict("records"):
        expected = np.mean(list(by_hand[row["cell"]].values())) - np.mean(list(by_hand[row["against"]].values()))
        assert row["difference"] == pytest.approx(expected, abs=2e-4)
    names = {"attribution.png", "attribution-conv1.png", "attribution-conv2.png", "attribution-fc8.png"}
    assert {path.name for path in (folder / "figures").iterdir()} == names

    assert main(["show", "--run", str(folder)]) == 0
    assert "same_weights - true" in capsys.readouterr().out
    assert main(["plan", "--run", str(folder)]) == 0
    assert "0 of 5 cells to do, 0 networks to train" in capsys.readouterr().out
    before = {name: pd.read_parquet(folder / "tables" / name) for name in ("attribution", "attribution_cells")}
    assert main(command) == 0
    assert "train: already finished" in capsys.readouterr().out
    for name, frame in before.items():
        pd.testing.assert_frame_equal(pd.read_parquet(folder / "tables" / name), frame, check_exact=True)


def killed_in_a_cell(command: list[str], reached: Path) -> None:
    """Run a command of its own process until this folder is there, and end it by kill -9."""
    process = subprocess.Popen([sys.executable, "-m", "raycv", *command], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not reached.exists():
        assert process.poll() is None, "it has ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_settings_that_cannot_be_used(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "attribution"

    def refused(*flags: str) -> str:
        return failing(capsys, "attribute", "--run", str(folder), "--data", str(images), *flags)

    assert "there is no cell of this name; allowed are true, untrained" in refused("--cells", "true,tru")
    assert "disjoint_halves is compared with half, which is none of the others; add it" in refused(
        "--cells", "true,disjoint_halves"
    )
    assert "all must differ, and half is there twice" in refused("--cells", "true,half,half")
    assert "needs 4 seeds or more" in refused("--seeds", "1,2,3")
    assert "leave train_part out" in refused("--train-part", "half")
    assert "leave fork_epoch out" in refused("--fork-epoch", "1")
    assert "leave checkpoints or networks out" in refused("--checkpoints", "a.pt,b.pt,c.pt,d.pt")
    assert "--train-part half leaves 320 images for a network, less than one step of 400" in refused(
        "--batch-size", "400"
    )
    assert "has no layer 'conv6'" in refused("--layers", "conv6")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("[true, {name: mine, settings: {seeds: 3}}]", "seeds is no setting of a cell"),
        ("[true, {name: half, settings: {train_part: halves}}]", "half is a cell of raycv's own"),
        ("[true, {name: mine, settings: {train_part: third}}]", "cell mine: train_part: input should be 'all'"),
        (
            "[true, {name: mine, settings: {first_weights: same, width: [4, 4, 4, 6]}}]",
            "mine: first_weights is for",
        ),
        ("[true, {name: mine, against: other}]", "mine is compared with other, which is none of the others"),
        ("[true, {name: Mine}]", "should match pattern"),
        ("[true, {name: mine, settings: {train_part: half, train_classes: half}}]", "both say which images"),
    ],
)
def test_cells_of_a_file_that_cannot_be_used(
    cells: str, said: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cells.yaml"
    file.write_text(f"cells: {cells}\n")
    given = ("--run", str(tmp_path / "attribution"), "--data", str(images), "--config", str(file))
    assert said in failing(capsys, "attribute", *given)
    assert not (tmp_path / "attribution").exists()


def test_disjoint_classes_of_three(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for split in ("train", "validation"):
        table = pq.read_table(images / f"{split}.parquet").replace_schema_metadata(None)
        pq.write_table(table.filter(pc.less(table["label"], pa.scalar(3))), few / f"{split}.parquet")
    given = ("--run", str(tmp_path / "run"), "--data", str(few), "--cells", "true,half_classes", "--batch-size", "8")
    assert "have 3 classes, and --train-classes needs 4 or more" in failing(capsys, "attribute", *given)
    assert not (tmp_path / "run").exists()


def test_a_plan_says_how_many_trainings(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--run", str(tmp_path / "run"), "--data", str(images), "--epochs", "2")
    assert main(["plan", *given, "--cells", "true,untrained,half"]) == 0
    said = capsys.readouterr().out
    assert "3 of 3 cells to do, 8 networks to train" in said
    assert "4 networks, 320 images each, 2 epochs" in said
    assert f"in all {4 * 2 * (640 + 320):,} images are seen in training" in said
    assert "train needs up to" in said


def test_cells_of_a_file_are_written_as_settings_are(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cells.yaml"
    own = "{name: own, against: null, settings: {model: 'benchmarks.equivariant:network', layers: 'conv1,fc7'}}"
    file.write_text(f"cells: [true, {{name: wide, settings: {{width: 6, epochs: 1}}}}, {own}]\n")
    given = ("--run", str(tmp_path / "run"), "--data", str(images), "--config", str(file), "--epochs", "2")
    assert main(["plan", *given]) == 0
    said = capsys.readouterr().out
    assert "3 of 3 cells to do, 12 networks to train" in said
    file.write_text("cells: [true, {name: wide, settings: {width: wide}}]\n")
    assert "cell wide: width" in failing(capsys, "plan", *given)


def test_quick_settings_stand_back_behind_given_ones() -> None:
    config = AttributeConfig(quick=True, epochs=2)
    true, untrained = config.all_cells[:2]
    settings = config.of_cell(true, TrainConfig, "there")
    assert (settings.run, settings.epochs, settings.width, settings.train_images) == ("there", 2, (8,), 4000)
    assert config.of_cell(untrained, TrainConfig, "there").checkpoints == ("untrained",) * 4
    assert AttributeConfig().of_cell(true, TrainConfig, "there").width is None


def test_an_attribution_is_no_run(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, attribution = tmp_path / "run", tmp_path / "attribution"
    for folder, kind in ((run, {}), (attribution, {"attribution": True})):
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps(kind | {"config": {}, "stages": {}}))
    assert "is an ordinary run, not an attribution" in failing(capsys, "attribute", "--run", str(run))
    said = failing(capsys, "train", "--run", str(attribution), "--data", str(images))
    assert f"is the folder of an attribution, not a run; name one of its runs, {attribution}/cells/CELL" in said
    assert "is the folder of an attribution, not a study" in failing(capsys, "study", "--run", str(attribution))
    assert "has no numbers to show yet" in failing(capsys, "show", "--run", str(attribution))
