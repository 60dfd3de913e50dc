"""`raycv train`: train or import several networks that differ only in their seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from raycv.config import CONTEXT, RunConfig, TrainConfig
from raycv.data.readers import Reader, listing
from raycv.data.samples import RecordedSamples
from raycv.data.sources import Source, open_source
from raycv.data.texts import Documents, column_of
from raycv.data.windows import Windows, open_windows
from raycv.errors import UserError
from raycv.networks.catalogue import check_model
from raycv.networks.recordings import check_samples, validation_of
from raycv.networks.sizes import sizes_of
from raycv.networks.spec import NetworkSpec
from raycv.networks.stored import stored
from raycv.progress import say
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.store import RunStore
from raycv.stages.intended import Intended
from raycv.stages.train.conditions import Condition, conditions_of
from raycv.stages.train.recipe import Recipe, recipe_of
from raycv.stages.train.resized import say_how_resized
from raycv.stages.train.specs import reads_texts, specs_of

OF_IMAGES = ("train_labels", "train_part", "train_classes", "augmentation")  # settings that need images


@dataclass(frozen=True)
class Asked:
    """What the settings ask for, and the name of the result."""

    specs: list[NetworkSpec]
    recipes: list[Recipe]
    training: Source | None
    validation: Source
    conditions: list[Condition]
    result_of: str


def train(config: TrainConfig, store: RunStore) -> None:
    """Train or import the networks of a run and write ``networks/`` and the table ``training``.

    Does nothing where the run already has exactly these. Raises UserError for bad settings or images.
    """
    record.check_folder(store)
    asked = asked_for(config)
    if is_done(config, store, asked):
        say(f"train: already finished, nothing to do; the networks are in {store.locate('networks')}")
        return
    from raycv.networks import checkpoints  # which, like what imports networks, needs PyTorch
    from raycv.stages.train.importing import import_networks

    if _has_weights(config, store, asked):
        checkpoints.describe(store, asked.specs)
        say("train: the networks are there, and other layers of them will be compared")
        facts = record.read(store)["stages"]["train"]
        facts = {name: value for name, value in facts.items() if name not in ("fingerprint", "finished")}
    elif asked.training is None:
        say_how_resized(asked.specs, asked.validation)
        facts = import_networks(config, asked.specs, store)
    else:
        from raycv.stages.train.fit import fit  # which needs Ray; what only asks about a run does not

        say_how_resized(asked.specs, asked.training)
        facts = fit(
            config,
            asked.specs,
            asked.recipes,
            asked.training,
            asked.validation,
            asked.conditions,
            asked.result_of,
            store,
        )
    record.finish(store, "train", asked.result_of, config.model_dump(mode="json"), facts)
    say(f"train: {len(asked.specs)} networks in {store.locate('networks')}")
    if config.keep_epochs:
        say(f"train: as they were after {_listed(config.keep_epochs)} in {store.locate('networks/NET/epochs')}")


def is_done(config: TrainConfig, store: RunStore, asked: Asked | None = None) -> bool:
    """Whether the run has the networks that the settings ask for."""
    asked = asked or asked_for(config)
    return _has_weights(config, store, asked) and asked.specs == [network.spec for network in stored(store)]


def _has_weights(config: TrainConfig, store: RunStore, asked: Asked) -> bool:
    """Whether the run has these networks, whichever of their layers are compared."""
    return record.finished(store, "train", asked.result_of) and _is_there(config, asked.specs, store)


def intended(config: RunConfig) -> Intended:
    """The run that the settings ask for. Raises UserError for settings or images with which it cannot be done."""
    asked = asked_for(config)
    read = asked.validation.reader
    return Intended(
        config,
        asked.specs,
        training=asked.conditions[0].count(len(asked.training)) if asked.training is not None else 0,
        validation=len(asked.validation),
        epochs=asked.recipes[0].epochs,
        image_bytes=_bytes_of(read),
        weight_bytes=4 * sum(sizes_of(spec).weights for spec in asked.specs),
    )


def _bytes_of(read: Reader) -> int:
    """Of all files of images or documents."""
    if isinstance(read, Documents):
        return sum(read.sizes)
    return 0 if isinstance(read, RecordedSamples) else sum(listing(read.root).values())


def asked_for(config: TrainConfig) -> Asked:
    """What the settings ask for. Raises UserError for settings or images with which that cannot be done."""
    for network in config.networks:
        if not network.is_recorded:
            check_model(network.model, network.arguments)
    for model in config.model if not config.networks else ():
        check_model(model)
    columns = {"image_column": config.image_column, "label_column": config.label_column}
    if reads_texts(config) or (config.networks and all(network.is_recorded for network in config.networks)):
        of_texts = reads_texts(config)
        ids = of_texts and column_of(config.data, config.text_column).ids
        specs = specs_of(config, classes=1, ids=ids)
        training = _texts(config, specs) if of_texts and not config.imports else None
        validation = validation_of(specs, config.data, text_column=config.text_column, **columns)
    else:
        training, validation = _images(config, columns)
        specs = specs_of(config, validation.classes)
        check_samples(specs, len(validation))
    recipes = [recipe_of(spec.model, config) for spec in specs]
    # All networks report together at the end of each epoch, so all train for the same number of epochs.
    epochs = max(recipe.epochs for recipe in recipes)
    recipes = [replace(recipe, epochs=epochs) for recipe in recipes]
    _check_epochs(config, epochs)
    conditions = conditions_of(config, specs, training) if training is not None else []
    _check_shares(config, training)
    _check_halves(config, recipes, conditions)
    result_of = fingerprint(
        [spec.without_layers() for spec in specs],
        _weights_of(config, specs) if config.imports else [vars(recipe) for recipe in recipes],
        training.identity if training is not None else None,
        validation.identity,
        config.workers,
        *([config.keep_epochs, config.fork_epoch] if config.keep_epochs or config.fork_epoch else []),
        *([config.changed] if config.changed else []),
    )
    return Asked(specs, recipes, training, validation, conditions, result_of)


def _weights_of(config: TrainConfig, specs: Sequence[NetworkSpec]) -> list[str]:
    from raycv.stages.train.importing import weights_of  # which needs PyTorch

    return weights_of(config, specs)


def _texts(config: TrainConfig, specs: Sequence[NetworkSpec]) -> Source:
    """What language models are trained on. Raises UserError for settings that are for images."""
    given = next((name for name in OF_IMAGES if name in config.changed), "width" if config.width else None)
    if given is not None:
        raise UserError(f"--{given.replace('_', '-')} is for images, and {specs[0].model} reads texts; leave it out.")
    tokens = specs[0].tokens
    assert tokens is not None
    source = open_windows(config.data, tokens, config.text_column)
    if config.train_images is None:
        return source
    assert isinstance(source.reader, Windows)
    return replace(source, reader=source.reader.first(config.train_images))


def _images(config: TrainConfig, columns: Mapping[str, str | None]) -> tuple[Source | None, Source]:
    """The training and the validation images; networks that are imported were trained on images not needed here."""
    for flag, given in (("--text-column", config.text_column), ("--context", config.context != CONTEXT)):
        if given:
            raise UserError(f"{flag} is for language models, and these networks see images; leave it out.")
    training = None if config.imports else open_source(config.data, "train", **columns)
    validation = open_source(config.data, "validation", **columns)
    if training is not None and training.classes != validation.classes:
        raise UserError(
            f"The training images of {config.data} have {training.classes} classes and the validation images "
            f"{validation.classes}; both need the same classes."
        )
    if training is not None and config.train_images is not None:
        training = training.first(config.train_images)
    return training, validation


def _check_epochs(config: TrainConfig, epochs: int) -> None:
    """Raise UserError where an epoch that the settings name is not before the end of the training."""
    for flag, given in (("--keep-epochs", config.keep_epochs), ("--fork-epoch", (config.fork_epoch or 0,))):
        late = [epoch for epoch in given if epoch >= epochs]
        if late:
            raise UserError(
                f"{flag} names epoch {late[0]}, and training ends after epoch {epochs}, which is always kept; allowed "
                "are epochs before it."
            )


def _check_shares(config: TrainConfig, training: Source | None) -> None:
    """Raise UserError where a step, or all workers of a network, would need more images than there are."""
    if training is None:
        return
    images = len(training)
    for flag, given in (("--batch-size", config.batch_size or 1), ("--workers", config.workers)):
        if given > images:
            raise UserError(
                f"{flag} is {given:,}, and there are {images:,} {training.unit} to train on; allowed are 1 to "
                f"{images:,}."
            )


def _check_halves(config: TrainConfig, recipes: Sequence[Recipe], conditions: Sequence[Condition]) -> None:
    """Raise UserError where a half of the images is less than one step of some network."""
    for recipe, condition in zip(recipes, conditions, strict=False):  # none where networks are imported
        if condition.images is not None and len(condition.images) < recipe.batch_size:
            flag = "--train-part" if config.train_part != "all" else "--train-classes"
            raise UserError(
                f"{flag} {config.changed[flag[2:].replace('-', '_')]} leaves {len(condition.images):,} images for a "
                f"network, less than one step of {recipe.batch_size:,}; use more images or a smaller --batch-size."
            )


def _listed(epochs: Sequence[int]) -> str:
    return ("epoch " if len(epochs) == 1 else "epochs ") + ", ".join(map(str, epochs))


def _is_there(config: TrainConfig, specs: Sequence[NetworkSpec], store: RunStore) -> bool:
    """Whether the files that a finished stage has written are still there."""
    there = set(store.list("networks"))
    whole = all(
        f"networks/{spec.name}/{file}" in there
        for spec in specs
        for file in ("network.json", *([] if spec.is_recorded else ["weights.safetensors"]))
    )
    return whole and (config.imports or tables.exists(store, "training"))
