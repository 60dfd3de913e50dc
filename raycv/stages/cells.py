"""Several ordinary runs below one folder: what a study and an attribution are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raycv.config import CommandConfig, StageConfig
from raycv.errors import UserError
from raycv.progress import say
from raycv.run import lease, record
from raycv.run.store import RunStore
from raycv.stages.registry import BY_NAME, do


@dataclass(frozen=True)
class CellRun:
    """One run to be done: the settings of its stages, in order, by the stages' names; and what it is, in words."""

    words: str
    run: RunStore
    settings: dict[str, StageConfig]


def do_all(store: RunStore, kind: str, folder: str, runs: Sequence[CellRun], what: str) -> list[RunStore]:
    """Do all runs, one after the other on the same Ray cluster, below ``folder`` of ``store``, of one of record.KINDS.

    A stage that a run has finished with the same settings is not repeated. Where a mistake of the user's is met before
    anything is left, nothing is. ``what``: one of the runs, in words.
    """
    record.begin(store, kind)
    try:
        for number, one in enumerate(runs, 1):
            say(f"{what} {number} of {len(runs)}: {one.words}")
            for name, settings in one.settings.items():
                with lease.held(one.run, [name]):
                    do(BY_NAME[name], settings, one.run)
    except UserError:
        if not store.list(folder):
            record.forget(store)
        raise
    return [one.run for one in runs]


def settings_of(config: CommandConfig, stages: Sequence[str], **changes: object) -> dict[str, StageConfig]:
    """By stage its settings among those of a command that does several, with ``changes`` to them."""
    return {name: config.part(BY_NAME[name].settings, **changes) for name in stages}
