"""The command line: what a person meets who starts with nothing, or types something wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import raycv
from raycv.cli import main
from raycv.commands import COMMANDS
from raycv.config import StageConfig
from tests.support.commands import failing, typed


def test_stages_out_of_order_say_what_to_run_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = str(tmp_path / "empty")
    assert "run `raycv train` first" in failing(capsys, "collect", "--run", empty)
    assert "run `raycv collect` first" in failing(capsys, "align", "--run", empty)
    assert "no table 'units' yet" in failing(capsys, "figures", "--run", empty)
    assert not Path(empty).exists()  # nothing half-written


def test_wrong_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "`raycv` has no command 'trian'" in failing(capsys, "trian")
    assert "`raycv train` has no flag --sead" in failing(capsys, "train", "--sead", "3")
    assert "--shard-size was given '0'" in failing(capsys, "collect", "--shard-size", "0")
    assert "--shard-size was given 'many'" in failing(capsys, "collect", "--shard-size", "many")
    assert "expected a local path, s3://bucket/prefix, gs://" in failing(capsys, "align", "--run", "ftp://bucket/run")


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"raycv {raycv.__version__}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for command in (
        "run",
        "study",
        "attribute",
        "train",
        "collect",
        "align",
        "sweep mapping",
        "sweep clusters",
        "patches",
        "report",
        "prune",
        "stitch",
        "merge",
        "tables",
    ):
        assert f"\n  {command} " in said
    assert "\nAfter a run:\n" in said


@pytest.mark.parametrize(
    ("words", "listed"),
    [
        (["help"], ["sweep clusters", "report"]),
        (["help", "sweep"], ["mapping", "clusters"]),
        (["sweep", "--help"], ["mapping", "clusters"]),
        (["help", "train"], ["Images:", "Networks:", "Training:", "Processors:", "[default: 1,2,3,4]"]),
        (["train", "--help"], ["--schedule one-cycle|step", "--seeds integer,...", "Example: raycv train --run "]),
        (["help", "sweep", "clusters"], ["-k, --k integer|paper,...", "Example: raycv sweep clusters --run "]),
        (["run", "--help"], ["Mapping layers:", "Clusters:", "Pass:", "Example: raycv run --run "]),
    ],
)
def test_help(words: list[str], listed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    said = " ".join(capsys.readouterr().out.split())
    for text in listed:
        assert text in said
    assert "(1, 2" not in said


def test_every_example_is_allowed() -> None:
    for name, command in COMMANDS.items():
        config = typed(command.settings, *command.example.split())
        assert not isinstance(config, StageConfig) or config.run.startswith("runs/"), name


def test_nothing_typed_is_answered_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Start with: raycv run" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_flags_and_values(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_RAYCV_COMPLETE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("raycv tr", "train"),
        ("raycv sweep ", "clusters"),
        ("raycv train --sch", "--schedule"),
        ("raycv train --schedule ", "one-cycle"),
    ],
)
def test_what_a_shell_is_offered(words: str, offered: str) -> None:
    given = {"_RAYCV_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    done = subprocess.run([sys.executable, "-m", "raycv"], env={**os.environ, **given}, capture_output=True, text=True)
    assert f"plain,{offered}\n" in done.stdout
