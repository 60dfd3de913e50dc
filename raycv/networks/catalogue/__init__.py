"""Where models come from. `kind_of` tells by a model's name; each other module here builds those of one library.

Only what builds a model imports PyTorch: what raycv's own are is known without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raycv.data.preprocessing import Preprocessing
from raycv.data.tokenizing import bytes_of
from raycv.errors import UserError
from raycv.networks import trust
from raycv.networks.spec import SMALL_GPT, WIDTHS, Argument, NetworkSpec

if TYPE_CHECKING:
    from torch import nn

    from raycv.data.tokenizing import Tokens

TIMM, HUGGING_FACE = "timm/", "hf/"  # before the names of the models of these libraries


@dataclass(frozen=True)
class Kind:
    """What can be asked of the models of one library.

    ``check(model, arguments)`` raises UserError where there is no such model, or it takes no such arguments. It comes
    before all else: the name of a model may be anybody's word. ``construct(spec, published)`` builds the network, its
    weights as the library publishes them or, without ``published``, as PyTorch draws them.
    ``preprocessing(spec's model, arguments)`` says how it wants its images. Models that are ``hollow`` can be built
    on the device meta, without content.
    """

    check: Callable[[str, Mapping[str, Argument]], None]
    construct: Callable[[NetworkSpec, bool], nn.Module]
    preprocessing: Callable[[str, dict[str, object]], Preprocessing]
    hollow: bool = True


def kind_of(model: str) -> Kind:
    """Where a model comes from, by its name: small-alexnet, small-gpt, torchvision/NAME, timm/NAME, hf/FOLDER, a:b."""
    if model in WIDTHS:
        from raycv.networks.catalogue import alexnets

        return Kind(alexnets.check, alexnets.construct, alexnets.preprocessing)
    if model == SMALL_GPT:
        from raycv.networks.catalogue import small_gpt

        return Kind(small_gpt.check, small_gpt.construct, small_gpt.preprocessing)
    from raycv.networks.catalogue import factories, huggingface, timm_models, torchvision_models

    if model.startswith(TIMM):
        return Kind(timm_models.check, timm_models.construct, timm_models.preprocessing)
    if model.startswith(HUGGING_FACE):
        return Kind(huggingface.check, huggingface.construct, huggingface.preprocessing, hollow=False)
    if trust.is_function(model):
        return Kind(factories.check, factories.construct, factories.preprocessing, hollow=False)
    return Kind(torchvision_models.check, torchvision_models.construct, torchvision_models.preprocessing)


def check_model(model: str, arguments: Mapping[str, Argument] | None = None) -> None:
    """Raise UserError unless there is such a model and it takes such arguments."""
    kind_of(model).check(model, arguments or {})


def check_buildable(specs: Iterable[NetworkSpec]) -> None:
    """Raise UserError where one of the networks may not or cannot be built, before anything is started for them."""
    for spec in specs:
        if not spec.is_recorded:
            check_model(spec.model, dict(spec.arguments))


def preprocessing_of(model: str, arguments: Mapping[str, Argument] | None = None) -> Preprocessing:
    """What ``model`` expects of an image: the paper's for its AlexNet, its library's own for others."""
    check_model(model, arguments)
    return kind_of(model).preprocessing(model, dict(arguments or {}))


def reads_texts(model: str) -> bool:
    """Whether ``model`` is a language model."""
    if model == SMALL_GPT:
        return True
    if not model.startswith(HUGGING_FACE):
        return False
    from raycv.networks.catalogue import huggingface

    return huggingface.reads_texts(model)


def tokens_of(model: str, context: int, *, ids: bool = False) -> Tokens | None:
    """How documents become sequences of ``context`` tokens for ``model``; None where it sees images.

    With ``ids`` documents are the numbers of tokens, and not texts. Raises UserError where it cannot read them.
    """
    if model == SMALL_GPT and ids:
        raise UserError(
            f"{model} reads the bytes of texts, and the documents are token ids; name a column of texts with "
            "--text-column."
        )
    if model == SMALL_GPT:
        return bytes_of(context)
    if not model.startswith(HUGGING_FACE):
        return None
    from raycv.networks.catalogue import huggingface

    return huggingface.tokens_of(model, context, ids=ids)


def probe_of(model: str, context: int) -> Tokens | None:
    """Sequences of up to ``context`` tokens in which the layers of ``model`` are found; None where it sees images."""
    if model == SMALL_GPT:
        return bytes_of(context)
    if not model.startswith(HUGGING_FACE):
        return None
    from raycv.networks.catalogue import huggingface

    return huggingface.probe_of(model, context)
