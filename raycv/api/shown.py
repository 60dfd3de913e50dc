"""What a comparison or a run looks like in a prompt, one screen of text, and in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd

WIDTH = 100  # characters of a line
MOST = 8  # networks that are listed
ROWS = 24  # of a table in a notebook

Widths = Mapping[str, int]  # units by layer


def described(networks: Mapping[str, Widths]) -> list[str]:
    """A line for each network: its layers, with their units, as far as they fit."""
    lines = [f"  {net}: {_layers(layers, WIDTH - len(net) - 4)}" for net, layers in list(networks.items())[:MOST]]
    more = len(networks) - MOST
    return lines if more <= 0 else [*lines, f"  and {more} more networks"]


def _layers(layers: Widths, room: int) -> str:
    """All layers, or how many there are, the first ones and the last."""
    named = [f"{layer} ({units:,} units)" for layer, units in layers.items()]
    whole = ", ".join(named)
    if len(whole) <= room or len(named) < 3:
        return whole
    said, first = f"{len(named)} layers, {sum(layers.values()):,} units: ", named[0]
    if len(f"{said}{first}, ..., {named[-1]}") > room:
        return f"{said}{first}, ..."
    for name in named[1:-1]:
        if len(f"{said}{first}, {name}, ..., {named[-1]}") > room:
            break
        first = f"{first}, {name}"
    return f"{said}{first}, ..., {named[-1]}"


def as_html(headline: str, networks: Mapping[str, Widths], tables: Sequence[pd.DataFrame], foot: str) -> str:
    """A headline, the networks, tables of at most `ROWS` rows, and a line of what can be asked for next."""
    rows = [
        {"network": net, "layers": len(layers), "units": f"{sum(layers.values()):,}", "": _layers(layers, WIDTH)}
        for net, layers in networks.items()
    ]
    shown = "".join(_table(table) for table in [pd.DataFrame(rows), *tables] if len(table))
    return f"<div><p><b>{escape(headline)}</b></p>{shown}<p><small>{escape(foot)}</small></p></div>"


def _table(rows: pd.DataFrame) -> str:
    html = rows.head(ROWS).to_html(
        index=False, border=0, justify="left", na_rep="", float_format=lambda value: f"{value:.3f}"
    )
    more = len(rows) - ROWS
    return str(html) + (f"<p><small>and {more:,} more rows</small></p>" if more > 0 else "")
