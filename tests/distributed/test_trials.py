"""Trials on a real cluster: what one that dies, raises, starves or has no answer does to a sweep."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from raycv.analysis.infeasible import Infeasible
from raycv.distributed.tuning import Trial, run_trials
from raycv.errors import StageFailed, UserError
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.run.trial_results import Frames, TrialResults


@dataclass(frozen=True)
class Asked:
    """How one trial ends, while the file ``cause`` is there."""

    number: int
    end: str
    cause: Path


def trial(shared: int, asked: Asked) -> Frames:
    """A trial that ends as it was asked to."""
    if asked.end == "infeasible":
        raise Infeasible("there is no such number")
    if asked.end != "well" and asked.cause.exists():
        if asked.end == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if asked.end == "starves":
            bytearray(2**60)  # more than any machine can address; a limit would stay with the worker's process
        if asked.end == "mistake":
            raise UserError("The bucket does not exist; create it.")
        raise ValueError("operands could not be broadcast together")
    rows = {"net": "net1", "layer": "conv1", "unit": [asked.number], "mean": float(shared), "std": 0.0}
    return {"units": pd.DataFrame(rows).reindex(columns=BY_NAME["units"].schema.names)}


def trials(cause: Path, *ends: str) -> list[Trial[Asked]]:
    return [Trial(f"conv1/{number}-{end}", "data", Asked(number, end, cause)) for number, end in enumerate(ends)]


@pytest.fixture
def results(tmp_path: Path) -> TrialResults:
    return TrialResults(RunStore(str(tmp_path / "run")), "sweeps/made")


@pytest.fixture
def cause(tmp_path: Path) -> Path:
    path = tmp_path / "cause"
    path.touch()
    return path


def units(results: TrialResults, asked: list[Trial[Asked]]) -> list[int]:
    results.assemble("units", [one.name for one in asked])
    frame = pd.read_parquet(results.store.locate("tables/units"))
    return [int(unit) for unit in frame["unit"]]


def test_only_what_has_no_answer_is_left_out(results: TrialResults, cause: Path, ray_cluster: None) -> None:
    asked = trials(cause, "well", "infeasible", "well")
    assert run_trials(results, "sweep", trial, asked, lambda data: 7) == 3
    assert results.left_out([one.name for one in asked]) == {"conv1/1-infeasible": "there is no such number"}
    assert units(results, asked) == [0, 2]
    assert run_trials(results, "sweep", trial, asked, lambda data: 7) == 0


@pytest.mark.parametrize(
    ("end", "trace"),
    [("raises", "operands could not be broadcast together"), ("dies", "died"), ("starves", "MemoryError")],
)
def test_a_failure_fails_the_sweep_which_then_goes_on(
    results: TrialResults, cause: Path, end: str, trace: str, ray_cluster: None
) -> None:
    asked = trials(cause, "well", end, "well")
    with pytest.raises(StageFailed, match=rf"sweep: trial conv1/1-{end} failed \(.*\); see .*/error.txt\. Finished"):
        run_trials(results, "sweep", trial, asked, lambda data: 7)
    assert results.finished() == {"conv1/0-well", "conv1/2-well"}
    assert trace in results.store.read(f"sweeps/made/conv1/1-{end}/error.txt").decode()
    cause.unlink()
    assert run_trials(results, "sweep", trial, asked, lambda data: 7) == 1
    assert units(results, asked) == [0, 1, 2]


def test_a_users_mistake_in_a_trial_is_said_as_it_is(results: TrialResults, cause: Path, ray_cluster: None) -> None:
    with pytest.raises(UserError, match="^The bucket does not exist; create it\\.$"):
        run_trials(results, "sweep", trial, trials(cause, "mistake"), lambda data: 7)
