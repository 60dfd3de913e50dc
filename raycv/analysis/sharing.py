"""What width alone does to measures of convergence, while what two networks share of every unit stays the same.

The more units a layer has, the larger the best of the correlations of one unit with all of them, and the larger what
mixtures of them give, so that the excess over mixtures changes though no unit shares more or less. That is simulated
here. Both networks see the same Gaussian latents; unit i of either is a random direction among them, and a constant
part of the direction of b's unit is that of a's,

    w_b = ρ w_a + √(1 − ρ²) v,

then both are rectified, where the layer is. There are as many units as in the layer and as many latents as give them
its effective dimension. ρ is not known: the one is taken that gives, on average over all widths, what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from raycv.analysis.arrays import Floats
from raycv.analysis.averages import mean
from raycv.analysis.nulls import WIDE, best_correlation, rotated
from raycv.analysis.prerelu import rotated_before_relu
from raycv.extras import needed

with needed():
    from scipy.optimize import brentq

QUANTITIES = ("correlation", "excess", "prerelu_excess")  # of the table study
LEVELS = np.linspace(0, 1, 9)  # of ρ
SAMPLES = 2000
UNITS = 512  # of all networks that are simulated, at least
DRAWS, DRAWS_WHEN_WIDE = 3, 2  # of mixtures
MOST_LATENTS = 10_000


def shared(units: int, latents: int, *, is_rectified: bool, seed: int = 0) -> dict[str, Floats]:
    """By each of `QUANTITIES` (9,) its value at each of `LEVELS`, between two networks of so many units.

    Without ReLU there is no prerelu_excess. The same draws serve all levels, so that the curves are smooth.
    """
    found: dict[str, list[Floats]] = {name: [] for name in QUANTITIES[: 3 if is_rectified else 2]}
    for repetition in range(math.ceil(UNITS / units)):
        rng = np.random.default_rng([seed, repetition])
        samples = rng.standard_normal((SAMPLES, latents))
        a, v = (samples @ _directions(rng, latents, units) for _ in range(2))
        levels = [_at(a, level * a + math.sqrt(1 - level**2) * v, is_rectified, repetition) for level in LEVELS]
        for name, of_name in found.items():
            of_name.append(np.array([level[name] for level in levels]))
    return {name: np.mean(of_name, axis=0) for name, of_name in found.items()}


def _directions(rng: np.random.Generator, latents: int, units: int) -> Floats:
    """(L, S): random directions of length 1."""
    drawn: Floats = rng.standard_normal((latents, units))
    drawn /= np.linalg.norm(drawn, axis=0)
    return drawn


def _at(a: Floats, b: Floats, is_rectified: bool, seed: int) -> dict[str, float]:
    """Of two networks before their ReLU (n, S)."""
    with needed():
        import torch

    units, draws = a.shape[1], DRAWS if a.shape[1] <= WIDE else DRAWS_WHEN_WIDE
    of_a, of_b = (np.maximum(net, 0) if is_rectified else net for net in (a, b))
    every = np.corrcoef(of_a, of_b, rowvar=False)
    cross, within = every[:units, units:], every[units:, units:]
    best = mean(best_correlation(cross))
    found = {
        "correlation": best,
        "excess": best - rotated(cross, within, rotations=draws, seed=seed, device="cpu").mean,
    }
    if is_rectified:
        before = torch.from_numpy(b).float()
        mixed = [rotated_before_relu(before, seed=(seed, draw)).double().numpy() for draw in range(draws)]
        null = [mean(best_correlation(np.corrcoef(of_a, one, rowvar=False)[:units, units:])) for one in mixed]
        found["prerelu_excess"] = best - float(np.mean(null))
    return found


def latents_of(units: int, dimension: float, *, is_rectified: bool) -> int:
    """How many latents give so many units this effective dimension (`raycv.analysis.nulls.effective_dimension`).

    Of S units whose correlations have a mean square q it is S / (1 + (S - 1) q). Directions among d latents have a mean
    squared cosine r² of 1 / d; after a ReLU the correlation is about (π r / 2 + r² / 2) / (π - 1) (Cho & Saul, 2009, to
    second order). At least 2; 10,000 where the units are as good as independent.
    """
    q = (units / dimension - 1) / max(units - 1, 1)

    def surplus(latents: float) -> float:
        if not is_rectified:
            return 1 / latents - q
        return (math.pi**2 / 4 / latents + 3 / 4 / (latents * (latents + 2))) / (math.pi - 1) ** 2 - q

    if surplus(2) <= 0 or surplus(MOST_LATENTS) >= 0:
        return 2 if surplus(2) <= 0 else MOST_LATENTS
    return round(float(brentq(surplus, 2, MOST_LATENTS)))


def at_constant(curves: Sequence[ArrayLike], measured: ArrayLike) -> Floats:
    """(C,): what each of C networks' curves (9,) of `shared` gives at the one level where their mean is the measured.

    ``measured`` (C,); its mean may lie outside of what any level gives, where the nearest level is taken.
    """
    found = np.asarray(curves, dtype=np.float64)
    wanted = float(np.mean(np.asarray(measured, dtype=np.float64)))
    rising = np.maximum.accumulate(found.mean(0))
    level = float(np.interp(wanted, rising, LEVELS))
    return np.array([np.interp(level, LEVELS, curve) for curve in found])
