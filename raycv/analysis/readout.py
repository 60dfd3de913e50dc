"""A linear read-out of units: multinomial logistic regression with an L2 penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)  # that are tried
ITERATIONS = 200  # of L-BFGS at most


@dataclass(frozen=True)
class ReadOut:
    """Logits of classes from units: z-scores (x − ``centre``) · ``scale`` times ``weights`` (C, S), plus ``bias`` (C,).

    ``weights`` and ``bias`` minimise the mean cross-entropy over the images of the fit, in nats, plus ``penalty``/2 ·
    ‖weights‖². ``sklearn.linear_model.LogisticRegression(C=1/(n·penalty))`` on z-scores is the same.
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
    """Fit on activations (n, S) and labels (n,), in float64 by L-BFGS on the device of the activations.

    A unit that is constant over these images has scale 0. Raises ValueError for a penalty that is not positive.
    """
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
    """The penalty with the smallest cross-entropy on a random fifth of the images, fitted on the others."""
    import torch
    import torch.nn.functional as F

    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).to(labels.device)
    apart, fit = order[: len(labels) // 5], order[len(labels) // 5 :]

    def loss(penalty: float) -> float:
        found = read_out(activations[fit], labels[fit], classes, penalty)
        return float(F.cross_entropy(found(activations[apart]), labels[apart]))

    return min(penalties, key=loss)
