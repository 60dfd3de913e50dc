"""Sums over the samples of single units, without products of two: small at any width, so kept in eight folds always."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from raycv.statistics.moments import Diagonal, JointMoments

if TYPE_CHECKING:
    from torch import Tensor


def sums_of(activations: Sequence[Tensor], pilot: np.ndarray) -> JointMoments:
    """The moments of the same samples of every network, (n, S_n) each, around ``pilot`` (U,), in float64.

    Of the products only the squares of each unit.
    """
    import torch

    widths = [values.shape[1] for values in activations]
    pilots = np.split(pilot.astype(np.float64), np.cumsum(widths)[:-1])
    shifted = [
        x.double() - torch.from_numpy(of_net).to(x.device) for x, of_net in zip(activations, pilots, strict=True)
    ]

    def of_units(parts: Sequence[Tensor]) -> np.ndarray:
        return torch.cat(list(parts)).cpu().numpy()

    return JointMoments(
        widths=np.array(widths),
        pilot=pilot.astype(np.float64),
        count=np.array(len(activations[0])),
        total=of_units([y.sum(0) for y in shifted]),
        minimum=of_units([y.amin(0) for y in shifted]),
        maximum=of_units([y.amax(0) for y in shifted]),
        active=of_units([(x > 0).sum(0) for x in activations]),
        blocks={(n, n): Diagonal(y.square().sum(0).cpu().numpy()) for n, y in enumerate(shifted)},
    )
