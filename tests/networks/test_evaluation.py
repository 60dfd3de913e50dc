"""Scores against a loop over single images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from raycv.networks.catalogue import preprocessing_of
from raycv.networks.evaluation import evaluate, in_batches
from raycv.networks.models import build
from raycv.networks.spec import ALEXNET_LAYERS, NetworkSpec

SPEC = NetworkSpec(
    name="net1",
    model="small-alexnet",
    classes=4,
    seed=3,
    layers=ALEXNET_LAYERS,
    preprocessing=preprocessing_of("small-alexnet"),
    width=6,
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    """50 images; class 2 has none."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (50, 32, 32, 3), dtype=np.uint8), rng.choice([0, 1, 3], 50)


def test_sums_are_those_of_single_images(images: tuple[np.ndarray, np.ndarray]) -> None:
    net = build(SPEC)
    found = evaluate(net, in_batches(*images, 16), SPEC.preprocessing, CPU)
    losses, correct = np.zeros(4), np.zeros(4)
    for picture, label in zip(*images, strict=True):
        with torch.no_grad():
            logits = net(SPEC.preprocessing.evaluation(torch.from_numpy(picture[None])))
        losses[label] += float(F.cross_entropy(logits, torch.tensor([label])))
        correct[label] += int(logits.argmax()) == label
    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)
    np.testing.assert_array_equal(found.correct, correct)
    np.testing.assert_array_equal(found.images, np.bincount(images[1], minlength=4))
    assert found.loss == pytest.approx(losses.sum() / 50)
    assert found.top1 == correct.sum() / 50
    assert np.isnan(found.class_top1).tolist() == np.isnan(found.class_loss).tolist() == [False, False, True, False]
    weights = found.images[[0, 1, 3]] / 50  # class by class it adds up to the whole
    assert found.class_loss[[0, 1, 3]] @ weights == pytest.approx(found.loss)
    assert found.class_top1[[0, 1, 3]] @ weights == pytest.approx(found.top1)


def test_the_size_of_batches_changes_nothing(images: tuple[np.ndarray, np.ndarray]) -> None:
    net = build(SPEC)
    one, many = (evaluate(net, in_batches(*images, size), SPEC.preprocessing, CPU) for size in (50, 7))
    np.testing.assert_allclose(one.losses, many.losses, rtol=1e-5)
    np.testing.assert_array_equal(one.correct, many.correct)


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="no images"):
        evaluate(build(SPEC), [], SPEC.preprocessing, CPU)
