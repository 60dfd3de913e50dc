"""`raycv train`: train or import several networks that differ only in their seeds."""

from __future__ import annotations

from dataclasses import replace

from raycv.config import TrainConfig
from raycv.data.sources import open_source
from raycv.errors import UserError
from raycv.networks.models import check_model
from raycv.progress import say
from raycv.run import record
from raycv.run.fingerprint import fingerprint
from raycv.run.store import RunStore
from raycv.stages.train.fit import fit
from raycv.stages.train.importing import import_networks
from raycv.stages.train.learning import recipe_of
from raycv.stages.train.specs import specs_of


def train(config: TrainConfig, store: RunStore) -> None:
    """Train or import the networks of a run and write ``networks/`` and the table ``training``.

    Does nothing where the run already has exactly these. Raises UserError for bad settings or images.
    """
    record.check_folder(store)
    for model in config.model:
        check_model(model)
    training = open_source(config.data, "train", image_column=config.image_column, label_column=config.label_column)
    validation = open_source(
        config.data, "validation", image_column=config.image_column, label_column=config.label_column
    )
    if training.classes != validation.classes:
        raise UserError(
            f"The training images of {config.data} have {training.classes} classes and the validation images "
            f"{validation.classes}; both need the same classes."
        )
    if config.train_images is not None:
        training = training.first(config.train_images)
    specs = specs_of(config, training.classes)
    recipes = [recipe_of(spec.model, config) for spec in specs]
    # All networks report together at the end of each epoch, so all train for the same number of epochs.
    recipes = [replace(recipe, epochs=max(r.epochs for r in recipes)) for recipe in recipes]
    result_of = fingerprint(
        [spec.model_dump(mode="json") for spec in specs],
        [vars(recipe) for recipe in recipes] if not config.checkpoints else list(config.checkpoints),
        training.identity,
        validation.identity,
        config.workers,
    )
    if record.finished(store, "train", result_of):
        say(f"train: already finished, nothing to do; the networks are in {store.locate('networks')}")
        return
    if config.checkpoints:
        facts = import_networks(config, specs, store)
    else:
        facts = fit(config, specs, recipes, training, validation, result_of, store)
    record.finish(store, "train", result_of, config.model_dump(mode="json"), facts)
    say(f"train: {len(specs)} networks in {store.locate('networks')}")
