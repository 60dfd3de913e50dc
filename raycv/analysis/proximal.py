"""The LASSO path of many targets at once on a GPU: accelerated proximal gradient steps in double precision.

The problem and its KKT conditions are those of `raycv.analysis.lasso`, whose active sets branch too much for a GPU.
Here all targets take the same step, one product with G (Beck & Teboulle, 2009). With L the largest eigenvalue of G,

    w' = soft(v + (b − G v) / L, α / L),        v' = w' + momentum · (w' − w).

If momentum makes the objective of a target rise, its momentum restarts from 0 (O'Donoghue & Candès, 2015). A target
that meets its KKT conditions is left out of further products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from raycv.analysis import lasso
from raycv.analysis.arrays import Floats
from raycv.analysis.lasso import Problem, Progress
from raycv.analysis.lasso_kernels import allowed
from raycv.extras import needed

if TYPE_CHECKING:
    import torch
    from torch import Tensor

STEPS = 20_000  # at most, for one α
CHECKED_EVERY = 20  # steps


def solve_path(
    problem: Problem, alphas: Floats, tolerance: float, device: torch.device | str, progress: Progress | None = None
) -> Floats:
    """Weights (D, S_b, S_a) for the D falling, positive ``alphas``, to the ``tolerance`` of `lasso.solve_path`.

    Targets that do not reach the tolerance in STEPS steps, because their source units are nearly dependent, are
    solved by `lasso.solve_path`. ``progress(done, targets)`` advances by the same number of targets for each decay.
    Memory on the device: S_a² + 6 S_b S_a numbers.
    """
    with needed():
        import torch

    weights = np.zeros((len(alphas), *problem.right.shape))
    if not problem.right.size:
        return weights
    with torch.inference_mode():
        gram, right = (torch.from_numpy(matrix).to(device) for matrix in (problem.gram, problem.right))
        current, failed = torch.zeros_like(right), torch.zeros(len(right), dtype=torch.bool, device=device)
        step = 1 / float(torch.linalg.eigvalsh(gram)[-1])
        for d, alpha in enumerate(alphas.tolist()):
            failed[_descend(gram, right, current, alpha, step, allowed(tolerance, alpha))] = True
            weights[d] = current.cpu().numpy()
            if progress is not None:
                progress(len(right) * (d + 1) // len(alphas), len(right))
    rest = failed.cpu().numpy()
    if rest.any():
        hard = Problem(problem.gram, problem.right[rest], problem.times_inverse)
        weights[:, rest] = lasso.solve_path(hard, alphas, tolerance)
    return weights


def _descend(gram: Tensor, right: Tensor, weights: Tensor, alpha: float, step: float, allowed: float) -> Tensor:
    """Move ``weights`` (S_b, S_a) to the optimum; return the numbers of the targets that STEPS steps did not solve."""
    with needed():
        import torch
        from torch.nn.functional import softshrink

    left = torch.arange(len(right), device=right.device)
    b, w, ahead = right, weights.clone(), weights.clone()
    age = torch.ones(len(right), 1, dtype=right.dtype, device=right.device)  # of the momentum
    for number in range(STEPS + 1):
        if number % CHECKED_EVERY == 0:
            wrong = _violation(b - w @ gram, w, alpha) > allowed
            weights[left] = w
            left, b, w, ahead, age = (part[wrong] for part in (left, b, w, ahead, age))
            if not len(left):
                break
        new = softshrink(ahead + step * torch.addmm(b, ahead, gram, alpha=-1), alpha * step)
        uphill = ((ahead - new) * (new - w)).sum(1, keepdim=True) > 0
        age = torch.where(uphill, 1.0, age)
        older = (1 + (1 + 4 * age**2).sqrt()) / 2
        ahead = new + (age - 1) / older * (new - w)
        w, age = new, older
    return left


def _violation(gradient: Tensor, weights: Tensor, alpha: float) -> Tensor:
    """(n,): the largest violation of a KKT condition of each target."""
    with needed():
        import torch

    active = (gradient - alpha * weights.sign()).abs()
    inactive = (gradient.abs() - alpha).clamp(min=0)
    return torch.where(weights != 0, active, inactive).amax(1)
