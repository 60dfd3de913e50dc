"""Models of libraries and of a user's own: built, prepared for as their libraries do, refused in one sentence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import timm.data
import torch
import torchvision
from PIL import Image

from raycv.data.preprocessing import Preprocessing
from raycv.data.recorded import OPENERS
from raycv.errors import UserError
from raycv.networks import trust
from raycv.networks.catalogue import check_model, huggingface, preprocessing_of
from raycv.networks.layers import layers_of, outputs_of
from raycv.networks.models import build, untrained
from raycv.networks.spec import RECORDINGS
from tests.support.nets import OTHER_WAY, described


def photograph(width: int, height: int) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 9, width), np.linspace(0, 7, height))
    waves = [127 + 120 * np.sin(x * k + y * (3 - k)) for k in (0.7, 1.3, 2.9)]
    return Image.fromarray(np.stack(waves, -1).astype(np.uint8))


@pytest.mark.parametrize(
    "model", ["timm/resnet18", "timm/vit_tiny_patch16_224", "timm/convnext_atto", "timm/mixer_s32_224"]
)
@pytest.mark.parametrize("size", [(375, 500), (260, 200)])
def test_timms_networks_see_what_timm_shows_them(model: str, size: tuple[int, int]) -> None:
    library: Any = timm
    config = library.models.get_pretrained_cfg(model.removeprefix("timm/"))
    theirs = library.data.create_transform(**library.data.resolve_data_config(pretrained_cfg=config.to_dict()))
    way, image = preprocessing_of(model), photograph(*size)
    ours = way.evaluation(torch.from_numpy(np.asarray(way.resizing(image))[None].copy()))[0]
    torch.testing.assert_close(ours, theirs(image), rtol=0, atol=1e-5)


def test_timms_models_have_layers_and_as_many_outputs_as_classes() -> None:
    spec = described("timm/vit_tiny_patch16_224")
    layers = layers_of(spec)
    block = layers["blocks.3"]
    assert (block.units, block.positions, block.grid, block.axes) == (192, 197, (197,), "images, 197, units")
    assert outputs_of(spec) == 10
    assert outputs_of(described("timm/vit_tiny_patch16_224", as_built=True)) == 1000
    narrow = described("timm/vit_tiny_patch16_224", arguments=(("embed_dim", 96),))
    assert layers_of(narrow)["blocks.3"].units == 96


def test_huggings_faces_networks_from_a_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=32, patch_size=8
    )
    saved = transformers.ViTForImageClassification(config).eval()
    saved.save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    model = f"hf/{tmp_path}"
    check_model(model)
    assert preprocessing_of(model) == Preprocessing(resize=32, crop=32, mean=(127.5,) * 3, std=(127.5,) * 3)
    spec = described(model, as_built=True)
    net, images = build(spec, published=True), torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net(images), saved(images).logits)
        assert not torch.allclose(untrained(spec)(images), net(images), atol=1e-3)
    assert outputs_of(spec) == 2
    assert any(layer.units == 16 and layer.grid == (17,) for layer in layers_of(spec).values())


PROCESSORS: list[tuple[str, dict[str, Any]]] = [
    ("ViTImageProcessor", {"do_normalize": False}),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}}),
    ("ConvNextImageProcessor", {}),
    ("LevitImageProcessor", {}),
    ("PoolFormerImageProcessor", {}),
    ("EfficientNetImageProcessor", {}),
    ("BitImageProcessor", {"size": {"shortest_edge": 225}}),  # a centre between two pixels
]


@pytest.mark.parametrize(("kind", "settings"), PROCESSORS)
def test_hugging_faces_networks_see_what_their_processors_show_them(
    kind: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    processor = getattr(transformers, kind)(**settings)
    processor.save_pretrained(tmp_path)
    way = huggingface.preprocessing(f"hf/{tmp_path}", {})
    for size in ((375, 500), (503, 331)):
        image = photograph(*size)
        theirs = torch.tensor(np.asarray(processor(images=image, return_tensors="np")["pixel_values"]))[0]
        ours = way.evaluation(torch.from_numpy(np.asarray(way.resizing(image))[None].copy()))[0]
        levels = (ours - theirs).abs() * torch.tensor(way.std)[:, None, None]
        assert levels.max() < 2.5  # at a few pixels, two ways of rounding
        assert (levels > 1.01).float().mean() < 1e-3


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("MobileViTImageProcessor", {}),  # blue, green, red
        ("ViTImageProcessor", {"resample": 1}),  # Lanczos
        ("BitImageProcessor", {"size": {"shortest_edge": 200}}),  # a crop of 224
    ],
)
def test_what_a_processor_does_that_raycv_cannot_is_refused(
    kind: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    getattr(pytest.importorskip("transformers"), kind)(**settings).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=f"its image processor, {kind}(Fast)?, does what raycv cannot"):
        huggingface.preprocessing(f"hf/{tmp_path}", {})


def test_a_crop_is_cut_out_of_the_image() -> None:
    with pytest.raises(ValueError, match="crop is 256, which cannot be cut out of images resized to 224"):
        Preprocessing(resize=224, crop=256, mean=(0, 0, 0), std=(1, 1, 1))


def test_an_inception_sees_its_images_prepared_once() -> None:
    spec = described("torchvision/googlenet", as_built=True, arguments=(("transform_input", True),))
    net: Any = build(spec).eval()
    theirs = torchvision.models.googlenet(transform_input=True, init_weights=False).eval()
    weights = torchvision.models.get_model_weights("googlenet").DEFAULT.transforms()
    pixels = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(of)[:, None, None] for of in (weights.mean, weights.std))
    wanted = theirs._transform_input((pixels - mean) / std)
    torch.testing.assert_close(net._transform_input((pixels - 0.5) / 0.5), wanted, rtol=0, atol=1e-5)


def test_published_weights_are_torchvisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are fetched once into the cache of PyTorch's hub, where these lie already."""
    weights = torchvision.models.get_model_weights("squeezenet1_1").DEFAULT
    given = torchvision.models.squeezenet1_1()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(given.state_dict(), folder / weights.url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    net = build(described("torchvision/squeezenet1_1", as_built=True), published=True)
    for name, value in given.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], value)


def test_a_function_gives_the_network_and_its_preprocessing() -> None:
    model = "tests.support.nets:convolutions"
    spec = described(model, arguments=(("seed", 3), ("width", 5)), as_built=True)
    assert spec.preprocessing == OTHER_WAY
    assert layers_of(spec)["0"][:2] == (5, 16 * 16)
    again, drawn = build(spec).state_dict(), untrained(spec).state_dict()
    for name, value in build(spec).state_dict().items():
        torch.testing.assert_close(again[name], value)
        assert not torch.allclose(drawn[name], value)


def test_what_has_no_rule_of_its_own_is_drawn_like_it_was() -> None:
    spec = described("tests.support.nets:tokens", arguments=(("width", 512),), as_built=True)
    first, drawn = build(spec).get_parameter("first"), untrained(spec).get_parameter("first")
    assert not torch.allclose(first, drawn)
    assert drawn.std().item() == pytest.approx(first.std().item(), rel=0.2)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("tests.support.nets:nothing", "The module tests.support.nets has no function 'nothing'"),
        ("tests.support.none:nothing", "cannot be imported: there is no module tests.support.none"),
        ("tests.support.nets:NOT_A_FUNCTION", "is int; it must be a function"),
        ("timm/resnet18000", r"There is no timm model 'resnet18000'; there are, among others"),
        ("hf/nowhere", "nowhere holds no Hugging Face model: it has no config.json"),
        ("torchvision/resnet", "There is no model 'torchvision/resnet'"),
    ],
)
def test_models_that_there_are_not(model: str, sentence: str) -> None:
    trust.allow([model])
    with pytest.raises(UserError, match=sentence):
        check_model(model)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("raising", "nets:raising failed: RuntimeError: no such file"),
        ("of_no_kind", "nets:of_no_kind returned str; it must return a PyTorch module"),
        ("without_preprocessing", "does not say how its network wants images"),
    ],
)
def test_functions_that_fail(function: str, sentence: str) -> None:
    model = f"tests.support.nets:{function}"
    trust.allow([model])
    with pytest.raises(UserError, match=sentence):
        preprocessing_of(model)


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("timm", "transformers"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match="timm/resnet18 needs the package timm"):
        check_model("timm/resnet18")


def test_the_ends_of_recordings_are_those_that_can_be_read() -> None:
    assert set(RECORDINGS) == set(OPENERS)


def test_torchvisions_transforms_are_used_by_both_names() -> None:
    assert preprocessing_of("torchvision/vit_b_16") == preprocessing_of("vit_b_16")
