"""The batches of images that one replica of a network is trained and scored on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import ray
import ray.data
import torch

from raycv.data.sources import Source
from raycv.errors import UserError
from raycv.networks.spec import NetworkSpec
from raycv.stages.train.job import TrainJob, batch_of, steps_of
from raycv.stages.train.learning import Batch, Recipe, epoch_order

NEIGHBOURS = 64  # images read together when they are streamed


class Feed:
    """The batches of one replica, from images held in shared memory or streamed by Ray Data."""

    def __init__(self, job: TrainJob, spec: NetworkSpec, recipe: Recipe, replica: int) -> None:
        self.job, self.spec, self.replica = job, spec, replica
        self.batch, self.steps = batch_of(job, recipe), steps_of(job, recipe)
        self.held: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        if job.images is not None:
            self.held = {split: tuple(ray.get(list(refs))) for split, refs in job.images.items()}

    def training(self, epoch: int) -> Iterator[Batch]:
        """This replica's part of one epoch: full batches in an order drawn from the network's seed for it."""
        seed = self.job.seed(self.spec, epoch)
        if self.held:
            order = epoch_order(len(self.job.training), seed=seed, epoch=epoch).numpy()
            batches = self._from_memory("train", order[self.replica :: self.job.workers])
        else:
            blocks = -(-len(self.job.training) // NEIGHBOURS)
            shuffled = epoch_order(blocks, seed=seed, epoch=epoch).numpy()
            order = (shuffled[:, None] * NEIGHBOURS + np.arange(NEIGHBOURS)).ravel()
            order = order[order < len(self.job.training)][self.replica :: self.job.workers]
            batches = self._streamed(self.job.training, order, shuffle_seed=seed * 1000 + epoch)
        for step, batch in enumerate(batches):
            if step == self.steps:
                return
            yield batch

    def validation(self) -> Iterator[Batch]:
        """This replica's part of the validation images."""
        order = np.arange(len(self.job.validation))[self.replica :: self.job.workers]
        if self.held:
            return self._from_memory("validation", order)
        return self._streamed(self.job.validation, order, shuffle_seed=None)

    def _from_memory(self, split: str, order: np.ndarray) -> Iterator[Batch]:
        images, labels = self.held[split]
        for start in range(0, len(order), self.batch):
            chosen = order[start : start + self.batch]
            yield torch.from_numpy(images[chosen]), torch.from_numpy(labels[chosen])

    def _streamed(self, source: Source, order: np.ndarray, shuffle_seed: int | None) -> Iterator[Batch]:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True  # the same seed sees the same images in the same order
        context.enable_progress_bars = False
        resize = self.spec.preprocessing.resizing
        chunks = np.array_split(order, max(1, len(order) // (8 * NEIGHBOURS)))

        board = self.job.board

        def decode(rows: Any) -> Any:
            try:
                images, labels = source.decode(rows["data"], resize)
            except UserError as mistake:  # Ray Data would pass on only its text
                ray.get(board.fail.remote(str(mistake)))
                raise
            return {"images": images, "labels": labels}

        # Without processors of their own: those that are free now may be gone with a node, and training would wait.
        data = ray.data.from_numpy(chunks).map_batches(
            decode, batch_size=None, num_cpus=0, compute=ray.data.TaskPoolStrategy(size=self.job.readers)
        )
        shuffling: dict[str, Any] = {}
        if shuffle_seed is not None:
            shuffling = {"local_shuffle_buffer_size": 8 * self.batch, "local_shuffle_seed": shuffle_seed}
        for batch in data.iter_torch_batches(batch_size=self.batch, **shuffling):
            yield batch["images"], batch["labels"].long()
