"""Results of trials: what an interrupted sweep has left, and several sweeps side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.run.trial_results import TrialResults

NEW, OLD = "0123456789abcdef", "fedcba9876543210"  # of settings
TRIALS = ("conv1/net1-net2", "conv1/net2-net1", "fc8/net1-net2")


@pytest.fixture
def results(tmp_path: Path) -> TrialResults:
    results = TrialResults(RunStore(str(tmp_path)), "sweeps/one")
    columns = BY_NAME["mapping_units"].schema.names
    rows = pd.DataFrame({"source_net": ["net1"], "target_net": ["net2"]}).reindex(columns=columns)
    for trial in TRIALS[:2]:
        results.keep(trial, {"mapping_units": rows})
    results.leave_out(TRIALS[2], "no edge")
    return results


def test_results_are_found_again(results: TrialResults, capsys: pytest.CaptureFixture[str]) -> None:
    assert results.finished() == {*TRIALS}
    assert results.left_out(TRIALS) == {TRIALS[2]: "no edge"}
    assert len(results.rows(TRIALS[0], "mapping_units")) == 1
    assert capsys.readouterr().out == ""


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "text": lambda content: b"text",
    "other JSON": lambda content: b"{}",
    "a list": lambda content: b"[]",
    "other tables": lambda content: json.dumps({"left_out": "", "tables": ["../units"]}).encode(),
    "other columns": lambda content: pd.DataFrame({"a": [1]}).to_parquet(),
}


@pytest.mark.parametrize("form", DAMAGED)
@pytest.mark.parametrize("file", ["done.json", "mapping_units.parquet"])
def test_damaged_results_are_computed_again(
    results: TrialResults, tmp_path: Path, file: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sweeps/one" / TRIALS[1] / file
    path.write_bytes(DAMAGED[form](path.read_bytes()))
    assert results.finished() == {TRIALS[0], TRIALS[2]}
    assert f"left damaged: {TRIALS[1]}\n" in capsys.readouterr().out


def test_a_result_without_its_rows_is_computed_again(results: TrialResults, tmp_path: Path) -> None:
    (tmp_path / "sweeps/one" / TRIALS[0] / "mapping_units.parquet").unlink()
    assert results.finished() == {*TRIALS[1:]}


def test_a_sweep_that_ends_removes_its_own_trials_alone(store: RunStore) -> None:
    for sweep in (f"mapping-{OLD}", f"mapping-{NEW}", f"clusters-{NEW}"):
        TrialResults(store, f"sweeps/{sweep}").leave_out("conv1/net1-net2", "no edge")
    ended, going_on = TrialResults(store, f"sweeps/mapping-{NEW}"), TrialResults(store, f"sweeps/clusters-{NEW}")
    ended.remove()
    assert ended.finished() == set()
    assert going_on.finished() == {"conv1/net1-net2"}
    assert store.list("sweeps") == [f"sweeps/clusters-{NEW}/conv1/net1-net2/done.json"]
    going_on.remove()
    assert store.list("") == []
