"""timm's models, timm/NAME, where the package timm is installed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from torch import nn

from raycv.data.preprocessing import Fit, Interpolation, Preprocessing
from raycv.errors import UserError
from raycv.networks.spec import TIMM, Argument, NetworkSpec

PREFIX = "timm/"
# Arguments of timm's that are about files and weights, or about how a model is run, and not about its shape.
CLOSED = re.compile(
    "pretrained.*|.*_cfg|.*_overlay|checkpoint_path|cache_dir|state_dict|kwargs_filter|features_only|out_indices|"
    "scriptable|exportable|no_jit|device|dtype|hf_.*|source|url|file|architecture|model_name|variant"
)
WORD = re.compile("[A-Za-z0-9_.-]*")  # no path, no address
FITS: dict[str, Fit] = {"center": "short-side", "squash": "squash"}  # timm's modes of cropping


def check(model: str, arguments: Mapping[str, Argument]) -> None:
    """Raise UserError unless timm is installed and has the model, and the arguments are of its shape alone.

    Only names of timm's own models are taken: others make it read folders, or fetch from hubs what a model is.
    """
    name = model.removeprefix(PREFIX)
    timm = _timm(model)
    if not TIMM.fullmatch(model) or not timm.is_model(name.partition(".")[0]):
        plain = re.sub("[^a-z0-9_]", "", name.partition(".")[0])
        near = timm.list_models(f"*{plain}*")[:8] or timm.list_models()[:8]
        raise UserError(f"There is no timm model {name!r}; there are, among others, {', '.join(near)}.")
    for argument, value in arguments.items():
        if CLOSED.fullmatch(argument) or (isinstance(value, str) and not WORD.fullmatch(value)):
            raise UserError(
                f"{model} was given the argument {argument}={value!r}; allowed are those that shape a model, such as "
                "embed_dim or global_pool, as numbers, yes or no, and words without a slash or colon."
            )


def construct(spec: NetworkSpec, published: bool) -> nn.Module:
    """The model; trained here it has as many classes as the images."""
    arguments = dict(spec.arguments)
    if not spec.as_built:
        arguments.setdefault("num_classes", spec.classes)
    try:
        net: nn.Module = _timm(spec.model).create_model(
            spec.model.removeprefix(PREFIX), pretrained=published, **arguments
        )
    except Exception as error:  # whatever a library raises of arguments that it cannot do with
        what = "could not be fetched" if published else "cannot be built"
        raise UserError(f"{spec.name} ({spec.model}) {what}: {_first_line(error)}.") from None
    return net


def preprocessing(model: str, arguments: dict[str, object]) -> Preprocessing:
    """As timm's own evaluation of the model: shorter side resized to crop / crop_pct, or squashed."""
    timm = _timm(model)
    config = timm.models.get_pretrained_cfg(model.removeprefix(PREFIX))
    found: dict[str, Any] = timm.data.resolve_data_config(pretrained_cfg=config.to_dict() if config else {})
    size = arguments.get("img_size")
    return of_timm(model, found | ({"input_size": (3, size, size)} if "img_size" in arguments else {}))


def of_timm(model: str, found: dict[str, Any]) -> Preprocessing:
    """From what timm says of a model's data. Raises UserError where raycv cannot prepare images in this way."""
    channels, height, crop = found["input_size"]
    mode = found.get("crop_mode") or "center"
    resize = int(crop / found["crop_pct"])
    why = ""
    if (channels, height) != (3, crop):
        why = f"it takes images of {channels} x {height} x {crop} values, and raycv makes squares of three colours"
    elif mode not in FITS:
        why = f"it crops images in timm's mode {mode}, and raycv does {' and '.join(FITS)}"
    elif found["interpolation"] not in get_args(Interpolation):
        why = f"it resizes by {found['interpolation']}, and raycv by {' or '.join(get_args(Interpolation))}"
    elif crop > resize:
        why = f"it resizes images to {resize} pixels and puts a frame around, up to {crop}"
    if why:
        raise UserError(
            f"Images cannot be prepared as {model} has them: {why}; give preprocessing in the list of networks."
        )
    return Preprocessing(
        resize=resize,
        crop=crop,
        fit=FITS[mode],
        interpolation=found["interpolation"],
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
