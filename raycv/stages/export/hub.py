"""A network as a folder that its own library reads, for the Hugging Face Hub or a disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raycv.errors import UserError
from raycv.extras import needed
from raycv.networks.spec import WIDTHS, NetworkSpec
from raycv.networks.stored import StoredNetwork, weights_content
from raycv.run.store import RunStore

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "model.safetensors"
# What transformers keeps beside a model: how images and texts become what it sees.
BESIDE = (
    "preprocessor_config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model",
    "spiece.model",
)  # fmt: skip
BY_RAYCV = """\
import json
from safetensors.torch import load_file
from raycv.networks.models import load_weights
from raycv.networks.spec import NetworkSpec

spec = NetworkSpec(**json.load(open("{folder}/network.json"))["spec"])
net = load_weights(spec, load_file("{folder}/model.safetensors"))"""
BY_TIMM = """\
import timm

net = timm.create_model("local-dir:{folder}", pretrained=True)  # from the Hub: hf-hub:OWNER/NAME"""
BY_TRANSFORMERS = """\
from transformers import {name}

net = {name}.from_pretrained("{folder}")"""


@dataclass(frozen=True)
class Written:
    """``library``: that of the Hub that reads the folder, if any; ``loading``: Python that does, with ``{folder}``."""

    library: str | None
    loading: str


def write(store: RunStore, network: StoredNetwork, folder: Path) -> Written:
    """Write weights and configuration of a network into an empty folder.

    Raises UserError where the library that knows the model is missing or can no longer build it.
    """
    spec, content = network.spec, weights_content(store, network)
    described = json.loads(store.read(f"{network.folder}/network.json"))
    (folder / "network.json").write_text(json.dumps(described, indent=2) + "\n")
    if spec.model.startswith("timm/"):
        _by_timm(spec, content, folder)
        return Written("timm", BY_TIMM)
    if spec.model.startswith("hf/"):
        name = _by_transformers(spec, content, folder)
        return Written("transformers", BY_TRANSFORMERS.replace("{name}", name))
    (folder / WEIGHTS).write_bytes(content)
    return Written(None, BY_RAYCV)


def _loaded(spec: NetworkSpec, content: bytes) -> nn.Module:
    with needed():
        import safetensors.torch
        import torch

        from raycv.networks.models import load_weights

    net = load_weights(spec, safetensors.torch.load(content))
    return net.to(memory_format=torch.contiguous_format)  # safetensors, by which libraries save, takes no other


def _by_timm(spec: NetworkSpec, content: bytes, folder: Path) -> None:
    net: Any = _loaded(spec, content)
    from timm.models import save_for_hf

    seen = spec.preprocessing
    net.pretrained_cfg |= {  # as the network was shown its images, which need not be as timm shows them
        "input_size": (3, seen.crop, seen.crop),
        "crop_pct": seen.crop / seen.resize,
        "crop_mode": {"short-side": "center", "squash": "squash"}[seen.fit],
        "interpolation": seen.interpolation,
        "mean": tuple(value / 255 for value in seen.mean),
        "std": tuple(value / 255 for value in seen.std),
    }
    _saving(spec, lambda: save_for_hf(net, str(folder), model_args=dict(spec.arguments), safe_serialization=True))


def _by_transformers(spec: NetworkSpec, content: bytes, folder: Path) -> str:
    """Returns the name of the class that reads the folder."""
    given = Path(spec.model.removeprefix("hf/"))
    net: Any = _loaded(spec, content)
    _saving(spec, lambda: net.save_pretrained(folder))
    for name in BESIDE:
        if (given / name).is_file():
            shutil.copyfile(given / name, folder / name)
    return type(net).__name__


def _saving(spec: NetworkSpec, save: Callable[[], object]) -> None:
    try:
        save()
    except Exception as error:  # whatever a library raises of a model that it cannot write
        why = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise UserError(
            f"{spec.name} ({spec.model}) cannot be written for the Hub ({type(error).__name__}: {why}); leave --card "
            "out."
        ) from error


def origin(spec: NetworkSpec) -> str:
    """Where the model comes from, in words."""
    if spec.model in WIDTHS:
        return f"raycv's {spec.model}, {spec.width or WIDTHS[spec.model]} units in conv1"
    if spec.model.startswith("hf/"):
        return f"a folder of transformers, {Path(spec.model.removeprefix('hf/')).name}"
    return spec.model
