"""Building networks of any kind, and giving them their weights."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor, nn

from raycv.errors import UserError
from raycv.networks.catalogue import kind_of
from raycv.networks.catalogue.torchvision_models import INCEPTIONS, name_of
from raycv.networks.foreign import copies_well, guarded
from raycv.networks.layouts import ask_units
from raycv.networks.module_paths import modules_of, path_of
from raycv.networks.spec import LOGITS, NetworkSpec
from raycv.networks.tokens import part_of

T = TypeVar("T")
ALIKE = {
    "name": "net",
    "seed": 0,
    "layers": (LOGITS,),
    "places": (),
    "across": (),
    "unit_axes": (),
}  # what does not shape a network
# In torchvision's Inception family a classifier for training alone changes what forward returns: networks have none.
AUXILIARY = re.compile(r"(aux1|aux2|AuxLogits)\.")


def kind_key(spec: NetworkSpec) -> NetworkSpec:
    """The same for all networks whose modules, and the axes of what these give, are alike."""
    return spec.model_copy(update=ALIKE | {"layers": (spec.output,), "unit_axes": spec.unit_axes})


def build(spec: NetworkSpec, *, published: bool = False) -> nn.Module:
    """The network of ``spec``, in evaluation mode and channels-last layout, its weights drawn from its seed.

    With ``published`` they are those that its library publishes. A user's function gives what it gives.

    Raises UserError when the model or one of its layers does not exist, or the user does not allow the function.
    """
    return _with_layers(spec, _built(spec, published))


def _built(spec: NetworkSpec, published: bool) -> nn.Module:
    kind = kind_of(spec.model)
    kind.check(spec.model, dict(spec.arguments))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        net = kind.construct(spec, published)
    for module in net.modules():
        if hasattr(module, "inplace"):  # an in-place ReLU would overwrite the output of the layer before it
            module.inplace = False  # type: ignore[assignment]
    return net.eval().to(memory_format=torch.channels_last)


def _with_layers(spec: NetworkSpec, net: nn.Module) -> nn.Module:
    """``net`` as the network of ``spec``, whose layers it must have."""
    if isinstance(net, torch.jit.ScriptModule):
        raise UserError(f"{spec.model} is a TorchScript module, whose layers cannot be read; build the module itself.")
    ask_units(net, dict(spec.unit_axes))
    known = modules_of(net)
    wanted = [path_of(part_of(spec.place(layer).module).path) for layer in spec.layers]
    unknown = [module for module in wanted if module not in known and module != LOGITS]
    if unknown:
        raise UserError(
            f"Network {spec.name} ({spec.model}) has no layer {unknown[0]!r}; its layers are: {', '.join(known)}."
        )
    return guarded(net, f"{spec.name} ({spec.model})", foreign=spec.is_function)


def untrained(spec: NetworkSpec) -> nn.Module:
    """The network of ``spec`` before any training, from its seed; where its builder has trained it, drawn anew."""
    net = build(spec)
    if spec.as_built:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            _draw_anew(net)
    return net


def hollow(spec: NetworkSpec) -> nn.Module:
    """The network of ``spec`` without content, on the device meta, where the largest takes a moment."""
    if not kind_of(spec.model).hollow:  # building it may take long
        net = _emptied(spec.model_copy(update=ALIKE))
        return _with_layers(spec, _copy_of(net) or _built(spec, published=False).to("meta"))
    try:
        with torch.device("meta"):
            return build(spec)
    except Exception:  # some compute their widths with tensors, which have no values there
        return build(spec).to("meta")


def _copy_of(net: nn.Module) -> nn.Module | None:
    """A network of its own like ``net``; None where it cannot be copied."""
    if not copies_well(net):
        return None
    try:
        return copy.deepcopy(net)
    except Exception:  # a user's module may refuse in any way
        return None


@lru_cache(maxsize=64)
def _emptied(spec: NetworkSpec) -> nn.Module:
    return _built(spec, published=False).to("meta")


def tried(spec: NetworkSpec, use: Callable[[nn.Module, Tensor], T]) -> T:
    """What ``use`` gives for the network of ``spec`` without content and two images, or texts, without content.

    Where the network looks at values, which it then does not find, for itself and two images of noise.
    """
    example = _example(spec)
    try:
        with torch.device("meta"):
            return use(hollow(spec), torch.empty_like(example, device="meta"))
    except Exception as error:
        if not (spec.is_function or "meta" in str(error) or isinstance(error.__cause__, NotImplementedError)):
            raise
    return use(build(spec), example)


def _example(spec: NetworkSpec) -> Tensor:
    """Two images of noise (2, 3, height, width), or for a language model two texts (2, context) of tokens."""
    if spec.tokens is not None:
        return torch.arange(2 * spec.tokens.context).reshape(2, -1) % 2
    crop = spec.preprocessing.crop
    return torch.randn((2, 3, crop, crop), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def _draw_anew(net: nn.Module) -> None:
    """Give every module the weights that PyTorch would; parameters of no such module keep their mean and deviation."""
    for module in net.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
            continue
        for parameter in module.parameters(recurse=False):
            spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
            parameter.normal_(float(parameter.mean()), spread)


def load_weights(spec: NetworkSpec, weights: dict[str, Tensor]) -> nn.Module:
    """The network of ``spec`` with ``weights`` (a state dict). Raises UserError where they do not fit."""
    expected = hollow(spec).state_dict()  # weights that do not fit are refused before a network takes memory
    if name_of(spec.model) in INCEPTIONS:
        weights = {name: value for name, value in weights.items() if not AUXILIARY.match(name)}
    missing = sorted(expected.keys() - weights.keys())
    surplus = sorted(weights.keys() - expected.keys())
    if missing or surplus:
        what = f"has no entry {missing[0]!r}" if missing else f"has an unexpected entry {surplus[0]!r}"
        raise UserError(
            f"The weights of {spec.name} do not fit the model {spec.model}: the checkpoint {what}. "
            "Name the model it was trained as with --model."
        )
    for key, value in expected.items():
        _check_numbers(spec, key, weights[key], value)
        if weights[key].shape != value.shape:
            raise UserError(
                f"The weights of {spec.name} do not fit the model {spec.model}: {key} has shape "
                f"{tuple(weights[key].shape)}, expected {tuple(value.shape)}. Name its width with --width, or a data "
                "set with as many classes as it was trained on."
            )
    net = build(spec)
    net.load_state_dict(weights)
    return net


def _check_numbers(spec: NetworkSpec, key: str, given: Tensor, expected: Tensor) -> None:
    """Raise UserError unless ``given`` holds finite numbers of the kind that the model has."""
    found = ""
    if given.layout is not torch.strided or given.is_quantized or given.is_meta:
        found = "is sparse, quantised or without values"
    elif given.is_complex() or (expected.is_floating_point() and not given.is_floating_point()):
        found = f"holds {str(given.dtype).removeprefix('torch.')}"
    elif not torch.isfinite(given.float()).all():
        found = "holds NaN or infinite numbers"
    if found:
        raise UserError(
            f"The weights of {spec.name} cannot be used: {key} {found}, and weights are finite floating-point numbers; "
            "import another checkpoint."
        )
