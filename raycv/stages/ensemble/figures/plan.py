"""Which figures of ensembles a run gets."""

from __future__ import annotations

from raycv.drawing.subject import Plan, Subject
from raycv.run import record
from raycv.stages.ensemble.figures.together import together


def plan(run: Subject) -> Plan:
    """Ensembles and units put together, where the networks that the run has now have voted."""
    if not record.is_of(run.store, "ensemble", "collect"):
        return {}
    return {
        "ensembles": lambda: together(run.read("ensembles"), run.read("ensemble_agreement"), run.read("combinations"))
    }
