"""The linear read-out against scikit-learn's logistic regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from raycv.analysis.readout import chosen_penalty, read_out


def data(seed: int, images: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Activations (n, 8) of which unit 7 is constant, and labels (n,) of four classes that they tell apart in part."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, images)
    x = np.random.default_rng(0).standard_normal((4, 8))[labels] + 1.5 * rng.standard_normal((images, 8)) + 4
    x[:, 7] = 3.0
    return torch.tensor(x, dtype=torch.float32), torch.tensor(labels)


@pytest.mark.parametrize("penalty", [1e-3, 0.1])
def test_it_is_the_optimum_that_scikit_learn_finds(penalty: float) -> None:
    x, labels = data(1)
    found = read_out(x, labels, 4, penalty)
    z = (x.double().numpy() - x.double().numpy().mean(0)) / np.where(np.ptp(x.numpy(), 0) > 0, x.numpy().std(0), np.inf)
    oracle = LogisticRegression(C=1 / (len(z) * penalty), tol=1e-10, max_iter=5000).fit(z, labels.numpy())
    probabilities = found(x).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, oracle.predict_proba(z), atol=1e-3)


def test_a_class_without_images_is_never_the_answer() -> None:
    x, labels = data(2)
    assert (read_out(x, labels, 5, 0.01)(x).argmax(1) < 4).all()


def test_the_penalty_is_chosen_on_images_apart() -> None:
    x, labels = data(3, images=60)
    noise = torch.randn(60, 80, generator=torch.Generator().manual_seed(0))
    assert chosen_penalty(torch.cat([x, noise], 1), labels, 4) == 0.1  # 88 units of 60 images
    many, of_many = data(4, images=4000)
    assert chosen_penalty(many, of_many, 4) < 0.1


def test_without_a_penalty_there_may_be_no_optimum() -> None:
    with pytest.raises(ValueError, match="above 0"):
        read_out(*data(5), 4, 0.0)
