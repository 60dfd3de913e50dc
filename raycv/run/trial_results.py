"""Results of a sweep's trials, kept until the tables are written: SWEEP/TRIAL/TABLE.parquet and done.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from raycv.progress import say
from raycv.run import tables
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore

Frames = dict[str, pd.DataFrame]  # table -> rows


class _Done(BaseModel):
    """What done.json holds: why the trial has no rows, if it has none, and the tables of which it has some."""

    model_config = ConfigDict(strict=True)

    left_out: str
    tables: list[str]

    @field_validator("tables")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        if not BY_NAME.keys() >= {*names}:
            raise ValueError("no such table")
        return names


@dataclass(frozen=True)
class TrialResults:
    """Results of one sweep in ``folder``, sweeps/KIND-SETTINGS.

    A trial is named LAYER/PAIR; its result counts once done.json, written last, exists.
    """

    store: RunStore
    folder: str

    def finished(self) -> set[str]:
        """The names of the trials that have a result or were left out; says which have a damaged one."""
        there = set(self.store.list(self.folder))
        trials = [self._trial_of(path) for path in sorted(there) if path.endswith("/done.json")]
        damaged = [trial for trial in trials if not self._is_whole(trial, there)]
        if damaged:
            say(f"computing again what an interrupted sweep left damaged: {', '.join(damaged)}")
        return set(trials).difference(damaged)

    def _is_whole(self, trial: str, there: set[str]) -> bool:
        """Whether a trial has left what it says, and no file of it is truncated."""
        try:
            done = _Done.model_validate_json(self.store.read(f"{self.folder}/{trial}/done.json"))
        except ValidationError:
            return False
        files = {table: f"{self.folder}/{trial}/{table}.parquet" for table in done.tables}
        return all(path in there and tables.is_part(self.store, path, table) for table, path in files.items())

    def keep(self, trial: str, found: Frames) -> None:
        """Keep the rows that one trial has found."""
        for table, frame in found.items():
            tables.write_part(self.store, f"{self.folder}/{trial}/{table}.parquet", table, frame)
        self._note(trial, _Done(left_out="", tables=sorted(found)))

    def leave_out(self, trial: str, why: str) -> None:
        """Note that one trial has no rows, and why."""
        self._note(trial, _Done(left_out=why, tables=[]))

    def _note(self, trial: str, done: _Done) -> None:
        self.store.write_json(f"{self.folder}/{trial}/done.json", done.model_dump())

    def note_failure(self, trial: str, log: str) -> str:
        """Keep what a failed trial raised; returns the URI."""
        return self.store.write(f"{self.folder}/{trial}/error.txt", log.encode())

    def left_out(self, trials: Sequence[str]) -> dict[str, str]:
        """Those of ``trials`` that have no rows, and why not."""
        why = {trial: self.store.read_json(f"{self.folder}/{trial}/done.json")["left_out"] for trial in trials}
        return {trial: reason for trial, reason in why.items() if reason}

    def rows(self, trial: str, table: str) -> pa.Table:
        """The rows of one trial for one table."""
        return tables.read_part(self.store, f"{self.folder}/{trial}/{table}.parquet")

    def assemble(self, table: str, trials: Sequence[str]) -> str:
        """Replace ``table`` by the rows of ``trials``, layer by layer in the order of their first trial; its URI."""
        there = set(self.store.list(self.folder))
        of = {trial: trial.rpartition("/")[0] for trial in trials}
        layers = list(dict.fromkeys(of.values()))
        found = [
            (layer, trial)
            for layer in layers
            for trial in trials
            if of[trial] == layer and f"{self.folder}/{trial}/{table}.parquet" in there
        ]
        if BY_NAME[table].partition is None:
            frames = [self.rows(trial, table).to_pandas() for _, trial in found]
            empty = BY_NAME[table].schema.empty_table().to_pandas()
            return tables.write(self.store, table, pd.concat(frames) if frames else empty)
        with tables.Writer(self.store, table, [layer for layer, _ in found]) as writer:
            for layer, trial in found:
                writer.add(layer, self.rows(trial, table))
        return writer.uri

    def remove(self) -> None:
        """Remove these results, which the tables have, and those of the same sweep with earlier settings.

        Results of other sweeps stay: another driver may be at work on them.
        """
        above, _, name = self.folder.rpartition("/")
        kind = name.rpartition("-")[0]
        for other in {path.split("/")[1] for path in self.store.list(above)} | {name}:
            if other.rpartition("-")[0] == kind:
                self.store.remove(f"{above}/{other}")
        self.store.remove_folder_if_empty(above)

    def _trial_of(self, path: str) -> str:
        return path.removeprefix(f"{self.folder}/").removesuffix("/done.json")
