"""Which figures of removed units a run gets."""

from __future__ import annotations

from raycv.drawing.subject import Plan, Subject
from raycv.run import record
from raycv.stages.prune.figures.pruning import without_units


def plan(run: Subject) -> Plan:
    """Accuracy without units, where they were removed from the networks that the run has now."""
    if not record.is_of(run.store, "prune", "collect"):
        return {}
    return {"pruning": lambda: without_units(run.read("pruning_by_layer"))}
