"""The command line: what a person meets who starts with nothing, or types something wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

import raycv
from raycv.cli import main
from tests.support.commands import failing


def test_stages_out_of_order_say_what_to_run_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = str(tmp_path / "empty")
    assert "run `raycv train` first" in failing(capsys, "collect", "--run", empty)
    assert "run `raycv collect` first" in failing(capsys, "align", "--run", empty)
    assert "no table 'matchings' yet" in failing(capsys, "figures", "--run", empty)
    assert not Path(empty).exists()  # nothing half-written


def test_wrong_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "There is no command 'trian'" in failing(capsys, "trian")
    assert "unrecognized arguments: --sead 3" in failing(capsys, "train", "--sead", "3")
    assert "--shard-size was given '0'" in failing(capsys, "collect", "--shard-size", "0")
    assert "--shard-size was given 'many'" in failing(capsys, "collect", "--shard-size", "many")
    assert "expected a local path or s3://bucket/prefix" in failing(capsys, "align", "--run", "gs://bucket/run")


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"raycv {raycv.__version__}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for command in (
        "run",
        "study",
        "train",
        "collect",
        "align",
        "sweep mapping",
        "sweep clusters",
        "patches",
        "report",
        "tables",
    ):
        assert f"\n  {command} " in said
