"""Pictures of patches and of what in them drives a unit."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from raycv.run.schema import LARGEST_PICTURE

BATCH = 128  # patches led back together
UNITS = 64  # drawn by an actor at once

LOSSLESS = 24  # pixels up to which a picture keeps every value
QUALITY = 90  # of larger pictures, in WebP
BRIGHTEST = 99.5  # percentile of a unit's signal that is drawn with full contrast


def shades(signals: list[np.ndarray]) -> list[np.ndarray]:
    """A unit's signals (h, w, 3) as pictures uint8: 128 where there is none, one contrast for all of them."""
    strength = np.concatenate([np.abs(signal).ravel() for signal in signals])
    brightest = np.percentile(strength[strength > 0], BRIGHTEST) if strength.any() else 1.0
    return [(128 + 127 * np.clip(signal / brightest, -1, 1)).astype(np.uint8) for signal in signals]


def encoded(picture: np.ndarray) -> bytes:
    """A picture (h, w, 3) uint8 as WebP, every value kept in small ones, made smaller where it is large."""
    image, buffer = Image.fromarray(picture), io.BytesIO()
    image.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE), Image.Resampling.LANCZOS)
    image.save(buffer, "WEBP", lossless=max(image.size) <= LOSSLESS, quality=QUALITY, method=0)
    return buffer.getvalue()
