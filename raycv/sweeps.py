"""Ray Tune over pure functions: runs trials, keeps the finished ones, brings their rows together.

A trial is a pure function of its parameters and of one shared object, and has a name. What it found stands in the
run under that name as soon as it is finished, the note ``done.json`` last, so a sweep that was killed goes on with the
trials that are missing and comes to the same tables.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import ray
from ray import tune
from ray.tune import Callback
from threadpoolctl import threadpool_limits

from raycv import tables
from raycv.progress import Progress
from raycv.store import RunStore

Frames = dict[str, pd.DataFrame]  # table -> rows
RETRIES = 3  # of a trial whose worker died


@dataclass(frozen=True)
class Trial:
    """One call ``function(shared[data], **parameters)`` with one CPU, one thread, and ``gpus``.

    ``name`` is the path of its results within the sweep.
    """

    name: str
    data: str
    parameters: dict[str, Any]
    gpus: int = 0


@dataclass(frozen=True)
class Outcome:
    """The trials that have results and, for the others, why not; ``computed`` counts those not taken up from before."""

    finished: list[str]
    failures: dict[str, str]
    computed: int

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(self.finished + other.finished, self.failures | other.failures, self.computed + other.computed)


def run_trials(
    store: RunStore,
    folder: str,
    title: str,
    function: Callable[..., Frames],
    trials: Iterable[Trial],
    shared: Callable[[str], Any],
) -> Outcome:
    """Run ``trials`` on the Ray cluster, but not those with results in ``folder``.

    ``shared`` makes the object behind a trial's ``data``; each goes into the object store once. ``function`` must be
    importable by the workers. A ValueError of a trial is its result, other errors are tried again; neither ends the
    sweep.
    """
    trials = list(trials)
    done = {path.removeprefix(f"{folder}/").removesuffix("/done.json") for path in store.list(folder)}
    missing = [trial for trial in trials if trial.name not in done]
    failures: dict[str, str] = {}
    with Progress(title, len(trials), "trials") as progress:
        progress.resume_at(len(trials) - len(missing))
        if missing:
            references = {data: ray.put(shared(data)) for data in dict.fromkeys(t.data for t in missing)}
            failures = _tune(store, folder, function, missing, references, progress)
    for trial in trials:
        if trial.name not in failures:
            error = store.read_json(f"{folder}/{trial.name}/done.json")["error"]
            if error:
                failures[trial.name] = error
    finished = [trial.name for trial in trials if trial.name not in failures]
    return Outcome(finished, failures, len(missing))


def _tune(
    store: RunStore,
    folder: str,
    function: Callable[..., Frames],
    trials: list[Trial],
    references: Mapping[str, ray.ObjectRef[Any]],
    progress: Progress,
) -> dict[str, str]:
    """Run ``trials`` by Ray Tune; returns the errors of those that have no result in the end."""
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # four files and not five hundred for a hundred trials
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # the command line says what a stop means
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # which prints, in spite of verbose=0, a box and the scratch folder's name
    scratch = f"{folder}/tune"
    store.remove(scratch)
    trainable = tune.with_parameters(_trial, store=store, folder=folder, function=function, references=references)
    tuner = tune.Tuner(
        tune.with_resources(trainable, _resources),
        param_space={"trial": tune.grid_search([vars(trial) for trial in trials])},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=store.locate(folder),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            callbacks=[_Counter(progress)],
        ),
    )
    try:
        results = tuner.fit()
    finally:
        store.remove(scratch)
    failures = {}
    for number in range(len(results)):
        result = results[number]
        if result.error is not None and result.config is not None:
            failures[result.config["trial"]["name"]] = str(result.error).strip().splitlines()[-1]
    return failures


def _resources(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    return tune.PlacementGroupFactory([{"CPU": 1, "GPU": config["trial"]["gpus"]}])


def _trial(
    config: dict[str, Any],
    store: RunStore,
    folder: str,
    function: Callable[..., Frames],
    references: Mapping[str, ray.ObjectRef[Any]],
) -> dict[str, int]:
    trial = Trial(**config["trial"])
    error = ""
    with threadpool_limits(1):
        try:
            found = function(ray.get(references[trial.data]), **trial.parameters)
        except ValueError as refusal:
            found, error = {}, str(refusal)
    for table, frame in found.items():
        tables.write_part(store, f"{folder}/{trial.name}/{table}.parquet", table, frame)
    store.write_json(f"{folder}/{trial.name}/done.json", {"error": error})
    return {"done": 1}


class _Counter(Callback):
    """Tells the progress how many trials have ended."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks; a terminal cannot be

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.progress.update(self.progress.done + 1)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.progress.update(self.progress.done + 1)


def assemble(store: RunStore, folder: str, outcome: Outcome, name: str) -> str:
    """Replace table ``name`` by the rows of the finished trials, named LAYER/...; returns its URI."""
    there = set(store.list(folder))
    paths = [(trial, f"{folder}/{trial}/{name}.parquet") for trial in outcome.finished]
    paths = [(trial, path) for trial, path in paths if path in there]
    if tables.BY_NAME[name].partition is None:
        frames = [tables.read_part(store, path).to_pandas() for _, path in paths]
        empty = tables.BY_NAME[name].schema.empty_table().to_pandas()
        return tables.write(store, name, pd.concat(frames) if frames else empty)

    def files() -> Iterator[tuple[str, pa.Table]]:
        for trial, path in paths:
            layer, *rest = trial.split("/")
            yield f"layer={layer}/{'-'.join(rest)}", tables.read_part(store, path)

    return store.write_table(name, files())
