"""`raycv plan`: which stages `raycv run` would do with the same flags, with what memory, data and time. Does none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raycv.config import PlanConfig
from raycv.progress import answer
from raycv.run import record
from raycv.run.store import RunStore
from raycv.stages.intended import Intended
from raycv.stages.plan.cells import plan_cells
from raycv.stages.registry import INTENDED, OF_RUN, Stage, loaded


def plan(config: PlanConfig, store: RunStore) -> None:
    """Print what would be done and skipped, and why; memory, data, time and cost as far as they are known."""
    if config.cells or config.quick or record.kind(store) == "attribution":
        plan_cells(config.attribution, store)
        return
    run: Intended = loaded(INTENDED)(config)
    record.check_folder(store)
    found = record.read(store)
    reasons: dict[str, str] = {}
    for stage in OF_RUN:
        reason = _reason(stage, config, store, found, reasons)
        if reason:
            reasons[stage.name] = reason
    times = {name: _seconds(name, found["stages"].get(name, {}), run) for name in reasons}
    answer(f"{store.uri}: {len(reasons)} of {len(OF_RUN)} stages to do")
    for name in (stage.name for stage in OF_RUN):
        about = f"  (about {times[name]:,.0f} s)" if times.get(name) else ""
        what = f"do    {reasons[name]}{about}" if name in reasons else "skip  it is finished with these settings"
        answer(f"  {name:<15}{what}")
    for sentence in [*_needs(run, reasons), *_time(config, times)]:
        answer(f"  {sentence}")


def _reason(
    stage: Stage, config: PlanConfig, store: RunStore, found: Mapping[str, Any], before: Mapping[str, str]
) -> str:
    """Why a stage would be done; empty where it would be skipped. ``before``: the reasons of the stages before it."""
    earlier = [other for other in (tuple(before) if stage.after is None else stage.after) if other in before]
    if stage.name not in found["stages"]:
        return "it has not been done"
    if earlier:
        return f"it comes after {earlier[0]}"
    if stage.is_done(config.part(stage.settings), store):
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


def _needs(run: Intended, reasons: Mapping[str, str]) -> list[str]:
    """Bytes to and from the store, and memory."""
    to_do = [stage for stage in OF_RUN if stage.name in reasons]
    moved = [(stage.name, loaded(stage.traffic)(run)) for stage in to_do if stage.traffic]
    sentences = [f"{name} {what}" for name, what in moved if what]
    for stage in to_do:
        needs = loaded(stage.needs)(run) if stage.needs else []
        if needs:
            sentences.append(f"{stage.name} needs up to {' and '.join(map(str, needs))}, in memory")
    return sentences


def _seconds(name: str, noted: Mapping[str, Any], run: Intended) -> float | None:
    """How long a stage will take, at the rate at which this run has done it before; None where it has not."""
    spent: dict[str, float] = noted.get("seconds", {})
    scaled, wanted = {"train": ("training", run.trained), "collect": ("pass", run.validation)}.get(name, ("", 0))
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
