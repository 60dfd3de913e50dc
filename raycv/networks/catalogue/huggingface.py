"""Hugging Face's vision models from a local folder, hf/FOLDER, where the package transformers is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from raycv.data.preprocessing import Preprocessing
from raycv.errors import UserError
from raycv.networks.spec import NetworkSpec

PREFIX = "hf/"
BILINEAR = 2  # as Pillow numbers it


def check(model: str) -> None:
    """Raise UserError unless transformers is installed and the folder holds a model."""
    folder = _folder(model)
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder} holds no Hugging Face model: it has no config.json; name a folder that save_pretrained wrote."
        )
    _transformers(model)


def construct(spec: NetworkSpec, published: bool) -> nn.Module:
    """The model, which then takes images and gives logits or, without a classifier, its pooled features."""
    transformers, folder = _transformers(spec.model), _folder(spec.model)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        named = getattr(config, "architectures", None) or ()
        auto = (
            transformers.AutoModelForImageClassification
            if any(name.endswith("ForImageClassification") for name in named)
            else transformers.AutoModel
        )
        net: nn.Module = (
            auto.from_pretrained(folder, local_files_only=True, use_safetensors=True)
            if published
            else auto.from_config(config)
        )
    except (OSError, ValueError, KeyError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise UserError(f"{spec.name} cannot be read from {folder}: {reason}.") from None
    return _of_images(net)


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
