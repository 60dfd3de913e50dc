"""Where models come from. `kind_of` tells by a model's name; each other module here builds those of one library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from raycv.data.preprocessing import Preprocessing
from raycv.networks import trust
from raycv.networks.catalogue import alexnets, factories, huggingface, timm_models, torchvision_models
from raycv.networks.spec import WIDTHS, Argument, NetworkSpec


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
    """Where a model comes from, by its name: small-alexnet, NAME or torchvision/NAME, timm/NAME, hf/FOLDER, a:b."""
    if model in WIDTHS:
        return Kind(alexnets.check, alexnets.construct, alexnets.preprocessing)
    if model.startswith(timm_models.PREFIX):
        return Kind(timm_models.check, timm_models.construct, timm_models.preprocessing)
    if model.startswith(huggingface.PREFIX):
        return Kind(huggingface.check, huggingface.construct, huggingface.preprocessing, hollow=False)
    if trust.is_function(model):
        return Kind(factories.check, factories.construct, factories.preprocessing, hollow=False)
    return Kind(torchvision_models.check, torchvision_models.construct, torchvision_models.preprocessing)
