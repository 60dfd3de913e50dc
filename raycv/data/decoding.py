"""From an image as it is stored to pixels of the size that is wanted."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator

import numpy as np
import simplejpeg
from PIL import Image

from raycv.data.preprocessing import Resize
from raycv.data.readers import Item
from raycv.errors import UserError

TIFF_BITS, TIFF_MEANING, WHITE_IS_ZERO = 258, 262, 0  # tags, and one meaning of black and white


def pixels(item: Item, resize: Resize, *, exact: bool, place: np.ndarray | None = None) -> np.ndarray:
    """Pixels (size, size, 3) uint8, red green blue; greyscale, palette, transparent and CMYK images become RGB.

    Not ``exact``, images are resized by PyTorch (`Resize.quick`). In ``place``, of that shape, where a JPEG that has
    the size can be decoded straight into it; its content is lost. Raises UserError for an image that cannot be decoded.
    """
    if item.content is None:
        raise UserError(f"There is no image in {item.origin}; every row needs its image's bytes.")
    with _refusing(item.origin):
        stored = item.content if isinstance(item.content, np.ndarray) else _decoded(item.content, place)
        if stored.shape[:2] == (resize.size, resize.size):
            return stored
        if not exact and resize.can_be_quick and not isinstance(item.content, np.ndarray):
            return resize.quick(stored)
        return np.asarray(resize(Image.fromarray(stored)))


def size_of(item: Item) -> tuple[int, int]:
    """Width and height of a stored image; raises UserError for one that cannot be decoded."""
    if isinstance(item.content, np.ndarray):
        return item.content.shape[1], item.content.shape[0]
    with _refusing(item.origin):
        return Image.open(io.BytesIO(item.content or b"")).size


def _decoded(content: bytes, place: np.ndarray | None) -> np.ndarray:
    """Pixels (H, W, 3) uint8 of an image at the size that it has."""
    if content.startswith(b"\xff\xd8"):
        # The pixels that Pillow gives, in three fifths of the time. What it refuses goes to Pillow, which decides.
        with contextlib.suppress(ValueError):
            height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
            if colours in ("YCbCr", "RGB", "Gray") and height * width <= (Image.MAX_IMAGE_PIXELS or 0):
                if place is not None and place.shape == (height, width, 3):
                    simplejpeg.decode_jpeg(content, buffer=place)
                    return place
                found: np.ndarray = simplejpeg.decode_jpeg(content)
                return found
    image: Image.Image = Image.open(io.BytesIO(content))
    if image.format == "EPS":
        raise _Unusable("is PostScript, a program that Ghostscript would have to run; save it as PNG or JPEG")
    if image.mode[0] in "IF":  # convert would clip these to black or white instead of scaling them
        image = Image.fromarray(_scaled(image))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))  # which would copy it


def _scaled(image: Image.Image) -> np.ndarray:
    """Grey pixels (H, W) uint8 of an image of more than 8 bits a pixel. Raises _Unusable where white is unknown."""
    of_tiff = getattr(image, "tag_v2", {})  # what a TIFF says of itself
    if image.mode.startswith("I;16"):
        bits, is_negative = of_tiff.get(TIFF_BITS, (16,))[0], of_tiff.get(TIFF_MEANING) == WHITE_IS_ZERO
        grey: np.ndarray = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
        return 255 - grey if is_negative else grey
    if image.mode == "I" and image.format in ("PNG", "PPM"):  # 16 bits, also where Pillow holds them in 32
        return (np.asarray(image) >> 8).astype(np.uint8)
    what = "32-bit floating-point numbers" if image.mode == "F" else "signed or 32-bit integers"
    raise _Unusable(
        f"has {what} as pixels, and nothing in it says which of them is white; save it with 8 or 16 bits a colour"
    )


class _Unusable(Exception):
    """What an image is that has no pixels, or pixels whose values mean nothing, and what to do."""


@contextlib.contextmanager
def _refusing(origin: str) -> Iterator[None]:
    """Raise UserError for what Pillow raises of the image in ``origin``."""
    try:
        yield
    except _Unusable as error:
        raise UserError(f"The image in {origin} {error}.") from None
    except Image.DecompressionBombError as error:  # its text has both numbers
        found, most = (f"{int(number):,}" for number in re.findall(r"\d+", str(error))[:2])
        raise UserError(
            f"The image in {origin} is too large: it has {found} pixels and at most {most} are decoded; "
            "make it smaller."
        ) from None
    except Exception:  # damaged images raise all kinds of errors
        raise UserError(f"The image in {origin} is corrupt: it cannot be decoded; mend or remove it.") from None
