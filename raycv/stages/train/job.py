"""The settings that every training worker gets, and the batch size and steps that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raycv.data.sources import Source
from raycv.networks.spec import NetworkSpec
from raycv.run.store import RunStore
from raycv.stages.train.conditions import Condition
from raycv.stages.train.recipe import Recipe
from raycv.stages.train.saved import Saved


@dataclass(frozen=True)
class TrainJob:
    """What every Ray Train worker needs to know."""

    specs: tuple[NetworkSpec, ...]
    recipes: tuple[Recipe, ...]
    workers: int
    processes: int  # that train; each one replica, or replicas of several networks in turn
    threads: int
    gpus: float  # of a GPU that each worker has; 0 on CPUs
    training: Source
    validation: Source
    images: Mapping[str, tuple[Any, Any]] | None  # split -> object references of (images, labels), unless streamed
    store: RunStore
    board: Any  # handle of the TrainingProgress actor
    folder: str  # of all that is kept only until the training has ended
    readers: int  # tasks that read images at the same time for one worker, where they are streamed
    keep_epochs: tuple[int, ...]
    fork_epoch: int  # up to which all networks are the first one
    conditions: Mapping[str, Condition] = field(default_factory=dict)  # by network; the usual one where it has none

    def trained_by(self, rank: int) -> list[tuple[int, int]]:
        """The numbers of the networks, and of their replicas, that one of the processes trains."""
        return [divmod(each, self.workers) for each in range(rank, len(self.specs) * self.workers, self.processes)]

    def condition(self, spec: NetworkSpec) -> Condition:
        """What a network is trained on."""
        return self.conditions.get(spec.name, Condition())

    def kept_path(self, spec: NetworkSpec, epoch: int) -> str:
        """Where a network after one of the epochs that are kept waits for the end of the training."""
        return f"{self.folder}/kept/{epoch}/{spec.name}.safetensors"

    @property
    def forked(self) -> str:
        """Where the first network is that all are after the epoch at which they part."""
        return f"{self.folder}/kept/forked.safetensors"

    def saved(self, spec: NetworkSpec) -> Saved:
        """What a network goes on from."""
        return Saved(self.store, f"{self.folder}/saved/{spec.name}")

    def seed(self, spec: NetworkSpec, epoch: int) -> int:
        """The seed from which the randomness of an epoch follows, counted from 0."""
        given = self.condition(spec).order
        return (self.specs[0] if epoch < self.fork_epoch else spec).seed if given is None else given

    def first_seed(self, spec: NetworkSpec) -> int:
        """The seed from which the first weights follow."""
        given = self.condition(spec).weights
        return (self.specs[0] if self.fork_epoch else spec).seed if given is None else given

    def images_of(self, spec: NetworkSpec) -> int:
        """How many images a network is trained on."""
        return self.condition(spec).count(len(self.training))


def batch_of(job: TrainJob, recipe: Recipe) -> int:
    """Images per step of one replica."""
    return max(1, recipe.batch_size // job.workers)


def steps_of(job: TrainJob, spec: NetworkSpec, recipe: Recipe) -> int:
    """Steps per epoch, the same for all replicas; which images are left over differs from epoch to epoch."""
    return max(1, job.images_of(spec) // job.workers // batch_of(job, recipe))
