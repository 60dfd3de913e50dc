"""run.json: the settings and versions of a run, and which of its stages have finished."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import raycv
from raycv.errors import UserError
from raycv.run import names
from raycv.run.store import RunStore, as_json

PATH = "run.json"
RUNS, CELLS = "runs", "cells"  # folders of the runs that a study and an attribution are made of
KINDS = {  # folders that hold runs, by what marks their record: what they are, and where their runs are
    "study": ("a study", f"{RUNS}/width-WIDTH-images-IMAGES"),
    "attribution": ("an attribution", f"{CELLS}/CELL"),
}
LIBRARIES = ("ray", "torch", "torchvision", "numpy", "scipy", "pandas", "pyarrow")


class _Health(BaseModel):
    layer: str | None  # of the logits; none where the networks have no logits of the images' classes
    broken_pairs: list[Annotated[list[str], Field(min_length=2, max_length=2)]]


class _Stage(BaseModel):
    """What a finished stage notes and others read; it may note more."""

    model_config = ConfigDict(strict=True)

    fingerprint: str
    seconds: dict[str, float] = {}
    validation_top1: dict[str, float] = {}
    images: int | None = None
    health: _Health | None = None
    solvers: list[str] = []
    figures: list[str] = []


class _Error(BaseModel):
    at: str
    error: str


class _Config(BaseModel):
    """The settings that are read without `raycv.config`, which checks all others."""

    data: str | None = None
    image_column: str | None = None
    label_column: str | None = None


class _Record(BaseModel):
    config: _Config
    stages: dict[str, _Stage]
    errors: dict[str, _Error] = {}


def read(store: RunStore) -> dict[str, Any]:
    """The record of a run; empty for a new one. Raises UserError where the file is not what a stage has written."""
    if not store.exists(PATH):
        return {"config": {}, "stages": {}}
    remedy = "put a copy of it back, or name another run with --run"
    content = store.read_json(PATH, remedy)
    try:
        _Record.model_validate(content)
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
        raise UserError(
            f"{store.locate(PATH)} is damaged: what it says of {where} is missing or of the wrong kind; {remedy}."
        ) from None
    return content


def check_there(store: RunStore) -> None:
    """Raise UserError where there is no run."""
    if not store.exists(PATH):
        raise UserError(missing(store))


def missing(store: RunStore) -> str:
    """What to say where there is no run."""
    return f"There is no run in {store.uri}: it has no {PATH}. Make one with `raycv run --run {store.uri}`."


def kind(store: RunStore) -> str:
    """One of `KINDS`, or empty for an ordinary run and for a folder without a run."""
    found = read(store)
    return next((name for name in KINDS if found.get(name)), "")


def check_kind(store: RunStore, wanted: Sequence[str] = ("",)) -> None:
    """Raise UserError for a run that is none of the kinds ``wanted``, of `KINDS` or empty for an ordinary one."""
    if not store.exists(PATH) or (found := kind(store)) in wanted:
        return
    expected = KINDS[wanted[0]][0] if wanted[0] else "a run"
    if not found:
        raise UserError(f"{store.uri} is an ordinary run, not {expected}; name another folder with --run.")
    name, runs = KINDS[found]
    raise UserError(
        f"{store.uri} is the folder of {name}, not {expected}; name one of its runs, {store.locate(runs)}, or another "
        "folder."
    )


def check_folder(store: RunStore) -> None:
    """Raise UserError for a folder that has content and is no run.

    A stage removes what it replaces, which in such a folder could be the user's own files.
    """
    others = [] if store.exists(PATH) else store.others(names.is_lease)
    if others:
        raise UserError(
            f"{store.uri} is not empty and no run: it has no {PATH}, and holds {names.in_words(others)}. Name a new "
            "folder or an existing run with --run."
        )


def begin(store: RunStore, kind: str = "") -> None:
    """Make ``store``, which `check_folder` allows, a run if it is not one yet; or what ``kind``, of `KINDS`, says."""
    if not store.exists(PATH):
        mark = {kind: True} if kind else {}
        store.create_once(PATH, as_json({"raycv": raycv.__version__, **mark, "config": {}, "stages": {}}))


def forget(store: RunStore) -> None:
    """Take back `begin` where no stage has finished since."""
    if not read(store)["stages"]:
        store.remove(PATH)


def finished(store: RunStore, stage: str, result_of: str) -> bool:
    """Whether ``stage`` has finished with the result that ``result_of`` (a fingerprint) names."""
    return bool(read(store)["stages"].get(stage, {}).get("fingerprint") == result_of)


def fingerprint_of(store: RunStore, stage: str) -> str:
    """What names the result of a finished stage. Raises UserError where it has not finished."""
    done = read(store)["stages"].get(stage)
    if done is None:
        raise UserError(f"The run {store.uri} is not finished as far as needed; run `raycv {stage}` first.")
    return str(done["fingerprint"])


def is_of(store: RunStore, stage: str, earlier: str) -> bool:
    """Whether ``stage`` has finished with what ``earlier`` has left: it notes that one's fingerprint as ``of``."""
    stages = read(store)["stages"]
    return stage in stages and stages[stage].get("of") == stages.get(earlier, {}).get("fingerprint")


def finish(store: RunStore, stage: str, result_of: str, config: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Note that ``stage`` is complete. Called last, so that a stage is noted with all its files or not at all."""
    done = {"fingerprint": result_of, "finished": _now(), **facts}
    begin(store)
    _change(
        store,
        lambda record: {
            **record,
            "raycv": raycv.__version__,
            "python": platform.python_version(),
            "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
            "config": record["config"] | _remembered(config),
            "stages": record["stages"] | {stage: done},
            "errors": {other: error for other, error in record.get("errors", {}).items() if other != stage},
        },
    )


def keep(store: RunStore, config: Mapping[str, Any]) -> None:
    """Remember the settings of a command that does several stages, each of which notes its own alone."""
    before, settings = read(store)["config"], _remembered(config)
    if before != before | settings:
        _change(store, lambda record: {**record, "config": record["config"] | settings})


def fail(store: RunStore, stage: str, sentence: str) -> None:
    """Note on what ``stage`` has ended, until it finishes. Does nothing where there is no run yet."""
    error = {"at": _now(), "error": sentence}
    if store.exists(PATH):
        _change(store, lambda record: {**record, "errors": record.get("errors", {}) | {stage: error}})


def _change(store: RunStore, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Replace the record by what ``change`` makes of it; again where another stage has written it meanwhile."""
    while True:
        before = store.read(PATH)
        if store.replace_if(PATH, before, as_json(change(read(store)))):
            return


def _remembered(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in ("run", "config")}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
