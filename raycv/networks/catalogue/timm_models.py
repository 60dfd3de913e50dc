"""timm's models, timm/NAME, where the package timm is installed."""

from __future__ import annotations

from typing import Any

from torch import nn

from raycv.data.preprocessing import Preprocessing
from raycv.errors import UserError
from raycv.networks.spec import NetworkSpec

PREFIX = "timm/"


def check(model: str) -> None:
    """Raise UserError unless timm is installed and has the model."""
    name = model.removeprefix(PREFIX)
    timm = _timm(model)
    if not timm.is_model(name.partition(".")[0]):
        near = timm.list_models(f"*{name.partition('.')[0]}*")[:8] or timm.list_models()[:8]
        raise UserError(f"There is no timm model {name!r}; there are, among others, {', '.join(near)}.")


def construct(spec: NetworkSpec, published: bool) -> nn.Module:
    """The model; trained here it has as many classes as the images."""
    arguments = dict(spec.arguments)
    if not spec.as_built:
        arguments.setdefault("num_classes", spec.classes)
    try:
        net: nn.Module = _timm(spec.model).create_model(
            spec.model.removeprefix(PREFIX), pretrained=published, **arguments
        )
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        what = "could not be fetched" if published else "cannot be built"
        raise UserError(f"{spec.name} ({spec.model}) {what}: {_first_line(error)}.") from None
    return net


def preprocessing(model: str, arguments: dict[str, object]) -> Preprocessing:
    """As timm's own evaluation of the model: shorter side resized to crop / crop_pct, or squashed."""
    timm = _timm(model)
    config = timm.models.get_pretrained_cfg(model.removeprefix(PREFIX))
    found: dict[str, Any] = timm.data.resolve_data_config(pretrained_cfg=config.to_dict() if config else {})
    size = arguments.get("img_size", found["input_size"][-1])
    return of_timm(found | {"input_size": (3, size, size)})


def of_timm(found: dict[str, Any]) -> Preprocessing:
    """From what timm says of a model's data."""
    crop = int(found["input_size"][-1])
    return Preprocessing(
        resize=int(crop / found["crop_pct"]),
        crop=crop,
        fit="squash" if found.get("crop_mode") == "squash" else "short-side",
        interpolation="bilinear" if found["interpolation"] == "bilinear" else "bicubic",
        mean=tuple(255 * m for m in found["mean"]),
        std=tuple(255 * s for s in found["std"]),
    )


def _timm(model: str) -> Any:
    try:
        import timm
        import timm.data
        import timm.models
    except ImportError:
        raise UserError(f"The model {model} needs the package timm: pip install timm.") from None
    return timm


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}".rstrip(".: ")
