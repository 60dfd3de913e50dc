"""Hugging Face's models of images and of language from a local folder, hf/FOLDER, by the package transformers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from raycv.analysis.arrays import Floats
from raycv.data.preprocessing import Preprocessing
from raycv.data.tokenizing import Tokens
from raycv.errors import UserError
from raycv.networks.catalogue import language
from raycv.networks.recordings import NO_IMAGES
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
PROCESSOR = "preprocessor_config.json"
TOKENIZER = "tokenizer_config.json"
LEVEL = 1.01  # of 256: what two ways of resizing may differ by in rounding


def check(model: str, arguments: Mapping[str, Argument]) -> None:
    """Raise UserError unless transformers is installed and the folder holds one of its models of images or language.

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
    """The model, which then takes images and gives logits or, without a classifier, its pooled features.

    A language model takes tokens and gives what its last block gives.
    """
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
        raise UserError(f"{spec.name} cannot be read from {folder}: {_first(error)}.") from None
    return _of_images(net) if spec.tokens is None else language.of_texts(net, spec.tokens)


def reads_texts(model: str) -> bool:
    """Whether it is a language model."""
    config = _config(model)
    return _image_class(config) is None and language.class_name(config) is not None


def probe_of(model: str, context: int) -> Tokens | None:
    """Sequences in which a language model's layers can be found; None for a model of images. Needs no tokenizer."""
    if not reads_texts(model):
        return None
    length = min(context, language.longest_of(_config(model)) or context)
    return Tokens(folder=str(_folder(model).resolve()), digest="", context=length, ids=True)


def tokens_of(model: str, context: int, *, ids: bool = False) -> Tokens | None:
    """How documents become sequences of a language model; None for a model of images. Raises UserError."""
    if not reads_texts(model):
        return None
    folder = _folder(model)
    if (folder / TOKENIZER).is_file():
        closed = _closed(_json(folder / TOKENIZER))
        if closed:
            raise UserError(
                f"{folder / TOKENIZER} asks for more than a tokenizer of transformers' own: {closed}; raycv runs no "
                "code of a folder's."
            )
    return language.sequences(str(folder.resolve()), _config(model), context, ids=ids)


def _class_of(model: str, transformers: Any) -> Any:
    """The class of the model in a folder. Raises UserError unless it is transformers' own, for images or texts."""
    config = _config(model)
    kind, asked = _kind(config)
    name = _image_class(config) or language.class_name(config)
    if name is None:
        raise UserError(
            f"{model} is {', '.join(map(str, asked)) or 'a model'} of the type {kind}, which is no model of images or "
            "language of transformers' own; build it in a function of your own, and name that."
        )
    return getattr(transformers, name)


def _kind(config: dict[str, Any]) -> tuple[object, list[Any]]:
    """A model's type, and the classes that its configuration asks for."""
    return config.get("model_type"), list(config.get("architectures") or ())


def _image_class(config: dict[str, Any]) -> str | None:
    """The name of the class of a model of images; None where it is none."""
    from transformers.models.auto import modeling_auto as known

    kind, asked = _kind(config)
    for names in (known.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, known.MODEL_FOR_IMAGE_MAPPING_NAMES):
        of_kind = names.get(kind, ()) if isinstance(kind, str) and not kind.startswith("timm_") else ()
        classes = (of_kind,) if isinstance(of_kind, str) else tuple(of_kind)
        chosen = next((name for name in classes if name in asked), None)
        if chosen is not None:
            return chosen
    return None


def _config(model: str) -> dict[str, Any]:
    """What a folder's config.json says. Raises UserError where it cannot be read, or asks for more than data."""
    config = _json(_folder(model) / CONFIG)
    closed = _closed(config)
    if not closed and (_folder(model) / ADAPTER).exists():
        closed = ADAPTER
    if closed:
        raise UserError(
            f"{model} asks for more than a model of transformers' own: {closed}; raycv runs no code of a folder's, and "
            "fetches nothing that it names. Build the network in a function of your own, and name that."
        )
    return config


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        _kind(found)
    except (OSError, ValueError, TypeError, RecursionError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({error}); name a folder that save_pretrained wrote.") from None
    return found


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
    """As the image processor in the folder does it, found by comparing with it.

    Processors differ in more than what their files say: some resize to size / crop_pct, some to size · 256/224, some
    normalise twice or turn colours around. So the processor itself is asked what it makes of a picture, and of the ways
    in which raycv can prepare images the one is taken that does the same within a level of 256. Raises UserError where
    none does.
    """
    folder = _folder(model)
    if (folder / CONFIG).is_file() and _image_class(_config(model)) is None:
        return NO_IMAGES
    processor = _processor(model, folder)
    pictures = _pictures()
    try:
        colours = _prepared(processor, np.stack([np.full((64, 64, 3), level, np.uint8) for level in (0, 255)]))
        of_each = [_prepared(processor, picture[None]) for picture in pictures]
    except Exception as error:  # each processor has errors of its own
        raise _unknown(model, f"its image processor fails: {_first(error)}") from None
    several = max(map(len, of_each))
    if several > 1:
        raise _unknown(model, f"its image processor makes {several} images of one")
    wanted = [values[0] for values in of_each]
    crop = wanted[0].shape[-1]
    for values in wanted:
        if values.shape != (3, crop, crop):
            raise _unknown(model, f"its image processor gives {' x '.join(map(str, values.shape))} values of an image")
    middle = slice(crop // 2, crop // 2 + 1)  # whatever is put around an image
    low, high = colours[:, :, middle, middle].mean((2, 3), dtype=np.float64)
    if not (high > low).all():
        raise _unknown(model, "its image processor gives the same for black and white")
    std = 255 / (high - low)
    scale = {"mean": tuple((0 - low * std).round(4).tolist()), "std": tuple(std.round(4).tolist())}
    levels = [(values - low[:, None, None]) * std[:, None, None] for values in wanted]
    for way in _ways(processor, crop, scale):
        if all(_distance(way, *pair) <= LEVEL for pair in zip(pictures, levels, strict=True)):
            return way
    raise _unknown(model, f"its image processor, {type(processor).__name__}, does what raycv cannot")


def _ways(processor: Any, crop: int, scale: dict[str, Any]) -> Iterator[Preprocessing]:
    """The ways of preparing images that this processor may mean."""
    size = [int(value) for value in dict(getattr(processor, "size", None) or {}).values() if value]
    part = getattr(processor, "crop_pct", None)
    sides = {crop, *size, *(int(256 / 224 * side) for side in size)}
    sides |= {rounded(side / part) for side in (crop, *size) for rounded in (int, round)} if part else set()
    for resize in sorted(side for side in sides if side >= crop):
        for fit in ("squash", "short-side"):
            for interpolation in ("bilinear", "bicubic"):
                for middle in ("even", "down"):
                    yield Preprocessing(
                        resize=resize, crop=crop, fit=fit, interpolation=interpolation, middle=middle, **scale
                    )


def _distance(way: Preprocessing, picture: NDArray[np.uint8], levels: Floats) -> float:
    """By how many of 256 levels all but one in a thousand pixels of a picture differ at most."""
    image = way.resizing(Image.fromarray(picture))
    found = way.evaluation(torch.from_numpy(np.array(image))[None])[0].double().numpy()
    std, mean = (np.array(of)[:, None, None] for of in (way.std, way.mean))
    return float(np.quantile(np.abs(found * std + mean - levels), 0.999))


def _pictures() -> list[NDArray[np.uint8]]:
    """Some, upright and lying, of widths whose centres are rounded in different ways, then small, large and long."""
    lying = [_picture(width) for width in range(431, 436)]
    return [*lying, lying[0].transpose(1, 0, 2), _picture(161, 120), _picture(1000, 640), _picture(900, 200)]


def _picture(width: int, height: int = 299) -> NDArray[np.uint8]:
    """A picture (height, width, 3) with edges, gradients and texture, in which no part and no colour is like another.

    How fine its texture is does not depend on its size.
    """
    y, x = np.mgrid[:height, :width].astype(np.float64) * (299 / height)
    waves = 60 * np.sin(x / 9 + y / 23) + 40 * np.sin(x * y / 4000)
    edges = 50 * ((x // 37 + y // 29) % 2)
    distance = np.hypot(x - 150, y - 190)
    channels = [0.25 * x + waves + 60, 0.5 * y + edges + 20, 0.4 * distance - waves / 2 + edges]
    return np.stack(channels, -1).clip(0, 255).astype(np.uint8)


def _prepared(processor: Any, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What a processor makes of pictures (n, H, W, 3): (n, 3, crop, crop)."""
    given = [Image.fromarray(picture) for picture in pictures]
    return np.asarray(processor(images=given, return_tensors="pt")["pixel_values"], dtype=np.float64)


def _processor(model: str, folder: Path) -> Any:
    transformers, path = _transformers(model), folder / PROCESSOR
    try:
        closed = _closed(json.loads(path.read_bytes()))
        if closed:
            raise _unknown(model, f"{path} asks for more than a processor of transformers' own: {closed}")
        return transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except UserError:
        raise
    except Exception as error:  # whatever a library raises of a folder that it cannot do with
        raise _unknown(model, f"{path} describes no image processor ({_first(error)})") from None


def _unknown(model: str, why: str) -> UserError:
    return UserError(
        f"{model} does not say how it wants its images: {why}; give preprocessing in the list of networks."
    )


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _of_images(net: nn.Module) -> nn.Module:
    """The same network, called with images and returning one tensor; its module paths stay as they are."""
    net.__class__ = _class_of_images(type(net))
    return net


def _class_of_images(kind: Any) -> type[nn.Module]:
    """A class like ``kind`` that is called with images; unlike a function in a network it follows its copies."""

    class OfImages(kind):  # type: ignore[misc]
        def forward(self, images: Tensor) -> Tensor:
            found: Any = super().forward(pixel_values=images)
            for name in ("logits", "pooler_output", "last_hidden_state"):
                if getattr(found, name, None) is not None:
                    values: Tensor = getattr(found, name)
                    return values
            raise UserError("The model gives neither logits nor features.")

    OfImages.__name__, OfImages.__qualname__, OfImages.__module__ = kind.__name__, kind.__qualname__, kind.__module__
    return OfImages


def _folder(model: str) -> Path:
    return Path(model.removeprefix(PREFIX))


def _transformers(model: str) -> Any:
    try:
        import transformers
    except ImportError:
        raise UserError(f"The model {model} needs the package transformers: pip install transformers.") from None
    return transformers
