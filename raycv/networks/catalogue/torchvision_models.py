"""torchvision's classification models: NAME or torchvision/NAME.

torchvision takes seconds to import, and most runs need none of its models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from raycv.data.preprocessing import Preprocessing
from raycv.errors import UserError
from raycv.networks.spec import WIDTHS, Argument, NetworkSpec

PREFIX = "torchvision/"
INCEPTIONS = ("googlenet", "inception_v3")
CLOSED = ("weights", "pretrained", "progress", "weights_backbone", "pretrained_backbone")  # arguments that fetch


def check(model: str, arguments: Mapping[str, Argument]) -> None:
    """Raise UserError unless torchvision has the model, among those that classify, and takes such arguments."""
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    if name_of(model) not in names:
        raise UserError(
            f"There is no model {model!r}; choose {', '.join(WIDTHS)}, timm/NAME, hf/FOLDER, a function of your own as "
            f"package.module:function, or a torchvision classification model: {', '.join(names)}."
        )
    for argument, value in arguments.items():
        if argument in CLOSED or isinstance(value, str):
            raise UserError(
                f"{model} was given the argument {argument}={value!r}; allowed are those that shape a model, such as "
                "num_classes or width_mult, as numbers and yes or no."
            )


def construct(spec: NetworkSpec, published: bool) -> nn.Module:
    """The model with as many classes as ``spec`` says; with ``published`` weights those of its best ones."""
    import torchvision

    name, arguments = name_of(spec.model), dict(spec.arguments)
    more: dict[str, Any] = {"aux_logits": False, "init_weights": True} if name in INCEPTIONS else {}
    if published:
        try:
            net: nn.Module = torchvision.models.get_model(name, weights="DEFAULT", **arguments)
        except OSError as error:
            raise UserError(f"The published weights of {spec.model} could not be fetched: {error}.") from None
        except Exception as error:  # whatever a library raises of arguments that it cannot do with
            raise _refused(spec, error) from error
        for auxiliary in ("aux1", "aux2", "AuxLogits"):  # for training alone; they change what forward returns
            if name in INCEPTIONS:
                setattr(net, auxiliary, None)
        return _as_prepared(net)
    if not spec.as_built:
        more["num_classes"] = spec.classes
    if name.startswith("vit_"):  # they take images of one size
        more["image_size"] = spec.preprocessing.crop
    try:
        made: nn.Module = torchvision.models.get_model(name, **{"weights": None, **more, **arguments})
    except Exception as error:
        raise _refused(spec, error) from error
    return _as_prepared(made)


def _as_prepared(net: nn.Module) -> nn.Module:
    """The same for images as ``preprocessing`` makes them, which an Inception would prepare once more by itself."""
    if hasattr(net, "transform_input"):
        setattr(net, "transform_input", False)  # noqa: B010 - a module's attribute that mypy takes for a tensor
    return net


def _refused(spec: NetworkSpec, error: Exception) -> UserError:
    reason = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    return UserError(f"{spec.name} ({spec.model}) cannot be built: {type(error).__name__}: {reason}.")


def preprocessing(model: str, _arguments: dict[str, object]) -> Preprocessing:
    """As the transforms of the model's best weights."""
    import torchvision

    name = name_of(model)
    published = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    mean, std = published.mean, published.std
    if name in INCEPTIONS:  # their weights take these, which torchvision's transform_input makes of its own
        mean = std = (0.5, 0.5, 0.5)
    return Preprocessing(
        resize=max(published.resize_size[0], published.crop_size[0]),
        crop=published.crop_size[0],
        fit="short-side",
        interpolation=published.interpolation.value,
        mean=tuple(255 * m for m in mean),
        std=tuple(255 * s for s in std),
    )


def name_of(model: str) -> str:
    """torchvision's own name of a model."""
    return model.removeprefix(PREFIX)
