"""A small study on real images, what it leaves, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import raycv
from raycv.cli import main
from raycv.run.schema import GROWING
from raycv.stages.registry import OF_RUN
from tests.support.commands import failing

SETTINGS = ("--seeds", "1,2,3", "--epochs", "1", "--layers", "conv1,conv2", "--learning-rate", "0.02")


@pytest.mark.slow
def test_a_study_is_made_of_runs_and_goes_on(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ray_cluster: None
) -> None:
    folder = tmp_path / "study"
    common = ("study", "--run", str(folder), "--data", str(images), *SETTINGS)
    assert main([*common, "--widths", "4,8", "--images", "640"]) == 0
    assert "combination 2 of 2: width 8, 640 training images" in capsys.readouterr().out
    weights = folder / "runs/width-4-images-640/networks/net1/weights.safetensors"
    written = weights.stat().st_mtime_ns
    assert main([*common, "--images", "640,320"]) == 0  # a study remembers its settings
    said = capsys.readouterr().out
    assert weights.stat().st_mtime_ns == written
    assert said.count("train: already finished") == said.count("align: already finished") == 2
    assert "a doubling of the width adds" in said
    assert "a doubling of the number of training images adds" in said
    study = pd.read_parquet(folder / "tables/study")
    assert sorted(set(zip(study["width"], study["images"], strict=True))) == [(4, 320), (4, 640), (8, 320), (8, 640)]
    assert list(study.loc[study["width"] == 8, "units"]) == [8, 21, 10] * 2
    slopes = raycv.open_run(str(folder)).table("study_slopes")
    assert len(slopes) == 3 * len(GROWING) * 2
    assert {path.name for path in (folder / "figures").iterdir()} == {"study-width.png", "study-images.png"}
    run = raycv.open_run(str(folder / "runs/width-8-images-320"))
    alignment, by_layer = (
        run.table("alignment", method="semi", similarity="correlation"),
        run.table("recurrence_by_layer"),
    )
    rows = study[(study["width"] == 8) & (study["images"] == 320)].set_index("layer")
    expected = alignment.groupby("layer")[["excess", "prerelu_excess", "untrained_excess"]].mean().loc[rows.index]
    np.testing.assert_allclose(rows[expected.columns], expected)
    for share in ("partner_share", "recurring_share"):
        ends = by_layer[by_layer["quantity"] == share].set_index("layer").loc[rows.index, ["value", "low", "high"]]
        np.testing.assert_allclose(rows[[share, f"{share}_low", f"{share}_high"]], ends)
    assert main(["align", "--run", run.uri]) in (0, 3)  # networks that are barely trained may fail the health check
    assert "already finished" in capsys.readouterr().out


def test_settings_that_cannot_be_used(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "study"

    def refused(*flags: str) -> str:
        return failing(capsys, "study", "--run", str(folder), "--data", str(images), *flags)

    assert "--widths was given" in refused("--widths", "0,6")
    assert "--images was given" in refused("--images", "100,none")
    assert "has 640 training images, fewer than the 641 asked for" in refused("--images", "100,641")
    assert "the widths must differ, found 6, 6" in refused("--widths", "6,6")
    assert "takes widths and images, not width" in refused("--width", "6")
    assert "takes widths and images, not width" in refused("--train-images", "100")
    assert "needs several widths or several numbers of images" in refused("--widths", "6")
    assert "varies the width of one model, small-alexnet or alexnet; found resnet18" in refused("--model", "resnet18")
    assert "give two or more seeds" in refused("--seeds", "1")
    assert "has no layer 'conv6'" in refused("--layers", "conv6")
    assert not any(path.is_file() for path in folder.rglob("*"))  # nothing half-written


def test_a_run_is_no_study_and_a_study_no_run(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, study = tmp_path / "run", tmp_path / "study"
    for folder, kind in ((run, {}), (study, {"study": True})):
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps(kind | {"config": {}, "stages": {}}))
    data = ("--data", str(images))
    assert "is an ordinary run, not a study" in failing(capsys, "study", "--run", str(run), *data)
    for command in ("run", *(stage.name for stage in OF_RUN)):
        said = failing(capsys, *command.split(), "--run", str(study))
        assert f"is the folder of a study, not a run; name one of its runs, {study}/runs/width-WIDTH-images-" in said
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    assert "is not empty and no run" in failing(capsys, "study", "--run", str(other), *data)
