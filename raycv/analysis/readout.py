"""A linear read-out of units: multinomial logistic regression with an L2 penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raycv.extras import needed

if TYPE_CHECKING:
    from torch import Tensor


PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)  # that are tried
ITERATIONS = 200  # of L-BFGS at most


@dataclass(frozen=True)
class ReadOut:
    """Logits of classes from units: z-scores (x − centre) · scale times the weights, plus the bias.

    ``weights`` and ``bias`` minimise the mean cross-entropy over the images of the fit, in nats, plus penalty/2 ·
    ‖weights‖². ``sklearn.linear_model.LogisticRegression(C=1/(n·penalty))`` on z-scores is the same. Called with
    activations (n, S) it gives logits (n, C).

    Attributes
    ----------
    centre : Tensor of shape (S,), float64
        Means over the images of the fit.
    scale : Tensor of shape (S,), float64
        1 over standard deviations; 0 for a unit that is constant over these images.
    weights : Tensor of shape (C, S), float64
        Of z-scores.
    bias : Tensor of shape (C,), float64
        Of classes.
    penalty : float
        Of the squared weights.

    Examples
    --------
    >>> import torch
    >>> from raycv.analysis import read_out
    >>> activations, labels = torch.tensor([[-1.0], [-0.5], [0.5], [1.0]]), torch.tensor([0, 0, 1, 1])
    >>> read_out(activations, labels, classes=2, penalty=0.01)(activations).argmax(1).tolist()
    [0, 0, 1, 1]
    """

    centre: Tensor
    scale: Tensor
    weights: Tensor
    bias: Tensor
    penalty: float

    def __call__(self, activations: Tensor) -> Tensor:
        """The logits (n, C) that follow from activations (n, S)."""
        return (activations.double() - self.centre) * self.scale @ self.weights.T + self.bias


def read_out(activations: Tensor, labels: Tensor, classes: int, penalty: float) -> ReadOut:
    """Fit a linear read-out of classes: multinomial logistic regression with an L2 penalty.

    In float64 by L-BFGS on the device of the activations.

    Parameters
    ----------
    activations : Tensor of shape (n, S)
        Of the units, in the images of the fit.
    labels : Tensor of shape (n,), int64
        Classes, from 0.
    classes : int
        C.
    penalty : float
        Of the squared weights of z-scores, above 0.

    Returns
    -------
    ReadOut
        Weights and bias that minimise mean cross-entropy plus penalty/2 · ‖weights‖².

    Raises
    ------
    ValueError
        For a penalty that is not positive.

    Examples
    --------
    >>> import torch
    >>> from raycv.analysis import read_out
    >>> activations = torch.tensor([[-1.0, 5.0], [-0.5, 5.0], [0.5, 5.0], [1.0, 5.0]])  # one is constant
    >>> found = read_out(activations, torch.tensor([0, 0, 1, 1]), classes=2, penalty=0.01)
    >>> found.weights.shape, found.scale[1].item()
    (torch.Size([2, 2]), 0.0)
    """
    with needed():
        import torch
        import torch.nn.functional as F

    if not penalty > 0:
        raise ValueError(f"the penalty is {penalty}; it must be above 0, or there may be no optimum")
    values = activations.double()
    centre, std = values.mean(0), values.std(0, correction=0)
    scale = torch.where(std > 0, 1 / std, 0.0)
    scores = (values - centre) * scale
    weights = torch.zeros(classes, values.shape[1], dtype=torch.float64, device=values.device, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, device=values.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, bias],
        max_iter=ITERATIONS,
        tolerance_grad=1e-5,
        tolerance_change=1e-8,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(scores @ weights.T + bias, labels) + penalty / 2 * weights.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return ReadOut(centre, scale, weights.detach(), bias.detach(), penalty)


def chosen_penalty(
    activations: Tensor, labels: Tensor, classes: int, penalties: Sequence[float] = PENALTIES, *, seed: int = 0
) -> float:
    """Choose the penalty of a read-out with the smallest cross-entropy on a random fifth of the images.

    Parameters
    ----------
    activations : Tensor of shape (n, S)
        As in `read_out`; five images or more.
    labels : Tensor of shape (n,), int64
        As in `read_out`.
    classes : int
        As in `read_out`.
    penalties : sequence of float
        Those tried; by default 1e-4, 1e-3, 1e-2 and 1e-1.
    seed : int, default 0
        Of the fifth.

    Returns
    -------
    float
        One of ``penalties``, fitted on the other images.

    Raises
    ------
    ValueError
        For fewer than five images, and for a penalty that is not positive.

    Examples
    --------
    >>> import torch
    >>> from raycv.analysis import chosen_penalty
    >>> noise = torch.randn(100, 20, generator=torch.Generator().manual_seed(0))
    >>> chosen_penalty(noise, torch.arange(100) % 2, classes=2)                  # there is nothing to read out
    0.1
    """
    with needed():
        import torch
        import torch.nn.functional as F

    if len(labels) < 5:
        raise ValueError(f"a fifth of the images is needed to choose a penalty on, and there are {len(labels)}")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).to(labels.device)
    apart, fit = order[: len(labels) // 5], order[len(labels) // 5 :]

    def loss(penalty: float) -> float:
        found = read_out(activations[fit], labels[fit], classes, penalty)
        return float(F.cross_entropy(found(activations[apart]), labels[apart]))

    return min(penalties, key=loss)
