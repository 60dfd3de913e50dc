"""The batches of images that one replica of a network is trained and scored on."""

from __future__ import annotations

import copy
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np
import ray
import torch

from raycv.data.sources import Source
from raycv.networks.evaluation import Batch
from raycv.networks.spec import NetworkSpec
from raycv.stages.train.job import TrainJob, batch_of, steps_of
from raycv.stages.train.learning import Recipe, epoch_order

WINDOW = 8  # batches that are decoded ahead and mixed with one another
TOGETHER = 64  # images that a thread decodes at once


class Feed:
    """The batches of one replica, from images held in shared memory, or read and decoded while it trains."""

    def __init__(self, job: TrainJob, spec: NetworkSpec, recipe: Recipe, replica: int) -> None:
        self.job, self.spec, self.replica = job, spec, replica
        self.batch, self.steps = batch_of(job, recipe), steps_of(job, recipe)
        self.held: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.readers: dict[int, SimpleQueue[Source]] = {}
        if job.images is not None:
            self.held = {split: tuple(ray.get(list(refs))) for split, refs in job.images.items()}

    def training(self, epoch: int) -> Iterator[Batch]:
        """This replica's part of one epoch: full batches in an order drawn from the network's seed for it.

        Images that lie in files of their own, or in memory, are permuted one by one; of Parquet, where single images
        cost a whole row group, neighbours stay together, and are mixed in windows of some batches.
        """
        seed, size = self.job.seed(self.spec, epoch), len(self.job.training)
        if self.held:
            order = epoch_order(size, seed=seed, epoch=epoch).numpy()
            batches = self._from_memory("train", order[self.replica :: self.job.workers])
        else:
            together = self.job.training.reader.neighbours
            shuffled = epoch_order(-(-size // together), seed=seed, epoch=epoch).numpy()
            order = (shuffled[:, None] * together + np.arange(together)).ravel()
            order = order[order < size][self.replica :: self.job.workers]
            mixed = np.random.default_rng([seed, epoch, self.replica])
            batches = self._streamed(self.job.training, order, None if together == 1 else mixed)
        for step, batch in enumerate(batches):
            if step == self.steps:
                return
            yield batch

    def validation(self) -> Iterator[Batch]:
        """This replica's part of the validation images."""
        order = np.arange(len(self.job.validation))[self.replica :: self.job.workers]
        if self.held:
            return self._from_memory("validation", order)
        return self._streamed(self.job.validation, order, None)

    def _from_memory(self, split: str, order: np.ndarray) -> Iterator[Batch]:
        images, labels = self.held[split]
        for start in range(0, len(order), self.batch):
            chosen = order[start : start + self.batch]
            yield torch.from_numpy(images[chosen]), torch.from_numpy(labels[chosen])

    def _streamed(self, source: Source, order: np.ndarray, mixed: np.random.Generator | None) -> Iterator[Batch]:
        """Batches read and decoded ahead of the training by threads, window by window; ``mixed`` permutes a window."""
        resize, window = self.spec.preprocessing.resizing, WINDOW * self.batch
        readers, threads = self._readers_of(source), min(self.job.readers, os.cpu_count() or 1)

        def decode(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            reader = readers.get()
            try:
                return reader.decode(numbers, resize)
            finally:
                readers.put(reader)

        def begin(start: int) -> list[Future[tuple[np.ndarray, np.ndarray]]]:
            chosen = order[start : start + window]
            return [pool.submit(decode, chosen[n : n + TOGETHER]) for n in range(0, len(chosen), TOGETHER)]

        with ThreadPoolExecutor(threads) as pool:
            starts = range(0, len(order), window)
            ahead = deque(begin(start) for start in starts[:1])
            try:
                for start in starts:
                    parts = [part.result() for part in ahead.popleft()]
                    if start + window < len(order):
                        ahead.append(begin(start + window))
                    images, labels = (np.concatenate(of) for of in zip(*parts, strict=True))
                    yield from self._batches(images, labels, mixed)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _readers_of(self, source: Source) -> SimpleQueue[Source]:
        """As many copies of a source as threads read it: each keeps what it has read last, and serves one at a time."""
        if id(source) not in self.readers:
            self.readers[id(source)] = SimpleQueue()
            for _ in range(self.job.readers):
                self.readers[id(source)].put(copy.deepcopy(source))
        return self.readers[id(source)]

    def _batches(self, images: np.ndarray, labels: np.ndarray, mixed: np.random.Generator | None) -> Iterator[Batch]:
        order = np.arange(len(labels)) if mixed is None else mixed.permutation(len(labels))
        for start in range(0, len(order), self.batch):
            chosen = order[start : start + self.batch]
            yield torch.from_numpy(images[chosen]), torch.from_numpy(labels[chosen])
