"""Commands that write nothing: what they say of files and of two runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import raycv
from raycv.cli import main
from raycv.run import record, tables
from raycv.run.schema import ALL
from raycv.run.store import RunStore
from tests.support.commands import failing
from tests.support.report_run import write_run


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_tables_are_listed_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    listed = said(capsys, "tables").splitlines()[2:]
    assert [line.split()[0] for line in listed] == [table.name for table in ALL]
    assert max(map(len, listed)) < 150
    explained = said(capsys, "tables", "matchings", "units")
    for column in ("partner_stability", "unit_name"):
        assert f"\n    {column} " in explained
    assert "There is no table 'matching'; allowed are training, units" in failing(capsys, "tables", "matching")


def test_files_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 12))
    both = {"near": x[:, ::-1] + rng.standard_normal(x.shape), "far": rng.standard_normal(x.shape)}
    np.save(tmp_path / "one.npy", x)
    np.savez(tmp_path / "two.npz", near=both["near"], far=both["far"])
    one, two = str(tmp_path / "one.npy"), str(tmp_path / "two.npz")
    lines = said(capsys, "compare", one, f"b={two}", "--all").splitlines()
    rows = {tuple(line.split()[:4]): float(line.split()[4]) for line in lines if line.split()[:1] == ["one"]}
    expected = raycv.compare({"one": x, "b": both}, compare="all").alignment(["mean_absolute"]).set_index("layer_b")
    assert rows == {
        ("one", "activations", "b", layer): round(float(expected["mean_absolute"][layer]), 3) for layer in both
    }
    assert "Two recordings are named 'one'" in failing(capsys, "compare", one, one)
    assert "compare needs two or more recordings; found 1" in failing(capsys, "compare", one)
    assert "missing argument" in failing(capsys, "compare")
    assert "There is no file nowhere.npy" in failing(capsys, "compare", one, "nowhere.npy")


def write_averages(store: RunStore, epochs: int, low: float, high: float) -> str:
    """A run of one layer, whose mean has this interval."""
    record.finish(store, "align", "1", {"epochs": epochs, "seeds": [1, 2]}, {})
    about = {"layer": "conv1", "similarity": "correlation", "method": "semi", "untrained": 0.1}
    intervals = {"mean": (0.5, low, high), "excess": (0.1, 0.0, 0.2)}
    rows = [
        about | dict(zip(("quantity", "value", "networks_low", "networks_high"), (name, *found), strict=True))
        for name, found in intervals.items()
    ]
    tables.write(store, "alignment_by_layer", pd.DataFrame(rows))
    return store.uri


def test_two_runs_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write_averages(RunStore(str(tmp_path / "first")), 3, 0.4, 0.6)
    assert said(capsys, "diff", first, first).startswith("The settings are the same.\n")
    second = write_averages(RunStore(str(tmp_path / "second")), 5, 0.61, 0.7)
    lines = [" ".join(line.split()) for line in said(capsys, "diff", first, second).splitlines()]
    assert lines[0] == "epochs: 3 | 5"
    assert "conv1 mean 0.500 [0.400, 0.600] 0.500 [0.610, 0.700] apart" in lines
    assert "conv1 excess 0.100 [0.000, 0.200] 0.100 [0.000, 0.200]" in lines
    assert "There is no run in" in failing(capsys, "diff", first, str(tmp_path / "third"))
    assert not (tmp_path / "third").exists()


def test_the_numbers_of_a_run_are_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(RunStore(str(tmp_path / "run")))
    before = sorted(tmp_path.rglob("*"))
    assert "excess" in said(capsys, "show", "--run", str(tmp_path / "run"))
    assert sorted(tmp_path.rglob("*")) == before
    RunStore(str(tmp_path / "new")).write_json("run.json", {"config": {}, "stages": {}})
    assert "has no numbers to show yet; run `raycv align` first" in failing(
        capsys, "show", "--run", str(tmp_path / "new")
    )
