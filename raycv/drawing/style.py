"""The style of all figures: one page width, one font size per role, colours safe for colour-blind readers."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from raycv.drawing.texts import CAPTION, PICTURES
from raycv.drawing.texts import TITLE as TITLE_TEXT

WIDTH = 7.0  # inches: the text width of a printed page
TITLE, TEXT, TICKS = 10, 8, 7  # points
DOTS_PER_INCH = 200

# The two methods differ in lightness, as in the paper, so they stay apart in grey too.
METHODS = {"semi": "semi-matching", "bipartite": "matching"}
COLOURS = {"semi": "#6cc5a4", "bipartite": "#005a41"}
QUIET = "#6b6b6b"
SIGNAL = "#d55e00"
# Okabe & Ito, Color Universal Design (2008), without yellow, which is hard to see on white paper.
NETS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")

_SHADES = colormaps["viridis_r"]  # layers from light to dark; yellow is left out
_TITLE_CHARACTERS, _CAPTION_CHARACTERS = 78, 116  # per line of the page


def page(height: float, above: str, below: str) -> Figure:
    """An empty figure of the page width and ``height`` inches, with its title ``above`` and its caption ``below``."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    title(figure, above)
    caption(figure, below)
    return figure


def title(figure: Figure, text: str) -> None:
    """Give a figure its title, in lines as wide as the page."""
    text = _lines(" ".join(text.split()), _TITLE_CHARACTERS)
    figure.suptitle(text, x=0.01, ha="left", fontsize=TITLE, fontweight="bold")


def caption(figure: Figure, text: str) -> None:
    """Give a figure its caption, in lines as wide as the page."""
    figure.supxlabel(_lines(" ".join(text.split()), _CAPTION_CHARACTERS), x=0.01, ha="left", fontsize=TEXT)


def _lines(text: str, characters: int) -> str:
    return textwrap.fill(text, characters, break_on_hyphens=False)  # `png` joins the lines again, with spaces


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Name a panel and its axes."""
    axes.set_title(title, fontsize=TEXT, loc="left")
    axes.set_xlabel(x, fontsize=TEXT)
    axes.set_ylabel(y, fontsize=TEXT)
    axes.tick_params(labelsize=TICKS)


def shade(place: int, layers: int) -> ColorType:
    """The colour of the layer in ``place`` of several ``layers``, the first being 0."""
    return _SHADES(0.12 + 0.88 * place / max(layers - 1, 1))


def open_frame(axes: Axes) -> None:
    """Keep only the two spines that carry a scale."""
    axes.spines[["top", "right"]].set_visible(False)


def counted(count: int, noun: str) -> str:
    """A number with its noun: "1 unit", "3 units"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def ends(values: Mapping[str, float], form: str) -> str:
    """The smallest and the largest value, each with its layer: "0.19 (conv4) to 0.51 (conv1)"."""
    least, most = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    text = f"{values[least]:{form}} ({least})"
    return text if least == most else f"{text} to {values[most]:{form}} ({most})"


def png(figure: Figure) -> bytes:
    """The figure as a PNG file, with title and caption as its texts, and whether it holds pictures in colours."""
    texts = {TITLE_TEXT: figure.get_suptitle(), CAPTION: figure.get_supxlabel()}
    images = [image.get_array() for axes in figure.get_axes() for image in axes.get_images()]
    if any(image is not None and image.ndim == 3 and image.shape[2] == 3 for image in images):
        texts[PICTURES] = "yes"
    buffer = io.BytesIO()
    metadata = {name: " ".join(text.split()) for name, text in texts.items()}
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()
