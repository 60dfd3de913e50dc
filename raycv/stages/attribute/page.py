"""The page of an attribution, report.html: what it found, on one page that opens from disk and loads nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable, Hashable, Mapping
from html import escape
from typing import Any

import pandas as pd

from raycv.analysis.significance import FALSE_DISCOVERIES

PATH = "report.html"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.2rem; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .45rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child { text-align: left; font-weight: normal; } thead th { font-weight: 600; } small { color: #555; }
td b { font-weight: 700; } td small { display: block; } img { max-width: 100%; height: auto; }
@media (prefers-color-scheme: dark) { body { background: #111; color: #eee; } small { color: #aaa; }
  th, td { border-color: #333; } img { background: white; } }
"""
POLICY = (  # nothing is loaded from anywhere, and no script runs
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
)
MEASURES = {
    "prerelu_excess": "Excess over units mixed before the non-linearity",
    "excess": "Excess over units mixed after the non-linearity",
    "estimated_share": "Estimated share of units that have a partner",
    "debiased_cka": "CKA without bias",
    "correlation": "Correlation with the best partner",
    "heldout_loss": "Loss of mapping layers (smaller is more alike)",
}
READING = (
    "Every cell is a condition in which networks are trained; a value is the mean over pairs of its networks, ± "
    "half of its 95% interval over networks. Excess is the correlation of units with their best partner in "
    "another network less what chance gives. Mixed before the non-linearity, units are the calibrated null, which"
    " is exact to some .01; layers without a known non-linearity have none, and only the excess over units mixed "
    "after it. Correlation and CKA are far from 0 also where networks share nothing, so look at untrained "
    "networks first."
)
CAVEATS = (
    "A difference says that two conditions, as they were trained, make networks of this architecture alike to a "
    "different degree on these images; nothing of other sizes or data.",
    "A difference that is not known may still be there: its interval says how large it could be.",
    "Contributions do not add up: every cell changes one thing, from one starting point.",
    "Networks share only what they have learned of random labels: see the loss. Halves are compared with halves, "
    "which see fewer images.",
    "In layers without a known non-linearity the estimated share is too high and not to be relied on.",
)


def html(title: str, cells: pd.DataFrame, contrasts: pd.DataFrame, figures: Mapping[str, bytes]) -> bytes:
    """The file.

    ``cells`` and ``contrasts``: the tables attribution_cells and attribution; ``figures``: PNG files by what they show.
    """
    parts = [f"<h1>What makes networks converge: {escape(title)}</h1>", f"<p>{escape(READING)}</p>"]
    parts += ["<h2>Cells</h2>", _table("cell", _training(cells))]
    for measure, heading in MEASURES.items():
        of_cells, of_contrasts = (frame[frame["measure"] == measure] for frame in (cells, contrasts))
        if len(of_cells):
            parts += [f"<h2>{heading}</h2>", _table("cell", _by_layer(of_cells, "cell", _value))]
        if len(of_contrasts):
            kinds = of_contrasts.assign(kind=of_contrasts["cell"] + " − " + of_contrasts["against"])
            parts.append(f"<p>Differences; bold: at a false discovery rate of {FALSE_DISCOVERIES:.0%} among these.</p>")
            parts.append(_table("difference", _by_layer(kinds, "kind", _difference)))
    parts += ["<h2>What may be concluded</h2>", "<ul>", *(f"<li>{escape(one)}</li>" for one in CAVEATS), "</ul>"]
    parts += [_picture(name, content) for name, content in figures.items()]
    head = f'<meta charset="utf-8">{POLICY}<title>{escape(title)}</title><style>{STYLE}</style>'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'.encode()


def _picture(name: str, content: bytes) -> str:
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return f'<h2>{escape(name)}</h2>\n<img alt="{escape(name)}" src="{source}">'


def _training(cells: pd.DataFrame) -> pd.DataFrame:
    first = cells.groupby("cell", sort=False).first()
    shown = {
        "networks": [f"{count:d}" for count in first["networks"]],
        "loss in the last epoch, nats": [_number(loss, ".2f") for loss in first["train_loss"]],
        "top-1, validation": [_number(top1, ".1%") for top1 in first["validation_top1"]],
    }
    return pd.DataFrame(shown, index=first.index)


def _by_layer(rows: pd.DataFrame, key: str, text: Callable[[Mapping[Hashable, Any]], str]) -> pd.DataFrame:
    """What ``text`` makes of every row: ``key`` downwards, layers to the right, both in the order of the rows."""
    shown = rows.assign(text=[text(row) for row in rows.to_dict("records")])
    wide = shown.pivot(index=key, columns="layer", values="text").fillna("–")
    return wide.loc[list(dict.fromkeys(rows[key])), list(dict.fromkeys(rows["layer"]))]


def _value(row: Mapping[Hashable, Any]) -> str:
    half = _number((row["high"] - row["low"]) / 2, "z.3f")
    return f"{_number(row['value'], 'z.3f')} <small>± {half}</small>"


def _difference(row: Mapping[Hashable, Any]) -> str:
    value = _number(row["difference"], "+z.3f")
    ends = f"<small>{_number(row['low'], '+z.3f')} to {_number(row['high'], '+z.3f')}</small>"
    return f"<b>{value}</b> {ends}" if row["q_value"] <= FALSE_DISCOVERIES else f"{value} {ends}"


def _number(value: float, form: str) -> str:
    return "–" if pd.isna(value) else format(value, form).replace("-", "−")


def _table(first: str, rows: pd.DataFrame) -> str:
    """``rows`` of markup, with their index, which is text, before them."""
    head = "".join(f"<th>{escape(str(name))}</th>" for name in (first, *rows.columns))
    lines = [
        f"<tr><th>{escape(str(name))}</th>{''.join(f'<td>{value}</td>' for value in values)}</tr>"
        for name, values in zip(rows.index, rows.to_numpy().tolist(), strict=True)
    ]
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
