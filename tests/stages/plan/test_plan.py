"""`raycv plan` where nothing is done, and after a whole run."""

from __future__ import annotations

from pathlib import Path

import pytest

from raycv.cli import main
from raycv.memory import IDLE_PROCESS
from raycv.run import record
from raycv.run.store import RunStore
from raycv.stages.registry import OF_RUN
from tests.support.commands import failing

STAGES = [stage.name for stage in OF_RUN]
TINY = ("--seeds", "1,2", "--width", "6", "--epochs", "2")


def planned(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[dict[str, str], str]:
    """What is said of each stage, and the rest."""
    assert main(["plan", *flags]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    return {line[2:17].strip(): line[17:].strip() for line in lines[: len(STAGES)]}, "\n".join(lines[len(STAGES) :])


def test_a_new_run_is_all_to_do(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    stages, rest = planned(capsys, "--run", str(run), "--data", str(images), *TINY)
    assert stages == dict.fromkeys(STAGES, "do    it has not been done")
    assert not run.exists()
    size = sum(file.stat().st_size for file in images.iterdir())
    assert f"train reads {size / 1e6:.1f} MB of images" in rest
    assert "train needs up to 2 times" in rest
    for stage in STAGES:
        if stage != "report":  # what it needs follows from the weights of mapping layers, which are not there yet
            needed = rest.split(f"{stage} needs up to ")[1].split(" GB")[0]
            assert float(needed.split()[-1]) >= round(IDLE_PROCESS / 1e9, 1)
    assert "no rate is known for train, collect" in rest


def test_mistakes_are_those_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is not there" in failing(capsys, "plan", "--run", str(tmp_path / "run"), "--data", str(tmp_path / "none"))
    assert "--price-per-hour was given '-1'" in failing(capsys, "plan", "--price-per-hour", "-1")


@pytest.mark.slow
def test_after_a_run_only_what_has_changed(
    images: Path, tmp_path: Path, ray_cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    assert main(["run", "--run", run, "--data", str(images), *TINY]) in (0, 3)
    capsys.readouterr()
    stages, rest = planned(capsys, "--run", run)
    assert stages == dict.fromkeys(STAGES, "skip  it is finished with these settings")
    assert not rest
    before = RunStore(run).sizes()
    stages, rest = planned(capsys, "--run", run, "--decays", "0,0.01", "--price-per-hour", "3.6")
    todo = {name: what for name, what in stages.items() if what.startswith("do")}
    assert list(todo) == ["sweep mapping", "figures", "report"]
    assert "settings have changed: decays 0.0,1e-05" in todo["sweep mapping"]
    assert "it comes after sweep mapping" in todo["figures"]
    spent = record.read(RunStore(run))["stages"]
    seconds = sum(sum(spent[name]["seconds"].values()) for name in todo)
    assert f"about {seconds:,.0f} s at the rates" in rest
    assert f"which cost {seconds / 1000:.2f}" in rest
    stages, rest = planned(capsys, "--run", run, "--epochs", "4")
    assert "epochs 2 -> 4" in stages["train"]
    assert all(what.startswith("do    it comes after") for name, what in stages.items() if name != "train")
    took = spent["train"]["seconds"]
    assert f"(about {took['start-up'] + 2 * took['training'] + took['closing']:,.0f} s)" in stages["train"]
    assert RunStore(run).sizes() == before
