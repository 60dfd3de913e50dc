"""Pixels of stored images, against Pillow's."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from raycv.data.decoding import pixels
from raycv.data.preprocessing import Resize
from raycv.data.readers import Item
from raycv.errors import UserError

SAVED: list[dict[str, Any]] = [
    {"quality": 95},
    {"quality": 40, "subsampling": 0},
    {"quality": 80, "subsampling": 1},
    {"quality": 80, "progressive": True, "optimize": True},
    {"quality": 80, "restart_marker_blocks": 2},
]


def jpeg(mode: str, width: int, height: int, saved: dict[str, Any], seed: int = 0) -> bytes:
    """A smooth image with some noise."""
    generator = np.random.default_rng(seed)
    smooth = generator.integers(0, 256, (3, 3, len(Image.new(mode, (1, 1)).getbands())), dtype=np.uint8)
    image = Image.merge(
        mode,
        [Image.fromarray(band).resize((width, height), Image.Resampling.BICUBIC) for band in np.moveaxis(smooth, 2, 0)],
    )
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **saved)
    return buffer.getvalue()


def by_pillow(content: bytes, resize: Resize) -> np.ndarray | None:
    """None for an image that Pillow refuses."""
    with contextlib.suppress(OSError, SyntaxError):
        return np.asarray(resize(Image.open(io.BytesIO(content)).convert("RGB")))
    return None


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("saved", SAVED, ids=str)
@given(width=st.integers(1, 70), height=st.integers(1, 70), seed=st.integers(0, 9))
def test_jpegs_have_the_pixels_that_pillow_gives(
    mode: str, saved: dict[str, Any], width: int, height: int, seed: int
) -> None:
    content = jpeg(mode, width, height, saved, seed)
    for resize in (Resize(height), Resize(9, "short-side")):  # a square one is left as it is
        expected = by_pillow(content, resize)
        assert expected is not None
        np.testing.assert_array_equal(pixels(Item(content, 0, "here"), resize, exact=True), expected)


@given(kept=st.integers(2, 3000), lost=st.integers(0, 40))
def test_what_pillow_refuses_is_refused(kept: int, lost: int) -> None:
    """Cut off, or with bytes left out in the middle."""
    whole = jpeg("RGB", 60, 50, {"quality": 95})
    content, resize = whole[:kept] + whole[kept + lost :] * (lost > 0), Resize(50)
    expected = by_pillow(content, resize)
    if expected is None:
        with pytest.raises(UserError, match="^The image in here is corrupt"):
            pixels(Item(content, 0, "here"), resize, exact=True)
    else:
        np.testing.assert_array_equal(pixels(Item(content, 0, "here"), resize, exact=True), expected)


def stored(pixels: np.ndarray, kind: str) -> Item:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return Item(buffer.getvalue(), 0, "x")


RAMP = np.linspace(0, 1, 64).reshape(8, 8)


@pytest.mark.parametrize(
    ("pixels_of", "what"),
    [
        (RAMP.astype(np.float32), "floating-point numbers"),
        ((255 * RAMP).astype(np.float32), "floating-point numbers"),
        ((2**30 * RAMP).astype(np.int32), "integers"),
        ((255 * RAMP).astype(np.int32), "integers"),
    ],
)
def test_pixels_whose_white_is_unknown_are_refused(pixels_of: np.ndarray, what: str) -> None:
    """They became black or white images: read as 0 to 255, where 0 to 1 or 0 to 2^31 fits as well."""
    with pytest.raises(
        UserError, match=rf"The image in x has .* {what} as pixels.*; save it with 8 or 16 bits"
    ) as found:
        pixels(stored(pixels_of, "TIFF"), Resize(8), exact=True)
    assert "corrupt" not in str(found.value)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_become_eight(kind: str) -> None:
    values = (65535 * RAMP).astype(np.uint16)
    got = pixels(stored(values, kind), Resize(8), exact=True)
    np.testing.assert_array_equal(got, np.repeat(values[:, :, None] // 256, 3, axis=2))


def test_postscript_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would call Ghostscript, whatever the file's name."""
    made, ghostscript = tmp_path / "made", tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {made}\n")
    ghostscript.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "EPS")
    with pytest.raises(UserError, match="The image in x is PostScript, a program"):
        pixels(Item(content.getvalue(), 0, "x"), Resize(8), exact=True)
    assert not made.exists()
    with contextlib.suppress(OSError):  # the picture that it does not make
        Image.open(content).load()
    assert made.exists()  # so the test could have failed
