"""The parts of the page that stand still: what was compared, the averages per layer, the figures. All is escaped."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
from PIL import Image

from raycv.errors import UserError

FIGURE_WIDTH = 1200  # pixels, of 7 inches
QUALITY = 60
METHODS = {"semi": "best partner", "bipartite": "one to one"}
_CHART = 200  # pixels: width of the scale from 0 to 1
_EDGE = 6


def networks(accuracies: Mapping[str, float | None]) -> str:
    """A table of the networks and the fraction of validation images that each classifies right."""
    rows = [
        f'<tr><th scope="row">{escape(net)}</th><td>{"not known" if value is None else f"{100 * value:.2f}%"}</td></tr>'
        for net, value in accuracies.items()
    ]
    return _table("Networks compared", ["network", "validation images classified right"], rows)


def health(checked: Mapping[str, Any] | None) -> str:
    """The verdict of `raycv align` on the run: whether the logits match class by class."""
    if checked is None:
        return ""
    layer = escape(checked["layer"])
    if not checked["broken_pairs"]:
        return (
            f'<p class="verdict good"><strong>Health check passed.</strong> The outputs of all pairs of networks '
            f"({layer}) match class by class, as they must if all saw the same images.</p>"
        )
    pairs = ", ".join(escape(f"{a}–{b}") for a, b in checked["broken_pairs"])
    return (
        f'<p class="verdict bad"><strong>Health check failed.</strong> The outputs ({layer}) of {pairs} do not match '
        "class by class. Either the networks are barely trained, or their images or preprocessing were mixed up; do "
        "not trust these results.</p>"
    )


def left_out(commands: Mapping[str, str]) -> str:
    """What the report lacks, by the command that makes it."""
    if not commands:
        return ""
    lines = "".join(f"<li>{escape(what)}: <code>{escape(command)}</code></li>" for what, command in commands.items())
    return (
        f"<p>Left out, as the run does not have it yet. These commands make it; report again then:</p><ul>{lines}</ul>"
    )


def convergence(alignment: pd.DataFrame) -> str:
    """What matched units have beyond chance per layer, and their average correlation, as a table with a chart.

    Averages over all ordered pairs of networks, as in the figure of the layers. ``alignment``: the table.
    """
    rows = alignment[alignment["similarity"] == "correlation"]
    means = rows.groupby(["layer", "method"], sort=False).mean(numeric_only=True)
    lines = []
    for layer in dict.fromkeys(rows["layer"]):
        of_layer = {method: means.loc[(layer, method)] for method in METHODS}
        semi = of_layer["semi"]
        cells = _excess(semi["excess"], semi["untrained_excess"])
        cells += _excess(semi["prerelu_excess"], semi["untrained_prerelu_excess"])
        cells += "".join(
            f"<td>{mean['mean']:.3f} <small>{_interval(mean)}</small></td><td>{mean['untrained_mean']:.3f}</td>"
            for mean in of_layer.values()
        )
        lines.append(f'<tr><th scope="row">{escape(str(layer))}</th><td>{_chart(of_layer)}</td>{cells}</tr>')
    head = ["layer", "correlation from 0 to 1, a line each quarter"]
    head += ["excess, mixed after", "untrained", "excess, mixed before", "untrained"]
    for name in METHODS.values():
        head += [f"correlation, {name}", "untrained"]
    return _table("Correlation of matched units, beyond chance and as it is", head, lines)


def _excess(value: float, untrained: float) -> str:
    return f"<td>{value:+z.3f}</td><td>{untrained:+z.3f}</td>" if pd.notna(value) else "<td>-</td><td>-</td>"


def _interval(mean: Any) -> str:
    return f"{mean['mean_low']:.3f} to {mean['mean_high']:.3f}" if pd.notna(mean["mean_low"]) else ""


def _chart(of_layer: Mapping[str, Any]) -> str:
    """Dots with their intervals, one line for each method, and ticks at the untrained networks' averages."""

    def x(value: float) -> float:
        return round(_EDGE + _CHART * min(max(value, 0.0), 1.0), 1)

    parts = [f'<line class="scale" x1="{x(at)}" x2="{x(at)}" y1="0" y2="32"/>' for at in (0, 0.25, 0.5, 0.75, 1)]
    for (method, mean), y in zip(of_layer.items(), (10, 22), strict=True):
        if pd.notna(mean["untrained_mean"]):
            tick = x(mean["untrained_mean"])
            parts.append(f'<line class="null" x1="{tick}" x2="{tick}" y1="{y - 6}" y2="{y + 6}"/>')
        if pd.notna(mean["mean_low"]):
            ends = f'x1="{x(mean["mean_low"])}" x2="{x(mean["mean_high"])}"'
            parts.append(f'<line class="{method}" {ends} y1="{y}" y2="{y}"/>')
        if pd.notna(mean["mean"]):
            parts.append(f'<circle class="{method}" cx="{x(mean["mean"])}" cy="{y}" r="4"/>')
    width = _CHART + 2 * _EDGE
    return f'<svg viewBox="0 0 {width} 32" width="{width}" height="32" aria-hidden="true">{"".join(parts)}</svg>'


def _table(caption: str, head: Sequence[str], rows: Iterable[str]) -> str:
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody>"
        "</table></div>"
    )


def figure(number: int, path: str, content: bytes) -> tuple[str, str]:
    """(entry of the table of contents, figure) of the picture ``path``, a PNG of `raycv figures`.

    Its title and caption are read from the PNG's texts Title and Description; without them its name must do. Raises
    UserError for what is no picture.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            texts: Mapping[str, str] = getattr(picture, "text", {})
            small = picture.convert("RGB")
    except Exception:  # damaged pictures raise all kinds of errors
        raise UserError(f"{path} is not a readable picture; remove it and run `raycv figures` again.") from None
    small.thumbnail((FIGURE_WIDTH, 10 * FIGURE_WIDTH))
    title = _title(path, texts.get("Title", ""))
    caption = " ".join(texts.get("Description", "").split())
    data = base64.b64encode(_webp(small)).decode()
    return (
        f'<li><a href="#picture-{number}">{escape(title)}</a></li>',
        f'<figure id="picture-{number}"><div class="scroll" role="region" tabindex="0" aria-label="{escape(title)}">'
        f'<img src="data:image/webp;base64,{data}" width="{small.width}" height="{small.height}" decoding="async" '
        f'alt="{escape(f"{title}. {caption}".strip())}"></div>'
        f"<figcaption><strong>{escape(title)}.</strong> {escape(caption)}</figcaption></figure>",
    )


def _title(path: str, title: str) -> str:
    """figures/figure-18-19-extremes.png is "Figures 18–19: extremes" where it has no ``title`` of its own."""
    name = path.rsplit("/", 1)[-1].removesuffix(".png")
    numbered = re.fullmatch(r"figure((?:-\d+)+)-(.+)", name)
    title = title or (numbered[2] if numbered else name).replace("-", " ")
    if not numbered:
        return title[0].upper() + title[1:]
    numbers = [str(int(number)) for number in numbered[1].split("-") if number]
    return f"Figure{'s' if len(numbers) > 1 else ''} {'–'.join(numbers)}: {title}"


def _webp(picture: Image.Image) -> bytes:
    """Line drawings are smaller, and exact, without loss; photographs with it."""
    found = []
    for lossless in (True, False):
        buffer = io.BytesIO()
        picture.save(buffer, "webp", lossless=lossless, quality=QUALITY)
        found.append(buffer.getvalue())
    return min(found, key=len)
