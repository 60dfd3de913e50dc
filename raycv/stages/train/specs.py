"""Descriptions of the networks of a run."""

from __future__ import annotations

from raycv.config import TrainConfig
from raycv.errors import UserError
from raycv.networks.layers import layers_of_model, outline
from raycv.networks.models import preprocessing_of
from raycv.networks.sizes import check_sizes
from raycv.networks.spec import ALEXNET_LAYERS, WIDTHS, NetworkSpec, check_alike


def specs_of(config: TrainConfig, classes: int) -> list[NetworkSpec]:
    """One description per seed. Raises UserError for networks that cannot be built or compared with one another."""
    given = "checkpoints" if config.checkpoints else "seeds"
    if len(config.seeds) < 2:
        raise UserError(f"A comparison needs two networks and --{given} names one; name two or more.")
    specs = []
    for number, seed in enumerate(config.seeds):
        model = config.model[number % len(config.model)]
        ours = model in WIDTHS
        if config.layers is None and not ours:
            raise UserError(_which_layers(model, classes))
        width = config.width[number % len(config.width)] if config.width else None
        spec = NetworkSpec(
            name=f"net{number + 1}",
            model=model,
            classes=classes,
            seed=seed,
            layers=config.layers or ALEXNET_LAYERS,
            preprocessing=preprocessing_of(model),
            width=(width or WIDTHS[model]) if ours else None,
        )
        if spec.output not in spec.layers:  # the logits are always tapped: their matching is the health check
            spec = spec.model_copy(update={"layers": (*spec.layers, spec.output)})
        specs.append(spec)
    check_alike(specs)
    check_sizes(specs)
    return specs


def _which_layers(model: str, classes: int) -> str:
    """What to say to a user who names a torchvision model and no layers."""
    layers = layers_of_model(model, classes)
    shown = outline(layers)
    deeper = f", and {len(layers) - len(shown)} below these" if len(layers) > len(shown) else ""
    named = ", ".join(f"{name} ({layer.units})" for name, layer in shown.items())
    return (
        f"For the torchvision model {model!r} name the layers to compare, as module paths, with --layers; it has (in "
        f"brackets, their units) {named}{deeper}."
    )
