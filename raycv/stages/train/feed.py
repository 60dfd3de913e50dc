"""The batches of images, or of sequences of bytes, that one replica of a network is trained and scored on."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import ray
import torch

from raycv.data.decoder import Decoder, joined
from raycv.data.sources import Source
from raycv.devices import Copies, is_cuda
from raycv.networks.evaluation import Batch
from raycv.networks.spec import NetworkSpec
from raycv.stages.train.job import TrainJob, batch_of, steps_of
from raycv.stages.train.learning import epoch_order
from raycv.stages.train.recipe import WINDOW, Recipe

CPU = torch.device("cpu")
Mixed = np.random.Generator | None


class Feed:
    """The batches of one replica, from images held in shared memory, or read and decoded while it trains."""

    def __init__(
        self, job: TrainJob, spec: NetworkSpec, recipe: Recipe, replica: int, device: torch.device = CPU
    ) -> None:
        self.job, self.spec, self.replica, self.device = job, spec, replica, device
        self.batch, self.steps = batch_of(job, recipe), steps_of(job, spec, recipe)
        self.condition = job.condition(spec)
        self.labels = self.condition.labelled(len(job.training), job.training.classes)
        self.held: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.decoders: dict[str, Decoder] = {}
        if job.images is not None:
            self.held = {split: tuple(ray.get(list(refs))) for split, refs in job.images.items()}
            images, labels = self.held["train"]
            self.held["train"] = images, labels if self.labels is None else self.labels

    def training(self, epoch: int) -> Generator[Batch]:
        """This replica's part of one epoch: full batches in an order drawn from the network's seed for it.

        Images that lie in files of their own, or in memory, are permuted one by one; of Parquet, where single images
        cost a whole row group, neighbours stay together, and are mixed in windows of some batches.
        """
        seed, size = self.job.seed(self.spec, epoch), self.job.images_of(self.spec)
        if self.held:
            order = epoch_order(size, seed=seed, epoch=epoch).numpy()
            batches = self._from_memory("train", self._part(order))
        else:
            together = self.job.training.reader.neighbours
            shuffled = epoch_order(-(-size // together), seed=seed, epoch=epoch).numpy()
            order = (shuffled[:, None] * together + np.arange(together)).ravel()
            order = self._part(order[order < size])
            mixed = np.random.default_rng([seed, epoch, self.replica]) if together > 1 else None
            # To augment images, their pixels need not be those of Pillow to the last one.
            batches = self._streamed(
                self._decoder("train", self.job.training), order, exact=False, mixed=mixed, labelled=self.labels
            )
        return self._prefetched(batches)

    def validation(self) -> Generator[Batch]:
        """This replica's part of the validation images."""
        order = np.arange(len(self.job.validation))[self.replica :: self.job.workers]
        if self.held:
            return self._prefetched(self._from_memory("validation", order))
        return self._prefetched(self._streamed(self._decoder("validation", self.job.validation), order, exact=True))

    def _part(self, order: np.ndarray) -> np.ndarray:
        """This replica's part of the training images: full batches. ``order``: of those of its network."""
        return self.condition.numbers(order[self.replica :: self.job.workers][: self.steps * self.batch])

    def _prefetched(self, batches: Generator[Batch]) -> Generator[Batch]:
        return batches if self.device == CPU else ahead(batches, self.device)

    def _from_memory(self, split: str, order: np.ndarray) -> Generator[Batch]:
        images, labels = self.held[split]
        for start in range(0, len(order), self.batch):
            yield self._batch(images, labels, order[start : start + self.batch])

    def _streamed(
        self,
        decoder: Decoder,
        order: np.ndarray,
        *,
        exact: bool,
        mixed: Mixed = None,
        labelled: np.ndarray | None = None,
    ) -> Generator[Batch]:
        """Batches read and decoded ahead of the training, window by window; ``mixed`` permutes a window.

        ``labelled``: labels of all images in the place of their own.
        """
        resize, window = self.spec.preprocessing.resizing, WINDOW * self.batch
        windows = [order[start : start + window] for start in range(0, len(order), window)]
        ahead = deque(decoder.begin(numbers, resize, exact=exact) for numbers in windows[:1])
        try:
            for number in range(len(windows)):
                images, labels = joined(ahead.popleft())
                if number + 1 < len(windows):
                    ahead.append(decoder.begin(windows[number + 1], resize, exact=exact))
                yield from self._batches(images, labels if labelled is None else labelled[windows[number]], mixed)
        finally:
            for part in (part for parts in ahead for part in parts):
                part.cancel()

    def _decoder(self, split: str, source: Source) -> Decoder:
        if split not in self.decoders:
            source.keep_near()
            self.decoders[split] = Decoder(source, min(self.job.readers, os.cpu_count() or 1))
        return self.decoders[split]

    def _batches(self, images: np.ndarray, labels: np.ndarray, mixed: Mixed) -> Generator[Batch]:
        order = np.arange(len(labels)) if mixed is None else mixed.permutation(len(labels))
        for start in range(0, len(order), self.batch):
            yield self._batch(images, labels, order[start : start + self.batch])

    def _batch(self, images: np.ndarray, labels: np.ndarray, chosen: np.ndarray) -> Batch:
        """Some of the images; where CUDA is fed, in memory from which it copies fast."""
        shape = len(chosen), *images.shape[1:]
        taken = torch.empty(shape, dtype=torch.uint8, pin_memory=is_cuda(self.device))
        np.take(images, chosen, axis=0, out=taken.numpy(), mode="clip")  # "raise" would make a copy first
        return taken, torch.from_numpy(labels[chosen])


def ahead(batches: Generator[Batch], device: torch.device) -> Generator[Batch]:
    """The same batches on ``device``; a thread fetches and copies the next one while one is used."""
    copies = Copies(device)

    def fetch() -> Batch | None:
        batch = next(batches, None)
        if batch is None:
            return None
        images, labels = copies.of(batch)
        return images, labels

    with closing(batches), ThreadPoolExecutor(1) as pool:
        coming = pool.submit(fetch)
        while (batch := coming.result()) is not None:
            coming = pool.submit(fetch)
            copies.use(batch)
            yield batch
