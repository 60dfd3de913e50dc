"""`raycv plan`: which stages `raycv run` would do with the same flags, with what memory, data and time. Does none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raycv.config import CommandConfig, PlanConfig
from raycv.memory import Need
from raycv.progress import answer
from raycv.run import record
from raycv.run.store import RunStore

EARLIER = {  # the stages whose results a stage reads; those that are not named read all
    "train": (),
    "collect": ("train",),
    "align": ("collect",),
    "sweep mapping": ("collect",),
    "sweep clusters": ("collect",),
    "patches": ("collect",),
}


@dataclass(frozen=True)
class Stage:
    """A stage: its settings, and whether a run has what they ask for."""

    settings: type[CommandConfig]
    is_done: Callable[[Any, RunStore], bool]


@dataclass(frozen=True)
class Work:
    """What `raycv run` would have to do."""

    trained: int  # images, over all epochs and networks
    validated: int  # images of the pass
    epochs: int
    weights: int  # bytes of all networks
    images: int  # bytes of all images
    partials: int  # bytes of all of them
    memory: Mapping[str, Sequence[Need]]  # by stage


def plan(config: PlanConfig, store: RunStore, stages: Mapping[str, Stage], work: Work) -> None:
    """Print what would be done and skipped, and why; memory, data, time and cost as far as they are known."""
    record.check_folder(store)
    found = record.read(store)
    reasons: dict[str, str] = {}
    for name, stage in stages.items():
        reason = _reason(name, config, store, stage, found, reasons)
        if reason:
            reasons[name] = reason
    times = {name: _seconds(name, found["stages"].get(name, {}), work) for name in reasons}
    answer(f"{store.uri}: {len(reasons)} of {len(stages)} stages to do")
    for name in stages:
        about = f"  (about {times[name]:,.0f} s)" if times.get(name) else ""
        what = f"do    {reasons[name]}{about}" if name in reasons else "skip  it is finished with these settings"
        answer(f"  {name:<15}{what}")
    for sentence in [*_needs(work, reasons), *_time(config, times)]:
        answer(f"  {sentence}")


def _reason(
    name: str, config: PlanConfig, store: RunStore, stage: Stage, found: Mapping[str, Any], before: Mapping[str, str]
) -> str:
    """Why a stage would be done; empty where it would be skipped. ``before``: the reasons of the stages before it."""
    earlier = [other for other in EARLIER.get(name, tuple(before)) if other in before]
    if name not in found["stages"]:
        return "it has not been done"
    if earlier:
        return f"it comes after {earlier[0]}"
    if stage.is_done(config, store):
        return ""
    given, stored = config.model_dump(mode="json"), found["config"]
    changed = [
        f"{key} {_shown(stored[key])} -> {_shown(given[key])}"
        for key in stage.settings.model_fields
        if key in stored and stored[key] != given[key]
    ]
    return f"settings have changed: {', '.join(changed)}" if changed else "its inputs have changed or files are missing"


def _shown(value: Any) -> str:
    if value is None:
        return "the default"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _needs(work: Work, reasons: Mapping[str, str]) -> list[str]:
    """Memory, and bytes to and from the store."""
    sentences = []
    if "train" in reasons and work.trained:
        written = work.weights * (2 * work.epochs + 1)  # weights and momentum after every epoch; in the end weights
        sentences.append(
            f"train reads {work.images / 1e6:,.1f} MB of images and writes {written / 1e6:,.1f} MB of weights"
        )
    if "collect" in reasons:
        sentences.append(
            f"collect reads {work.weights / 1e6:,.1f} MB of weights per actor, writes {work.partials / 1e6:,.1f} MB of "
            "partials and reads them again"
        )
    for name in reasons:
        if work.memory.get(name):
            sentences.append(f"{name} needs up to {' and '.join(map(str, work.memory[name]))}, in memory")
    return sentences


def _seconds(name: str, noted: Mapping[str, Any], work: Work) -> float | None:
    """How long a stage will take, at the rate at which this run has done it before; None where it has not."""
    spent: dict[str, float] = noted.get("seconds", {})
    scaled, wanted = {"train": ("training", work.trained), "collect": ("pass", work.validated)}.get(name, ("", 0))
    before = noted.get("images", 0)
    if not spent or (scaled and not before):
        return None
    return sum(seconds * wanted / before if what == scaled else seconds for what, seconds in spent.items())


def _time(config: PlanConfig, times: Mapping[str, float | None]) -> list[str]:
    known = [seconds for seconds in times.values() if seconds is not None]
    unknown = [name for name, seconds in times.items() if seconds is None]
    sentences = []
    if known:
        cost = f", which cost {sum(known) / 3600 * config.price_per_hour:,.2f}" if config.price_per_hour else ""
        sentences.append(f"about {sum(known):,.0f} s at the rates at which this run was done before{cost}")
    if unknown:
        sentences.append(f"no rate is known for {', '.join(unknown)}: this run has not done it before")
    return sentences
