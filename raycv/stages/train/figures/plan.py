"""Which figures of the training a run gets."""

from __future__ import annotations

from raycv.drawing.subject import Plan, Subject
from raycv.stages.train.figures.training import training_curves


def plan(run: Subject) -> Plan:
    """Accuracy by epoch, where the networks were trained here."""
    return {"training": lambda: training_curves(run.read("training"))} if run.has("training") else {}
