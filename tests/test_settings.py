"""Settings: from flags, environment, settings file and record, and clumsy ones from anywhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from raycv.config import CollectConfig, ExportConfig, RunConfig, TrainConfig
from raycv.settings import Given, load
from raycv.stages.registry import OF_RUN
from tests.support.commands import failing, typed

CLUMSY_FLAGS = [
    ("trian", "(did you mean train?)"),
    ("sweep maping", "(did you mean mapping?)"),
    ("sweep mapping clusters", "unexpected extra argument (clusters)"),
    ("train now", "unexpected extra argument (now)"),
    ("help trian", "(did you mean train?)"),
    ("help train it", "has no commands below it, found 'it'"),
    ("completion bsh", "'bsh' is not one of 'bash', 'zsh', 'fish'"),
    ("tables --bogus", "`raycv tables` has no flag --bogus"),
    ("--hepl", "(did you mean --help?)"),
    ("train --sead 3", "no flag --sead (did you mean --seeds?)"),
    ("train --batch_size 3", "no flag --batch_size (did you mean --batch-size?)"),
    ("align --epochs 3", "`raycv align` has no flag --epochs"),
    ("train -x", "has no flag -x"),
    ("train --quiet=yes", "--quiet was given a value"),
    ("train --quiet --verbose", "contradict each other"),
    ("train --seeds", "--seeds was given no value"),
    ("train --data --seeds 1,2", "--data was given no value: --seeds after it is a flag"),
    ("train --seeds 1 --seeds 2", "--seeds was given 2 times; give it once, with commas"),
    ("train --epochs 1 --epochs 2", "--epochs was given 2 times"),
    ("train --layers=", "--layers was given '': it should have at least 1 value"),
    ("train --layers conv1,conv1", "--layers was given 'conv1,conv1': all must differ"),
    ("train --layers conv1,,conv2", "a value is missing before or after a comma"),
    ("train --seeds=", "--seeds was given ''"),
    ("train --seeds 1,1", "all must differ, and 1 is there twice"),
    ("train --seeds -1,-2", "--seeds was given '-1,-2': it should be greater than or equal to 0"),
    ("train --seeds 1,zwei", "--seeds was given '1,zwei': it should be a whole number, not 'zwei'"),
    ("train --seeds 99999999999999999999", "it should be less than"),
    ("train --seeds 1,2,3 --width 6,9", "width has 2 values for 3 networks"),
    ("train --width=", "--width was given ''"),
    ("train --width 0", "--width was given '0': it should be greater than or equal to 1"),
    ("train --checkpoints a,b,", "--checkpoints was given 'a,b,', in which a value is missing"),
    ("train --checkpoints a,b --seeds 1", "there are 2 checkpoints for 1 seeds"),
    ("train --epochs 1.5", "--epochs was given '1.5': it should be a whole number"),
    ("train --epochs nan", "--epochs was given 'nan'"),
    ("train --learning-rate inf", "--learning-rate was given 'inf': it should be a finite number"),
    ("train --learning-rate nan", "--learning-rate was given 'nan': it should be a finite number"),
    ("train --learning-rate fast", "--learning-rate was given 'fast': it should be a number"),
    ("train --weight-decay inf", "--weight-decay was given 'inf': it should be a finite number"),
    ("train --momentum nan", "--momentum was given 'nan': it should be a finite number"),
    ("train --momentum 1", "--momentum was given '1': it should be less than 1"),
    ("train --schedule stepwise", "it should be 'one-cycle' or 'step'"),
    ("train --device tpu", "it should be 'auto', 'cpu' or 'gpu'"),
    ("train --data=", "--data was given ''"),
    ("train --run=", "--run was given ''"),
    ("train --config=", "--config was given ''"),
    ("collect --shard-size many", "--shard-size was given 'many': it should be a whole number"),
    ("collect --image-column=", "--image-column was given ''"),
    ("align --run ftp://bucket/run", "expected a local path, s3://bucket/prefix"),
    ("sweep mapping --units-used inf", "--units-used was given 'inf': it should be a finite number"),
    ("sweep mapping --decays 0,nan", "--decays was given '0,nan': it should be a finite number, not 'nan'"),
    ("sweep mapping --loss 0.5", "--loss was given '0.5': it should be less than 0.5"),
    ("sweep mapping --solvers exact,lars", "--solvers was given 'exact,lars'"),
    ("sweep clusters --k 0", "--k was given '0'"),
    ("sweep clusters --thresholds inf", "--thresholds was given 'inf': it should be a finite number"),
]

CLUMSY_ENVIRONMENTS = [
    ({"RAYCV_SEED": "1"}, "RAYCV_SEED is no setting (did you mean RAYCV_SEEDS?)"),
    ({"RAYCV_XYZZY": "1"}, "RAYCV_XYZZY is no setting; allowed are RAYCV_CONFIG, RAYCV_RUN, "),
    ({"RAYCV_SEEDS": "1,zwei"}, "The environment variable RAYCV_SEEDS was given '1,zwei'"),
    ({"RAYCV_SEEDS": ""}, "The environment variable RAYCV_SEEDS was given ''"),
    ({"RAYCV_LEARNING_RATE": "inf"}, "RAYCV_LEARNING_RATE was given 'inf': it should be a finite number"),
    ({"RAYCV_CONFIG": "/no/such.yaml"}, "Could not read the settings file /no/such.yaml"),
    ({"RAYCV_CONFIG": "/"}, "is no file but a folder, pipe or device"),
]

CLUMSY_FILES = [
    ("", "has no settings"),
    ("- 1", "has no settings"),
    ("epochs", "has no settings"),
    ("epochs: 3: 4", "is not YAML in line 1: mapping values are not allowed here"),
    ("seeds: [1, 2", "is not YAML in line 1"),
    ("\tepochs: 3", "is not YAML in line 1"),
    ("\x00", "is not YAML"),
    ("epochs: 1\n---\nepochs: 2", "found another document"),
    ("[" * 5000, "is nested too deeply"),
    ("seeds: " + "[" * 5000 + "]" * 5000, "is nested too deeply"),
    ("epoch: 3", "unknown key 'epoch' (did you mean epochs?)"),
    ("xyzzy: 3", "unknown key 'xyzzy'; allowed are run, "),
    ("config: other.yaml", "unknown key 'config'"),
    ("? [1, 2]\n: 3", "unknown key 'a list or mapping'"),
    ("seeds: [1, 2]\nepochs: 3\nseeds: [3, 4]", "has seeds twice, in line 3 again"),
    ("batch-size: 1\nbatch_size: 2", "has batch_size twice, in line 2 again"),
    ("epochs: !!python/object/apply:os.mkdir [/tmp/never]", "neither a value nor a list of values"),
    ("epochs: !secret 3", "neither a value nor a list of values"),
    ("seeds: {first: 1}", "gives seeds in line 1 something that is neither a value nor a list"),
    ("seeds: [[1, 2]]", "neither a value nor a list"),
    ("seeds: &a [*a]", "neither a value nor a list"),
    ("epochs: [1, 2]", "epochs in the settings file {file} was given '1,2'"),
    ("seeds: [1, x]", "seeds in the settings file {file} was given '1,x': it should be a whole number, not 'x'"),
    ("learning-rate: .inf", "it should be a"),
    ("learning-rate: .nan", "it should be a"),
    ("epochs: " + "9" * 6000, "epochs in the settings file {file} was given '999"),
    ("data: |\n  one\n  two\nepochs: 0", "epochs in the settings file {file} was given '0'"),
]


@pytest.mark.parametrize(("line", "said"), CLUMSY_FLAGS)
def test_a_clumsy_command_line_is_refused_in_one_sentence(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in failing(capsys, *line.split())
    assert not list(tmp_path.iterdir())  # nothing half-written


@pytest.mark.parametrize(("variables", "said"), CLUMSY_ENVIRONMENTS)
def test_a_clumsy_environment_is_refused_in_one_sentence(
    variables: Mapping[str, str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert said in failing(capsys, "train", "--run", str(tmp_path / "run"))


@pytest.mark.parametrize(("content", "said"), CLUMSY_FILES)
def test_a_clumsy_settings_file_is_refused_in_one_sentence(
    content: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(content)
    refused = failing(capsys, "train", "--run", str(tmp_path / "run"), "--config", str(file))
    assert said.replace("{file}", str(file)) in refused
    assert len(refused) < 2000


def test_a_settings_file_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipe, bytes_ = tmp_path / "pipe", tmp_path / "bytes"
    os.mkfifo(pipe)
    bytes_.write_bytes(b"\xff\xfe\x00")
    for path, said in ((tmp_path, "no file but a folder"), (pipe, "no file but a folder"), (bytes_, "it is not text")):
        assert said in failing(capsys, "train", "--config", str(path))
    assert "No such file" in failing(capsys, "train", "--config", str(tmp_path / "none.yaml"))


def test_a_setting_means_the_same_wherever_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.yaml"
    wanted = TrainConfig(seeds=(1, 2), width=(6,), batch_size=64, learning_rate=1e-3, layers=("conv1", "fc6"))
    values = {"seeds": "1,2", "width": "6", "batch-size": "64", "learning-rate": "1e-3", "layers": "conv1, fc6"}
    arguments = [part for name, value in values.items() for part in (f"--{name}", value)]
    assert typed(TrainConfig, *arguments) == wanted
    for lines in (values, {name.replace("-", "_"): value for name, value in values.items()}):
        file.write_text("\n".join(f"{name}: {value}" for name, value in lines.items()))
        assert typed(TrainConfig, "--config", str(file)) == wanted.model_copy(update={"config": str(file)})
    file.write_text("seeds: [1, 2]\nwidth: [6]\nbatch_size: 64\nlearning_rate: 0.001\nlayers:\n- conv1\n- fc6\ndata: ~")
    assert typed(TrainConfig, "--config", str(file)) == wanted.model_copy(update={"config": str(file)})
    monkeypatch.setenv("RAYCV_CONFIG", str(file))
    assert typed(TrainConfig) == wanted.model_copy(update={"config": str(file)})
    monkeypatch.delenv("RAYCV_CONFIG")
    for name, value in values.items():
        monkeypatch.setenv(f"RAYCV_{name.replace('-', '_').upper()}", value)
    assert typed(TrainConfig) == wanted
    monkeypatch.setenv("RAYCV_THRESHOLDS", "0.1")  # of another command
    assert typed(TrainConfig) == wanted


def test_flags_come_before_environment_file_record_and_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("epochs: 3\nworkers: 3\nmomentum: 0.3")
    monkeypatch.setenv("RAYCV_EPOCHS", "2")
    monkeypatch.setenv("RAYCV_WORKERS", "2")
    flags = {"epochs": Given("--epochs", "1"), "config": Given("--config", str(file))}
    stored = {"epochs": 4, "workers": 4, "momentum": 0.4, "seeds": [4], "thresholds": [0.1]}
    found = load(TrainConfig, flags, stored)
    assert (found.epochs, found.workers, found.momentum) == (1, 2, 0.3)
    assert (found.seeds, found.model) == ((4,), ("small-alexnet",))


def test_the_runs_columns_are_those_of_its_images() -> None:
    stored = {"data": "a", "image_column": "img"}
    assert load(TrainConfig, {}, stored).image_column == "img"
    assert load(TrainConfig, {"data": Given("--data", "b")}, stored).image_column is None


def test_a_column_of_a_tree_of_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    for split in ("train", "validation"):
        for name in ("cat", "dog"):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(folder / "1.png")
    for flag in ("--image-column", "--label-column"):
        said = failing(capsys, "train", "--run", str(tmp_path / "run"), "--data", str(tmp_path / "data"), flag, "x")
        assert f"{flag} was given 'x', but" in said
        assert "holds no Parquet or tar files" in said


def test_every_stage_of_a_run_gets_its_own_settings() -> None:
    of_run = typed(RunConfig, "--run", "mine", "--checkpoints", "a.safetensors,b.safetensors", "--decays", "0.1,0")
    for stage in OF_RUN:
        part = of_run.part(stage.settings)
        assert type(part) is stage.settings
        assert part.model_dump() == {name: getattr(of_run, name) for name in stage.settings.model_fields}
        assert part.model_fields_set == of_run.model_fields_set & set(stage.settings.model_fields)
    changed = of_run.part(TrainConfig, train_images=5, decays=(1.0,))
    assert (changed.train_images, changed.checkpoints, changed.seeds) == (5, of_run.checkpoints, (1, 2))


def test_a_run_does_not_say_where_a_command_reads_and_writes() -> None:
    stored = {"run": "elsewhere", "to": "elsewhere", "config": "elsewhere.yaml", "shard_size": 64}
    assert load(ExportConfig, {}, stored).to is None
    found = load(CollectConfig, {}, stored)
    assert (found.run, found.config, found.shard_size) == (CollectConfig().run, None, 64)
