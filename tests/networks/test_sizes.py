"""What arithmetic says of raycv's own AlexNets against the networks themselves."""

from __future__ import annotations

import pytest

from raycv.networks import alexnet_sizes
from raycv.networks.catalogue import preprocessing_of
from raycv.networks.layers import layers_of
from raycv.networks.measured_sizes import measured
from raycv.networks.spec import ALEXNET_LAYERS, NetworkSpec, Place


def alexnet(model: str, width: int | None, classes: int = 10, layers: tuple[str, ...] = ALEXNET_LAYERS) -> NetworkSpec:
    return NetworkSpec(
        name="net1",
        model=model,
        classes=classes,
        seed=1,
        layers=layers,
        preprocessing=preprocessing_of(model),
        width=width,
    )


@pytest.mark.parametrize("model", ["small-alexnet", "alexnet"])
@pytest.mark.parametrize(("width", "classes"), [(None, 10), (1, 2), (6, 1000), (7, 3), (96, 7)])
def test_arithmetic_gives_what_the_network_has(model: str, width: int | None, classes: int) -> None:
    spec = alexnet(model, width, classes)
    assert alexnet_sizes.sizes(spec) == measured(spec)
    there = layers_of(spec)
    assert alexnet_sizes.layers(spec) == {name: there[name] for name in ALEXNET_LAYERS}
    some = alexnet(model, width, classes, ("conv2", "fc8"))
    assert alexnet_sizes.sizes(some) == measured(some)


def test_of_anything_else_it_says_nothing() -> None:
    spec = alexnet("small-alexnet", 6)
    for changes in (
        {"layers": ("conv1", "pool1")},
        {"layers": ("conv1",), "places": (Place(module="conv1", grid=()),)},
        {"model": "torchvision/resnet18", "width": None},
        {"preprocessing": spec.preprocessing.model_copy(update={"resize": 64, "crop": 64})},
    ):
        assert alexnet_sizes.sizes(spec.model_copy(update=changes)) is None
