"""Which figures of stitched networks a run gets."""

from __future__ import annotations

from raycv.drawing.subject import Plan, Subject
from raycv.run import record
from raycv.stages.stitch.figures.stitching import stitched


def plan(run: Subject) -> Plan:
    """Accuracy of stitched networks, where they were made of the networks that the run has now."""
    if not record.is_of(run.store, "stitch", "collect"):
        return {}
    return {"stitching": lambda: stitched(run.read("stitching_by_layer"))}
