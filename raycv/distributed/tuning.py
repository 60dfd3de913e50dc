"""Ray Tune over pure functions: runs the trials that have no result yet and keeps each result as it comes.

A trial is a pure function of its parameters and of one shared object, and has a name. Its result is kept under that
name as soon as it is finished, so a sweep that was killed continues with the missing trials and gives the same result.
A trial whose data allow no answer is left out. Any other failed trial makes the sweep fail once the others are done.
"""

from __future__ import annotations

import logging
import os
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import ray
from ray import tune
from ray.tune import Callback
from threadpoolctl import threadpool_limits

from raycv import telemetry
from raycv.analysis.infeasible import Infeasible
from raycv.distributed import unpublished_ray
from raycv.distributed.waiting import Waiting
from raycv.errors import StageFailed, UserError
from raycv.progress import Progress

Parameters = TypeVar("Parameters")

TRIAL_DEATHS = 3  # of a trial's worker after which it is tried again


@dataclass(frozen=True)
class Trial(Generic[Parameters]):
    """One call ``function(shared, parameters)`` with one CPU, one thread, and ``gpus``.

    ``name`` is the path of its result within the sweep, ``data`` names the object that it shares with others.
    """

    name: str
    data: str
    parameters: Parameters
    gpus: int = 0


class SweepResults(Protocol):
    """Where the results of a sweep are kept. Sent to the workers."""

    def finished(self) -> set[str]:
        """The names of the trials that have a result or were left out."""

    def keep(self, trial: str, found: Any) -> None:
        """Keep the result of one trial."""

    def leave_out(self, trial: str, why: str) -> None:
        """Note that one trial has no result, and why."""

    def note_failure(self, trial: str, log: str) -> str:
        """Keep what a failed trial raised; returns where."""


def run_trials(
    results: SweepResults,
    title: str,
    function: Callable[[Any, Parameters], Any],
    trials: Sequence[Trial[Parameters]],
    shared: Callable[[str], Any],
    at_once: int | None = None,
) -> int:
    """Run ``trials`` on the Ray cluster, but not those that ``results`` has; returns how many were run.

    As many at the same time as the cluster holds, or ``at_once`` at most.

    ``shared`` makes the object behind a trial's ``data``; each goes into the object store once. ``function`` must be
    importable by the workers; where it raises `Infeasible` the trial is left out. Raises StageFailed, when all others
    are done, for a trial that raised something else or whose worker died more than `TRIAL_DEATHS` times, and UserError
    if the user can fix the cause.
    """
    done = results.finished()
    missing = [trial for trial in trials if trial.name not in done]
    with Progress(title, len(trials), "trials") as progress:
        progress.resume_at(len(trials) - len(missing))
        if missing:
            _fail_of(title, results, _tune(results, function, missing, shared, progress, at_once))
    return len(missing)


@dataclass(frozen=True)
class _Failure:
    """Why one trial has no result: what it raised or how its worker died, and whether a user can fix it."""

    log: str
    mistake: str = ""


def _fail_of(title: str, results: SweepResults, failures: dict[str, _Failure]) -> None:
    """Raise the error for the sweep's ``failures`` (by trial), if there are any."""
    for failure in failures.values():
        if failure.mistake:
            raise UserError(failure.mistake)
    logs = {name: results.note_failure(name, failure.log) for name, failure in failures.items()}
    for name, failure in failures.items():
        reason = failure.log.strip().splitlines()[-1][:200].rstrip(".")
        more = len(failures) - 1
        others = f" and {more} other{'s' * (more > 1)}" if more else ""
        raise StageFailed(
            f"{title}: trial {name}{others} failed ({reason}); see {logs[name]}. Finished trials are kept, and the "
            "same command goes on from here."
        )


def _tune(
    results: SweepResults,
    function: Callable[[Any, Parameters], Any],
    trials: Sequence[Trial[Parameters]],
    shared: Callable[[str], Any],
    progress: Progress,
    at_once: int | None,
) -> dict[str, _Failure]:
    """Run ``trials`` by Ray Tune; returns why those have failed that have no result in the end."""
    _configure_tune()
    references = {data: ray.put(shared(data)) for data in dict.fromkeys(trial.data for trial in trials)}
    given = {"results": results, "function": function, "trials": trials, "references": references}
    gpus = [trial.gpus for trial in trials]
    with tempfile.TemporaryDirectory() as folder:  # of Tune's own files, none of which is needed again
        ended = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_trial, **given),
                lambda config: tune.PlacementGroupFactory([{"CPU": 1, "GPU": gpus[config["number"]]}]),
            ),
            param_space={"number": tune.grid_search([*range(len(trials))])},
            tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=at_once),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=folder,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=TRIAL_DEATHS),
                callbacks=[_Counter(progress)],
            ),
        ).fit()
    finished = results.finished()
    failures: dict[str, _Failure] = {}
    for place, trial in enumerate(trials):
        if trial.name not in finished:  # a trial that never ran has neither an error nor a configuration
            failures[trial.name] = _failure(ended[place]) or _Failure("its worker died before the trial began")
    return failures


def _failure(result: tune.Result) -> _Failure | None:
    if result.error is not None:
        return _Failure(str(result.error))
    ended = result.metrics or {}
    return _Failure(ended["raised"], ended.get("mistake", "")) if "raised" in ended else None


def _configure_tune() -> None:
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # four files and not five hundred for a hundred trials
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # the command line says what a stop means
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # which prints, in spite of verbose=0, a box and the scratch folder's name
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # or every death is a traceback, though it is tried again
    unpublished_ray.keep_credentials_out_of_trials()


def _trial(
    config: dict[str, int],
    results: SweepResults,
    function: Callable[[Any, Parameters], Any],
    trials: Sequence[Trial[Parameters]],
    references: dict[str, ray.ObjectRef[Any]],
) -> dict[str, Any]:
    """The function that Tune calls. Returns what a trial raises, so that Tune retries only deaths of workers."""
    trial = trials[config["number"]]
    with threadpool_limits(1):
        try:
            results.keep(trial.name, function(ray.get(references[trial.data]), trial.parameters))
        except Infeasible as reason:
            results.leave_out(trial.name, str(reason))
        except UserError as mistake:
            return {"raised": traceback.format_exc(), "mistake": str(mistake)}
        except Exception:
            return {"raised": traceback.format_exc()}
    return {"done": 1}


class _Counter(Callback):
    """Tells the progress how many trials have ended, and the user what none of them can begin for."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.waiting = progress, Waiting()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks; a terminal cannot be

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.waiting.look(going_on=any(trial.status == "RUNNING" for trial in trials))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        telemetry.count("raycv_deaths", work="trial")

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.progress.advance()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.progress.advance()
