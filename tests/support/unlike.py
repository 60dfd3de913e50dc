"""Pairs of networks that share nothing, and of networks with planted copies: what tests against chance must tell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.stats import norm

Generator = Callable[[np.random.Generator], np.ndarray]
UNITS, SAMPLES = 48, 2000


def sparse(rng: np.random.Generator, samples: int = SAMPLES) -> np.ndarray:
    """Rectified, each unit active in .3 to 60% of the samples."""
    active = np.exp(rng.uniform(np.log(0.003), np.log(0.6), UNITS))
    return np.maximum(rng.standard_normal((samples, UNITS)) - norm.isf(active), 0)


def log_normal(rng: np.random.Generator) -> np.ndarray:
    """Log-normal, of standard deviation 1.5."""
    return np.exp(1.5 * rng.standard_normal((SAMPLES, UNITS)))


def smooth_maps(rng: np.random.Generator) -> np.ndarray:
    """100 images of 64 positions, each unit smooth over 1 to 16 of them: (100, 48, 64)."""
    white = rng.standard_normal((UNITS, 100, 64))
    widths = np.exp(rng.uniform(np.log(0.5), np.log(16), UNITS))
    maps = [gaussian_filter1d(of_unit, width, mode="wrap") for of_unit, width in zip(white, widths, strict=True)]
    return np.stack(maps, axis=1)


def gaussian(rng: np.random.Generator) -> np.ndarray:
    """Independent normal units."""
    return rng.standard_normal((SAMPLES, UNITS))


def dense_rectified(rng: np.random.Generator) -> np.ndarray:
    """Active in half of the samples."""
    return np.maximum(rng.standard_normal((SAMPLES, UNITS)), 0)


def heavy_tailed(rng: np.random.Generator) -> np.ndarray:
    """Student's t with two degrees of freedom: no fourth moment, hardly a variance."""
    return rng.standard_t(2, (SAMPLES, UNITS))


def documents(rng: np.random.Generator) -> np.ndarray:
    """200 documents of 32 tokens, autocorrelated by .9 from token to token: (200, 48, 32)."""
    steps = rng.standard_normal((32, 200, UNITS))
    for token in range(1, 32):
        steps[token] = 0.9 * steps[token - 1] + np.sqrt(1 - 0.81) * steps[token]
    return np.moveaxis(steps, 0, 2)


def few_dimensions(rng: np.random.Generator) -> np.ndarray:
    """Rectified mixtures of three causes of its own."""
    return np.maximum(rng.standard_normal((SAMPLES, 3)) @ rng.standard_normal((3, UNITS)), 0)


def uneven_images(rng: np.random.Generator) -> np.ndarray:
    """100 images of 32 positions, each image with a contrast of its own that both networks do not share."""
    contrast = np.exp(rng.standard_normal((100, UNITS, 1)))
    return contrast * rng.standard_normal((100, UNITS, 32))


NULLS: dict[str, Generator] = {
    "sparse": sparse,
    "log-normal": log_normal,
    "smooth maps": smooth_maps,
    "Gaussian": gaussian,
    "dense rectified": dense_rectified,
    "heavy tails": heavy_tailed,
    "documents": documents,
    "few dimensions": few_dimensions,
    "uneven images": uneven_images,
}


def with_copies(
    generator: Generator, rng: np.random.Generator, copies: int = 24, rho: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Two networks whose first units are noisy copies, of the same scale, correlated by about ``rho``."""
    a, b = generator(rng), generator(rng)
    other = generator(rng)
    axes = (0, 2)[: a.ndim - 1]
    scale, of_noise = (x[:, :copies].std(axes, keepdims=True) for x in (a, other))
    b[:, :copies] = rho * a[:, :copies] + np.sqrt(1 - rho**2) * other[:, :copies] * scale / of_noise
    return a, b
