"""What torchvision's networks see against torchvision's own transforms, and the paper's squeeze against Pillow."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from raycv.data.preprocessing import Preprocessing, Resize
from raycv.data.sources import open_source
from raycv.networks.catalogue import preprocessing_of
from raycv.networks.catalogue.torchvision_models import INCEPTIONS
from raycv.networks.spec import WIDTHS

SIZES = [(500, 375), (375, 500), (333, 251), (256, 256), (61, 40), (9, 31), (1200, 300), (257, 256)]


def published() -> dict[Preprocessing, str]:
    """One of torchvision's classification models for each way in which they take images."""
    names = torchvision.models.list_models(module=torchvision.models)
    return {preprocessing_of(name): name for name in names if name not in (*INCEPTIONS, *WIDTHS)}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEGs of odd sizes, two of them grey, as an image tree."""
    folder, rng = tmp_path_factory.mktemp("tree"), np.random.default_rng(0)
    for number, (width, height) in enumerate(SIZES):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8))
        image = coarse.resize((width, height), Image.Resampling.BICUBIC).convert("L" if number % 4 == 3 else "RGB")
        path = folder / "val" / "class" / f"{number}.jpeg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=95)
    return folder


def seen(tree: Path, preprocessing: Preprocessing) -> Tensor:
    images, _ = open_source(str(tree), "validation").decode(np.arange(len(SIZES)), preprocessing.resizing)
    return preprocessing.evaluation(torch.from_numpy(images))


def opened(tree: Path, number: int) -> Image.Image:
    return Image.open(io.BytesIO((tree / "val" / "class" / f"{number}.jpeg").read_bytes())).convert("RGB")


@pytest.mark.parametrize(("preprocessing", "model"), published().items(), ids=published().values())
def test_networks_see_what_torchvision_publishes(tree: Path, preprocessing: Preprocessing, model: str) -> None:
    transforms = torchvision.models.get_model_weights(model).DEFAULT.transforms()
    for number, found in enumerate(seen(tree, preprocessing)):
        torch.testing.assert_close(found, transforms(opened(tree, number)), rtol=0, atol=1e-6)


def test_inception_sees_what_torchvision_makes_of_published_images_inside(tree: Path) -> None:
    for model in INCEPTIONS:
        transforms = torchvision.models.get_model_weights(model).DEFAULT.transforms()
        net = torchvision.models.get_model(model, weights=None, init_weights=False)
        net.transform_input = True  # as published weights are loaded
        expected = torch.stack([transforms(opened(tree, number)) for number in range(len(SIZES))])
        torch.testing.assert_close(
            seen(tree, preprocessing_of(model)), net._transform_input(expected), rtol=0, atol=2e-6
        )


def test_the_papers_network_sees_squashed_images(tree: Path) -> None:
    preprocessing = preprocessing_of("alexnet")
    for number, found in enumerate(seen(tree, preprocessing)):
        squashed = np.asarray(opened(tree, number).resize((256, 256), Image.Resampling.BILINEAR), np.float64)
        expected = torch.from_numpy(squashed[14:241, 14:241] - (123.68, 116.78, 103.94))
        torch.testing.assert_close(found.double(), expected.permute(2, 0, 1), rtol=0, atol=1e-4)


def test_an_image_of_the_right_size_is_left_as_it_is() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    for fit in ("squash", "short-side"):
        np.testing.assert_array_equal(np.asarray(Resize(32, fit)(image)), np.asarray(image))


@pytest.mark.parametrize("fit", ["squash", "short-side"])
@given(width=st.integers(20, 300), height=st.integers(20, 300), size=st.integers(8, 96), seed=st.integers(0, 99))
def test_a_quick_resize_is_within_one_of_pillows(fit: Any, width: int, height: int, size: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    resize = Resize(size, fit)
    expected = np.asarray(resize(Image.fromarray(pixels)))
    assert np.abs(resize.quick(pixels).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("shape", [(2, 20, 20, 3), (2, 3, 36, 36), (36, 36, 3)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    wanted = Preprocessing(resize=36, crop=32, mean=(0, 0, 0), std=(1, 1, 1))
    images = torch.zeros(shape, dtype=torch.uint8)
    with pytest.raises(ValueError, match=re.escape(f"images must have shape (B, 36, 36, 3), found {shape}")):
        wanted.evaluation(images)
    with pytest.raises(ValueError, match="images must have shape"):
        wanted.training(images, torch.Generator())
