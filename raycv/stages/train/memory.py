"""How much memory a training worker needs."""

from __future__ import annotations

from collections.abc import Sequence

from raycv.memory import Need
from raycv.networks.sizes import sizes_of
from raycv.networks.spec import NetworkSpec
from raycv.stages.intended import Intended
from raycv.stages.train.recipe import WINDOW, Recipe, recipe_of


def worker_need(specs: Sequence[NetworkSpec], recipes: Sequence[Recipe], workers: int, images: int) -> Need:
    """The most that a worker needs; all of them, ``workers`` for each network, run at the same time.

    ``images``: there are to train on.
    """
    bytes_of = [
        worker_bytes(spec, max(1, min(recipe.batch_size, images) // workers))
        for spec, recipe in zip(specs, recipes, strict=True)
    ]
    remedy = "use a smaller --batch-size, fewer --workers, or fewer or narrower networks"
    return Need.of(max(bytes_of), remedy, "a worker", len(specs) * workers)


def worker_bytes(spec: NetworkSpec, batch: int) -> int:
    """The peak, in bytes, beyond an idle process, for P parameters, A values in the network, and B images a step:

        4·8·P               weights, gradients and momentum; weights and momentum in the order of a file, the file, and
                            a copy of it on its way to the store
      + 3·4·B·A             what every module gives, kept for the way back; gradients, and what pooling and local
                            response normalisation keep besides
      + (4·window + 3·4)·B·3·(pixels)   images, decoded a window ahead, and one batch of them as floats

    Images that all workers share in Ray's object store are not counted.
    """
    sizes, size = sizes_of(spec), spec.preprocessing.resizing.size
    images = (4 * WINDOW + 3 * 4) * batch * 3 * size**2
    return 4 * 8 * sizes.weights + 3 * 4 * batch * sizes.values + images


def planned(run: Intended) -> list[Need]:
    """What a worker of an intended run will need; nothing where the networks are imported."""
    recipes = [recipe_of(spec.model, run.config) for spec in run.specs] if run.training else []
    return [worker_need(run.specs, recipes, run.config.workers, run.training)] if recipes else []


def traffic(run: Intended) -> str:
    """What training reads and writes."""
    written = run.weight_bytes * (2 * run.epochs + 1)  # weights and momentum after every epoch; in the end weights
    read = f"reads {run.image_bytes / 1e6:,.1f} MB of images"
    return f"{read} and writes {written / 1e6:,.1f} MB of weights" if run.trained else ""
