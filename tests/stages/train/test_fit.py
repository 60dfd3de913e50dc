"""When a training is given up: not for deaths, but for deaths without an epoch finished between them."""

from __future__ import annotations

from typing import Any

import pytest
import ray
import ray.train

from raycv.distributed.ray_cluster import Share
from raycv.errors import StageFailed
from raycv.stages.train import fit
from raycv.stages.train.training_progress import TrainingProgress


class Job:
    """As much of a job as the decision needs."""

    def __init__(self) -> None:
        self.board = TrainingProgress.remote(3)  # type: ignore[attr-defined]

    def ask(self, method: str, *given: Any) -> Any:
        return ray.get(getattr(self.board, method).remote(*given))


def test_a_network_that_dies_again_and_again_is_given_up(ray_cluster: None) -> None:
    job = Job()
    assert job.ask("begin", "net2")
    for death in range(10):
        assert job.ask("begin", "net1")
        if death % 3 == 2:
            job.ask("epoch", {"net": "net1", "epoch": death})
    for _ in range(3):
        assert job.ask("begin", "net1")
        assert job.ask("count", 1, 64)
    assert not job.ask("begin", "net1")
    assert not job.ask("count", 1, 128)  # the workers of the other networks end, too
    assert job.ask("read")["given_up"] == "net1"


class Trainer:
    """Fails again and again; each time as many epochs were finished before as ``epochs`` says, then it succeeds."""

    def __init__(self, job: Job, epochs: list[int]) -> None:
        self.job, self.epochs = job, epochs

    def fit(self) -> None:
        if self.epochs:
            for epoch in range(1, self.epochs.pop(0) + 1):
                self.job.ask("epoch", {"net": "net1", "epoch": epoch})
            raise ray.train.WorkerGroupError("the controller died", {})


@pytest.mark.parametrize(
    ("epochs", "given_up"), [([1, 2, 3, 4, 5, 6], False), ([0], True), ([2, 2], True), ([1, 3, 3], True)]
)
def test_failures_of_ray_train_count_where_no_epoch_lies_between_them(
    epochs: list[int], given_up: bool, monkeypatch: pytest.MonkeyPatch, ray_cluster: None
) -> None:
    job: Any = Job()
    monkeypatch.setattr(fit, "_trainer", lambda job, part, folder: Trainer(job, epochs))
    if not given_up:
        fit._fit(job, Share(1, 0))
        assert not epochs
        return
    with pytest.raises(StageFailed, match="without finishing an epoch .the controller died.\\. Finished"):
        fit._fit(job, Share(1, 0))
