"""When a training is given up: not for deaths, but for deaths without an epoch finished between them."""

from __future__ import annotations

from typing import Any

import pytest
import ray
import ray.train

from raycv.distributed.ray_cluster import Share
from raycv.errors import StageFailed
from raycv.stages.train import fit
from raycv.stages.train.board import Board


class Job:
    """As much of a job as the decision needs."""

    def __init__(self) -> None:
        self.board = Board.remote()  # type: ignore[attr-defined]


class Trainer:
    """Fails again and again; each time as many epochs were finished before as ``epochs`` says, then it succeeds."""

    def __init__(self, job: Job, epochs: list[int]) -> None:
        self.job, self.epochs = job, epochs

    def fit(self) -> str:
        if not self.epochs:
            return "trained"
        for epoch in range(1, self.epochs.pop(0) + 1):
            ray.get(self.job.board.epoch.remote({"net": "net1", "epoch": epoch}))
        raise ray.train.WorkerGroupError("the worker died", {})


@pytest.mark.parametrize(
    ("epochs", "given_up"), [([1, 2, 3, 4, 5, 6], False), ([0], True), ([2, 2], True), ([1, 3, 3], True)]
)
def test_only_failures_without_progress_count(
    epochs: list[int], given_up: bool, monkeypatch: pytest.MonkeyPatch, ray_cluster: None
) -> None:
    job: Any = Job()
    monkeypatch.setattr(fit, "_trainer", lambda job, part, name: Trainer(job, epochs))
    if not given_up:
        trained: Any = fit._fit(job, Share(1, 0), "run")
        assert trained == "trained"
        return
    with pytest.raises(
        StageFailed, match="workers failed 4 times without finishing an epoch .the worker died.\\. Finished"
    ):
        fit._fit(job, Share(1, 0), "run")
