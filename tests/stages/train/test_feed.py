"""Streamed images come in the order that the seed gives, also where others hold every processor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from raycv.config import TrainConfig
from raycv.data.preprocessing import Resize
from raycv.data.sources import open_source
from raycv.run.store import RunStore
from raycv.stages.train.board import Board
from raycv.stages.train.feed import Feed
from raycv.stages.train.job import TrainJob
from raycv.stages.train.learning import recipe_of
from tests.support.runs import spec


@ray.remote(num_cpus=2)
class Holder:
    """Holds all processors of the cluster, as training workers do once a node is lost."""

    def ready(self) -> None: ...


@pytest.fixture
def held(ray_cluster: None) -> Iterator[None]:
    holder = Holder.remote()  # type: ignore[attr-defined]
    ray.get(holder.ready.remote())
    yield
    ray.kill(holder)


def test_streamed_images_need_no_processor_of_their_own(images: Path, tmp_path: Path, held: None) -> None:
    training, validation = (open_source(str(images), split) for split in ("train", "validation"))
    recipe = recipe_of("small-alexnet", TrainConfig(batch_size=64))
    given: dict[str, Any] = {"specs": (spec(1, 6),), "recipes": (recipe,), "workers": 1, "threads": 1, "images": None}
    job = TrainJob(
        **given,
        training=training,
        validation=validation,
        store=RunStore(str(tmp_path)),
        board=Board.remote(3),  # type: ignore[attr-defined]
        folder="networks/training/made",
        readers=2,
        keep_epochs=(),
        fork_epoch=0,
    )
    feed = Feed(job, spec(1, 6), recipe, 0)
    pixels, labels = validation.decode(np.arange(len(validation)), Resize(32))
    batches = list(feed.validation())
    np.testing.assert_array_equal(np.concatenate([batch.numpy() for batch, _ in batches]), pixels)
    np.testing.assert_array_equal(np.concatenate([batch.numpy() for _, batch in batches]), labels)
    assert sum(len(labels) for _, labels in feed.training(0)) == len(training)
