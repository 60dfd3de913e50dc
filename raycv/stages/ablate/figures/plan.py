"""Which figures of ablated groups of units a run gets."""

from __future__ import annotations

from raycv.drawing.subject import Plan, Subject
from raycv.run import record
from raycv.stages.ablate.figures.ablation import what_units_do


def plan(run: Subject) -> Plan:
    """What groups of units and single ones do, where they were ablated in the networks that the run has now."""
    if not record.is_of(run.store, "ablate", "collect"):
        return {}
    return {"ablation": lambda: what_units_do(run.read("ablation_by_layer"))}
