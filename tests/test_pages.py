"""The examples of the manual's pages do what the pages say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from raycv.cli import main

ROOT = Path(__file__).parent.parent


def blocks(page: str, language: str) -> list[str]:
    """The code on a page in this language."""
    return re.findall(rf"^```{language}\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL | re.MULTILINE)


def done(code: str) -> dict[str, Any]:
    """The names that an example leaves."""
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def test_a_shared_space_without_shared_units() -> None:
    (code,) = blocks("recordings.md", "python")
    rows = done(code)["found"].alignment(["mean_absolute", "excess"])
    assert (rows["mean_absolute"] > 0.5).all()
    assert (rows["excess"].abs() < 0.05).all()


def test_neurons_of_two_language_models_that_were_not_trained() -> None:
    (code,) = blocks("language_models.md", "python")
    found = done(code)["found"]
    assert found.layers == ["transformer.h.0.mlp.act", "transformer.h.1.mlp.act"]
    assert (found.alignment(["excess"])["excess"].abs() < 0.1).all()
    assert len(found.units()) == 2 * 2 * 4 * 32


def test_a_measure_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    measure = blocks("recipes.md", "python")[0]
    done(measure)
    (said,) = blocks("recipes.md", "text")
    assert capsys.readouterr().out == said


def test_a_network_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_nets.py").write_text(blocks("recipes.md", "python")[1])
    monkeypatch.chdir(tmp_path)
    (commands,) = blocks("recipes.md", "sh")
    layers, run = (line.split()[1:] for line in commands.splitlines())
    assert main(layers) == 0
    named = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()]
    chosen = run[run.index("--layers") + 1].split(",")
    assert set(chosen) <= set(named)
