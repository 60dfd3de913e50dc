"""What every worker of a training is told, and what follows from it for each replica of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raycv.data.sources import Source
from raycv.networks.spec import NetworkSpec
from raycv.run.store import RunStore
from raycv.stages.train.learning import Recipe


@dataclass(frozen=True)
class TrainJob:
    """What every Ray Train worker is told."""

    specs: tuple[NetworkSpec, ...]
    recipes: tuple[Recipe, ...]
    workers: int
    threads: int
    training: Source
    validation: Source
    images: Mapping[str, tuple[Any, Any]] | None  # split -> object references of (images, labels), unless streamed
    store: RunStore
    board: Any  # handle of the Board actor


def batch_of(job: TrainJob, recipe: Recipe) -> int:
    """Images per step of one replica."""
    return max(1, recipe.batch_size // job.workers)


def steps_of(job: TrainJob, recipe: Recipe) -> int:
    """Steps per epoch: replicas must take equally many, and the images left over differ from epoch to epoch."""
    return max(1, len(job.training) // job.workers // batch_of(job, recipe))
