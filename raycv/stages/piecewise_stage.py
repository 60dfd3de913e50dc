"""A stage that is pieces of work, each on an actor, whose rows become tables of the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from raycv.devices import Processors
from raycv.distributed.pieces import AnyPiece, Work, run_pieces
from raycv.memory import Need
from raycv.progress import say
from raycv.run import record, tables
from raycv.run.paths import parts_folder
from raycv.run.store import RunStore
from raycv.run.trial_results import TrialResults


@dataclass(frozen=True)
class PiecewiseStage:
    """One stage with its settings, of which ``identity`` is the fingerprint.

    tables: what the pieces give rows of; the first stands for all where the stage says that it is done. summaries: by
    name the tables that are made once these are there.
    """

    store: RunStore
    stage: str
    identity: str
    tables: tuple[str, ...]
    summaries: Mapping[str, Callable[[], pd.DataFrame]] = field(default_factory=dict)
    began: float = field(default_factory=time.time)

    @property
    def results(self) -> TrialResults:
        """What the pieces have given, until the tables have it."""
        return TrialResults(self.store, parts_folder(self.stage, self.identity))

    def is_done(self) -> bool:
        """Whether the run has the tables of these settings."""
        written = (*self.tables, *self.summaries)
        return record.finished(self.store, self.stage, self.identity) and tables.are_whole(self.store, written)

    def has_nothing_to_do(self) -> bool:
        """`is_done`; where it is, that is said."""
        done = self.is_done()
        if done:
            self.say_it_is_done()
        return done

    def say_it_is_done(self) -> None:
        """Say that there is nothing to do, and where the tables are."""
        say(f"{self.stage}: already finished, nothing to do; see {self._where(self.tables[0])}")

    def do(
        self,
        pieces: Sequence[AnyPiece],
        make: Callable[[str], Work[AnyPiece]],
        wanted: Processors,
        need: Need,
        networks: int,
    ) -> dict[str, Any]:
        """Do the pieces of which an interrupted run has left no rows, as `run_pieces` does, and write all tables.

        ``need``: the memory of one actor. ``networks``: of the run. Returns how many pieces there are, how many of them
        were computed, and on what kind of device.
        """
        results = self.results
        computed = run_pieces(results, self.stage, pieces, make, wanted, need, networks)
        for name in self.tables:
            results.assemble(name, [piece.name for piece in pieces])
        for name, summary in self.summaries.items():
            tables.write(self.store, name, summary())
        return {"pieces": len(pieces), "computed": computed.pieces, "device": computed.device}

    def close(self, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Note that the stage has all its tables, remove what the pieces have left, and say where the tables are."""
        spent = {self.stage: round(time.time() - self.began, 1)}
        of = record.fingerprint_of(self.store, "collect")
        record.finish(self.store, self.stage, self.identity, settings, {"seconds": spent, "of": of, **facts})
        self.results.remove()
        for name in (*self.tables, *self.summaries):
            say(f"{self.stage}: {self._where(name)}")

    def _where(self, table: str) -> str:
        return self.store.locate(f"tables/{table}")
