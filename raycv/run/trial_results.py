"""Results of a sweep's trials, kept until the tables are written: SWEEP/TRIAL/TABLE.parquet and done.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from raycv.run import tables
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore

Frames = dict[str, pd.DataFrame]  # table -> rows


@dataclass(frozen=True)
class TrialResults:
    """Results of one sweep in ``folder``, sweeps/KIND-SETTINGS.

    A trial is named LAYER/...; its result counts once done.json, written last, exists.
    """

    store: RunStore
    folder: str

    def finished(self) -> set[str]:
        """The names of the trials that have a result or were left out."""
        return {self._trial_of(path) for path in self.store.list(self.folder) if path.endswith("/done.json")}

    def keep(self, trial: str, found: Frames) -> None:
        """Keep the rows that one trial has found."""
        for table, frame in found.items():
            tables.write_part(self.store, f"{self.folder}/{trial}/{table}.parquet", table, frame)
        self.leave_out(trial, "")

    def leave_out(self, trial: str, why: str) -> None:
        """Note that one trial has no rows, and why."""
        self.store.write_json(f"{self.folder}/{trial}/done.json", {"left_out": why})

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
        layers = list(dict.fromkeys(trial.split("/")[0] for trial in trials))
        found = [
            (layer, trial)
            for layer in layers
            for trial in trials
            if trial.split("/")[0] == layer and f"{self.folder}/{trial}/{table}.parquet" in there
        ]
        if BY_NAME[table].partition is None:
            frames = [self.rows(trial, table).to_pandas() for _, trial in found]
            empty = BY_NAME[table].schema.empty_table().to_pandas()
            return tables.write(self.store, table, pd.concat(frames) if frames else empty)
        with tables.Writer(self.store, table) as writer:
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
