"""`raycv show`: the numbers in which a run has ended, once more; the command line prints them after any run."""

from __future__ import annotations

from raycv.config import ShowConfig
from raycv.errors import UserError
from raycv.run import record
from raycv.run.store import RunStore
from raycv.stages.registry import loaded


def show(_config: ShowConfig, store: RunStore) -> None:
    """Raise UserError where a run has no numbers to show yet."""
    record.check_there(store)
    if record.kind(store) == "attribution":
        loaded("attribute.summary:answered")(store)
        return
    if "align" not in record.read(store)["stages"]:
        raise UserError(f"The run {store.uri} has no numbers to show yet; run `raycv align` first.")
