"""Descriptions of the networks of a run."""

from __future__ import annotations

from fnmatch import fnmatchcase

from raycv.config import PUBLISHED, Network, TrainConfig
from raycv.data.tokenizing import words_of
from raycv.errors import UserError
from raycv.networks import alexnet_sizes, catalogue
from raycv.networks.catalogue import preprocessing_of, tokens_of
from raycv.networks.layer_names import LayerSize, matching, outline
from raycv.networks.recordings import recording_spec
from raycv.networks.sizes import check_sizes, sizes_of
from raycv.networks.spec import ALEXNET_LAYERS, LOGITS, SMALL_GPT, WIDTHS, NetworkSpec, Place, check_alike
from raycv.networks.tokens import CLASS, PATCHES, part_among, part_of
from raycv.stages.train.layer_pairs import placed, rows_of


def specs_of(config: TrainConfig, classes: int, *, ids: bool = False) -> list[NetworkSpec]:
    """One description per network. Raises UserError for networks that cannot be built or compared with one another.

    With ``ids`` language models are given token ids, and not texts.
    """
    whole = [_whole(number, network, classes, config.context, ids) for number, network in enumerate(config.networks)]
    bare = _of_texts(whole) or [_trained(config, number, classes) for number in range(len(config.seeds))]
    if len(bare) < 2:
        given = "networks" if whole else "checkpoints" if config.checkpoints else "seeds"
        raise UserError(f"A comparison needs two networks and --{given} names one; name two or more.")
    asked = tuple((layer, int(axis)) for layer, _, axis in (given.rpartition("=") for given in config.unit_axis))
    bare = [spec if spec.is_recorded else spec.model_copy(update={"unit_axes": asked}) for spec in bare]
    names = [spec.name for spec in bare]
    if len(set(names)) < len(names):
        raise UserError(f"Two networks have the name {max(names, key=names.count)}; give them different names.")
    there = _layers_of_all(bare, config)
    rows = rows_of(bare, there, config.compare)
    specs = _with_logits(placed(bare, there, rows, config.positions))
    if config.compare == ("all",):
        specs = [spec.model_copy(update={"across": tuple(of)}) for spec, of in zip(specs, there, strict=True)]
    check_alike(specs)
    check_sizes(specs)
    return specs


def _trained(config: TrainConfig, number: int, classes: int) -> NetworkSpec:
    """A network that is trained here, or imported into one of our models; its layers are still to be said."""
    model = config.model[number % len(config.model)]
    width = config.width[number % len(config.width)] if config.width else None
    spec = NetworkSpec(
        name=f"net{number + 1}",
        model=model,
        classes=classes,
        seed=config.seeds[number],
        layers=(ALEXNET_LAYERS[-1] if model in WIDTHS else LOGITS,),
        preprocessing=preprocessing_of(model),
        tokens=tokens_of(model, config.context) if model == SMALL_GPT else None,
        width=(width or WIDTHS[model]) if model in WIDTHS else None,
    )
    if spec.tokens is not None:
        return spec.model_copy(update={"classes": 1})
    if not spec.has_own_outputs:
        return spec
    outputs = _outputs_of(spec)
    if outputs != classes and not config.checkpoints:
        raise UserError(
            f"{model} gives {outputs or 'no'} outputs for an image and the images have {classes} classes; training "
            "needs one output for each class."
        )
    return spec.model_copy(update={"classes": outputs or 1})


def reads_texts(config: TrainConfig) -> bool:
    """Whether the networks are language models. Raises UserError where some are and others are not, or are trained."""
    networks = config.networks or [Network(model=model) for model in config.model]
    texts = [one.model for one in networks if not one.is_recorded and catalogue.reads_texts(one.model)]
    other = next((one.model for one in networks if one.model not in texts), None)
    foreign = next((model for model in texts if model != SMALL_GPT), None)
    if foreign is not None and not config.networks:
        raise UserError(
            f"{foreign} is a language model, of which raycv trains its own small-gpt alone; give trained ones with "
            "--networks."
        )
    if texts and other is not None:
        raise UserError(f"{texts[0]} reads texts and {other} does not; compare networks that see the same.")
    return bool(texts)


def _of_texts(specs: list[NetworkSpec]) -> list[NetworkSpec]:
    """The same, with language models reading the same samples: tokens, or words where their tokenizers differ."""
    texts = [spec.tokens for spec in specs if spec.tokens is not None]
    if not texts:
        return specs
    if texts[0].ids:
        return _of_ids(specs)
    if len({tokens.digest for tokens in texts}) == 1:
        return [spec.model_copy(update={"tokens": texts[0]}) for spec in specs]
    words = {tokens: words_of(tokens) for tokens in texts}
    return [spec.model_copy(update={"tokens": words[spec.tokens]}) for spec in specs if spec.tokens is not None]


def _of_ids(specs: list[NetworkSpec]) -> list[NetworkSpec]:
    """The same, all with the one tokenizer that makes text of the ids. Raises UserError where there are two."""
    known = {spec.tokens.digest: spec for spec in specs if spec.tokens is not None and spec.tokens.digest}
    if len(known) > 1:
        one, other, *_ = known.values()
        raise UserError(
            f"The documents are token ids, and the tokenizers of {one.name} and {other.name} differ, so they cannot be "
            "both networks' ids; give texts, which each network's own tokenizer reads."
        )
    first = next(iter(known.values()), specs[0]).tokens
    assert first is not None
    shared = {"folder": first.folder, "digest": first.digest}
    return [spec.model_copy(update={"tokens": spec.tokens.model_copy(update=shared)}) for spec in specs if spec.tokens]


def _whole(number: int, network: Network, classes: int, context: int, ids: bool) -> NetworkSpec:
    """A network that is given whole; its layers are still to be said."""
    if network.is_recorded:
        return recording_spec(network.name or f"net{number + 1}", network.model)
    if network.model in (*WIDTHS, SMALL_GPT) and network.weights == PUBLISHED:
        raise UserError(
            f"There are no published weights of {network.model}; name a file of weights in the list of networks, or "
            "train networks with --model."
        )
    tokens = tokens_of(network.model, context, ids=ids)
    if tokens is not None and network.preprocessing is not None:
        raise UserError(f"{network.model} reads texts, and preprocessing is for images; leave it out.")
    spec = NetworkSpec(
        name=network.name or f"net{number + 1}",
        model=network.model,
        classes=classes,
        seed=network.seed,
        layers=(ALEXNET_LAYERS[-1] if network.model in WIDTHS else LOGITS,),
        preprocessing=network.preprocessing or preprocessing_of(network.model, dict(network.arguments)),
        width=WIDTHS.get(network.model),
        arguments=tuple(sorted(network.arguments.items())),
        as_built=network.weights == PUBLISHED,
        tokens=tokens,
    )
    return spec.model_copy(update={"classes": _outputs_of(spec) or 1}) if spec.has_own_outputs else spec


def _layers_of_all(specs: list[NetworkSpec], config: TrainConfig) -> list[dict[str, LayerSize]]:
    """The layers of every network that may be compared.

    Patterns for all networks need to match in some network of every architecture, not each of them in each.
    """
    own = [network.layers for network in config.networks] or [None] * len(specs)
    there = [_layers_of(spec, config) for spec in specs]
    asked = {layer for spec in specs for layer, _ in spec.unit_axes}
    unknown = [layer for layer in asked if not any(layer in of for of in there)]
    if unknown:
        raise UserError(
            f"unit_axis names {unknown[0]!r}, which is no layer of a network with that axis; `raycv layers` says what "
            "the axes of a model's layers are."
        )
    several = len({spec.architecture for spec in specs}) > 1
    chosen = []
    for spec, layers, given in zip(specs, there, own, strict=True):
        patterns = given or config.layers
        if patterns and not given and several:
            elsewhere = [p for p in patterns if any(_matches(p, other) for other in there) and not _matches(p, layers)]
            patterns = tuple(p for p in patterns if p not in elsewhere) or patterns
        chosen.append(_layers(spec, layers, patterns, config))
    return chosen


def _layers_of(spec: NetworkSpec, config: TrainConfig) -> dict[str, LayerSize]:
    """All layers of a network; of an AlexNet of which no others are asked for, the named ones, without PyTorch."""
    is_usual = not (config.networks or config.layers or config.unit_axis) and config.compare == ("same",)
    known = alexnet_sizes.layers(spec) if is_usual else None
    if known is not None:
        return known
    from raycv.networks.layers import layers_of

    return layers_of(spec)


def _outputs_of(spec: NetworkSpec) -> int | None:
    from raycv.networks.layers import outputs_of  # which needs PyTorch

    return outputs_of(spec)


def _matches(pattern: str, layers: dict[str, LayerSize]) -> bool:
    return pattern in layers or any(fnmatchcase(layer, part_of(pattern).path) for layer in layers)


def _layers(
    spec: NetworkSpec, there: dict[str, LayerSize], patterns: tuple[str, ...] | None, config: TrainConfig
) -> dict[str, LayerSize]:
    """The layers of a network that may be compared."""
    listed = config.compare[0] not in ("same", "all")
    if patterns is None and spec.model in WIDTHS and not listed:
        patterns = ALEXNET_LAYERS
    if patterns is None and spec.model == SMALL_GPT and not listed:
        from raycv.networks.small_gpt import LAYERS  # which needs PyTorch

        patterns = LAYERS
    if patterns is None and spec.is_recorded:
        return there
    if patterns is None:
        if not listed:
            raise UserError(_which_layers(spec.model, there))
        return there | {f"{layer}:{part}": of for layer, of in there.items() if of.grid for part in (CLASS, PATCHES)}
    for pattern in patterns:
        if not spec.is_recorded and not _matches(pattern, there) and not set(pattern) & set("*?["):
            sizes_of(spec.model_copy(update={"layers": (pattern,)}))  # says what is the matter with it
    return {layer: there[part_among(layer, there).path] for layer in matching(spec.name, list(there), patterns)}


def _with_logits(specs: list[NetworkSpec]) -> list[NetworkSpec]:
    """The same, with the logits where all have as many: their matching is the health check."""
    output = LOGITS if any(spec.output == LOGITS for spec in specs) else specs[0].output
    without = any(spec.is_recorded or (spec.has_own_outputs and _outputs_of(spec) is None) for spec in specs)
    if without or output in specs[0].layers or len({spec.classes for spec in specs}) > 1:
        return specs
    made = []
    for spec in specs:
        places = tuple(spec.place(layer) for layer in spec.layers)
        own = Place(module=ALEXNET_LAYERS[-1] if spec.model in WIDTHS else LOGITS)
        plain = not spec.places and own.module == output
        made.append(
            spec.model_copy(
                update={"layers": (*spec.layers, output), "places": () if plain else (*places, own)},
            )
        )
    return made


def _which_layers(model: str, layers: dict[str, LayerSize]) -> str:
    """What to say to a user who names a model and no layers."""
    shown = outline(layers)
    deeper = f", and {len(layers) - len(shown)} below these" if len(layers) > len(shown) else ""
    named = ", ".join(f"{name} ({layer.units})" for name, layer in shown.items())
    return (
        f"For the model {model!r} name the layers to compare, as module paths, with --layers; it has (in brackets, "
        f"their units) {named}{deeper}."
    )
