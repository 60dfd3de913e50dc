"""Which figures of merged networks a run gets."""

from __future__ import annotations

from raycv.drawing.subject import Plan, Subject
from raycv.run import record
from raycv.stages.merge.figures.paths import paths_between_networks


def plan(run: Subject) -> Plan:
    """Loss and accuracy along the paths, where the networks that the run has now were merged."""
    if not record.is_of(run.store, "merge", "collect"):
        return {}
    return {"merges": lambda: paths_between_networks(run.read("merges"))}
