"""The figures of the paper as they stand in the run, for the end of the page. All text in them is escaped."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping
from html import escape

from PIL import Image

from raycv.drawing.texts import CAPTION, PICTURES, TITLE
from raycv.errors import UserError

FIGURE_WIDTH = 1400  # pixels, of 7 inches
QUALITY = 60


def figure(number: int, path: str, content: bytes) -> str:
    """The picture ``path``, a PNG of `raycv figures`, as an element of the page.

    Title and caption are drawn in the picture; for those who do not see it they are read from the PNG's texts Title and
    Description. Without them its name must do. Raises UserError for what is no picture.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            texts: Mapping[str, str] = getattr(picture, "text", {})
            small = picture.convert("RGB")
    except Exception:  # damaged pictures raise all kinds of errors
        raise UserError(f"{path} is not a readable picture; remove it and run `raycv figures` again.") from None
    small.thumbnail((FIGURE_WIDTH, 10 * FIGURE_WIDTH))
    title = _title(path, texts.get(TITLE, ""))
    kind = "pictured" if PICTURES in texts else "drawn"  # only drawings look right in other colours
    caption = " ".join(texts.get(CAPTION, "").split())
    buffer = io.BytesIO()
    small.save(buffer, "webp", quality=QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<figure id="figure-{number}" class="{kind}" data-name="{escape(_name(path))}">'
        f"<figcaption>{escape(title)}</figcaption>"
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(title)}">'
        f'<img src="data:image/webp;base64,{data}" width="{small.width}" height="{small.height}" loading="lazy" '
        f'decoding="async" alt="{escape(f"{title}. {caption}".strip())}"></div></figure>'
    )


def _title(path: str, title: str) -> str:
    """figures/figure-18-19-extremes.png is "Figures 18–19: extremes" where it has no ``title`` of its own."""
    name = _name(path)
    numbered = re.fullmatch(r"figure((?:-\d+)+)-(.+)", name)
    title = title or (numbered[2] if numbered else name).replace("-", " ")
    if not numbered:
        return title[0].upper() + title[1:]
    numbers = [str(int(number)) for number in numbered[1].split("-") if number]
    return f"Figure{'s' if len(numbers) > 1 else ''} {'–'.join(numbers)}: {title}"


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1].removesuffix(".png")
