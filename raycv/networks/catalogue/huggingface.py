"""Hugging Face's vision models from a local folder, hf/FOLDER, where the package transformers is installed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from raycv.data.preprocessing import Preprocessing
from raycv.errors import UserError
from raycv.networks.spec import Argument, NetworkSpec

PREFIX = "hf/"
CONFIG, ADAPTER = "config.json", "adapter_config.json"
# What in a configuration names code, or weights and models elsewhere.
CLOSED = (
    "auto_map",
    "backbone",
    "base_model_name_or_path",
    "custom_pipelines",
    "kernel_config",
    "quantization_config",
    "trust_remote_code",
    "use_kernels",
    "use_pretrained_backbone",
    "use_timm_backbone",
)
ATTENTIONS = ("eager", "sdpa")  # of its implementations those that are in transformers itself and in PyTorch
BILINEAR = 2  # as Pillow numbers it


def check(model: str, arguments: Mapping[str, Argument]) -> None:
    """Raise UserError unless transformers is installed and the folder holds one of its models of images.

    The class is one of transformers' own, built from config.json as data; a folder that asks for more is refused.
    """
    if arguments:
        raise UserError(f"{model} takes no arguments, and was given {', '.join(arguments)}; leave them out.")
    folder = _folder(model)
    if not (folder / CONFIG).is_file():
        raise UserError(
            f"{folder} holds no Hugging Face model: it has no {CONFIG}; name a folder that save_pretrained wrote."
        )
    _class_of(model, _transformers(model))


def construct(spec: NetworkSpec, published: bool) -> nn.Module:
    """The model, which then takes images and gives logits or, without a classifier, its pooled features."""
    transformers, folder = _transformers(spec.model), _folder(spec.model)
    built = _class_of(spec.model, transformers)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        net: nn.Module = (
            built.from_pretrained(folder, config=config, local_files_only=True, use_safetensors=True)
            if published
            else built(config)
        )
    except Exception as error:  # whatever a library raises of a folder that it cannot do with
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(f"{spec.name} cannot be read from {folder}: {reason}.") from None
    return _of_images(net)


def _class_of(model: str, transformers: Any) -> Any:
    """The class of the model in a folder. Raises UserError unless it is one of transformers' own for images."""
    from transformers.models.auto import modeling_auto as known

    path = _folder(model) / CONFIG
    try:
        config = json.loads(path.read_bytes())
        kind, asked = config.get("model_type"), config.get("architectures") or ()
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({error}); name a folder that save_pretrained wrote.") from None
    closed = _closed(config)
    if not closed and (_folder(model) / ADAPTER).exists():
        closed = ADAPTER
    if closed:
        raise UserError(
            f"{model} asks for more than a model of transformers' own: {closed}; raycv runs no code of a folder's, and "
            "fetches nothing that it names. Build the network in a function of your own, and name that."
        )
    for names in (known.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, known.MODEL_FOR_IMAGE_MAPPING_NAMES):
        of_kind = names.get(kind, ()) if isinstance(kind, str) and not kind.startswith("timm_") else ()
        classes = (of_kind,) if isinstance(of_kind, str) else tuple(of_kind)
        chosen = [name for name in classes if name in asked]
        if chosen:
            return getattr(transformers, chosen[0])
    raise UserError(
        f"{model} is {', '.join(map(str, asked)) or 'a model'} of the type {kind}, which is no model of images of "
        "transformers' own; build it in a function of your own, and name that."
    )


def _closed(config: Any, above: str = "") -> str:
    """What in a configuration makes transformers fetch or import more than the model's own class; empty for nothing."""
    if isinstance(config, dict):
        for name, value in config.items():
            plain = value is None or value is False or value in ATTENTIONS
            if (name in CLOSED or name.endswith("_implementation")) and not plain:
                return f"{above}{name}"
            below = _closed(value, f"{above}{name}.")
            if below:
                return below
    if isinstance(config, list):
        return next((found for value in config if (found := _closed(value, above))), "")
    return ""


def preprocessing(model: str, _arguments: dict[str, object]) -> Preprocessing:
    """As preprocessor_config.json in the folder says."""
    path = _folder(model) / "preprocessor_config.json"
    try:
        found = json.loads(path.read_text())
        size, cut = found["size"], found.get("crop_size")
        short = size if isinstance(size, int) else size.get("shortest_edge")
        resize = short or size["height"]
        crop = (cut if isinstance(cut, int) else cut["height"]) if cut and found.get("do_center_crop", True) else resize
        return Preprocessing(
            resize=resize,
            crop=crop,
            fit="short-side" if short else "squash",
            interpolation="bilinear" if found.get("resample", BILINEAR) == BILINEAR else "bicubic",
            mean=tuple(255 * m for m in found.get("image_mean", (0.5, 0.5, 0.5))),
            std=tuple(255 * s for s in found.get("image_std", (0.5, 0.5, 0.5))),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} does not say how {model} wants its images ({error}); give preprocessing in the list of networks."
        ) from None


def _of_images(net: nn.Module) -> nn.Module:
    """The same network, called with images and returning one tensor; its module paths stay as they are."""
    whole = net.forward

    def forward(images: Tensor) -> Tensor:
        found: Any = whole(pixel_values=images)
        for name in ("logits", "pooler_output", "last_hidden_state"):
            if getattr(found, name, None) is not None:
                values: Tensor = getattr(found, name)
                return values
        raise UserError("The model gives neither logits nor features.")

    net.forward = forward
    return net


def _folder(model: str) -> Path:
    return Path(model.removeprefix(PREFIX))


def _transformers(model: str) -> Any:
    try:
        import transformers
    except ImportError:
        raise UserError(f"The model {model} needs the package transformers: pip install transformers.") from None
    return transformers
