"""What `raycv attribute` says at its end, and `raycv show` of an attribution."""

from __future__ import annotations

import pandas as pd

from raycv.analysis.significance import FALSE_DISCOVERIES
from raycv.errors import UserError
from raycv.progress import answer
from raycv.run import tables
from raycv.run.store import RunStore

SHOWN = {
    "prerelu_excess": "excess of correlations with the best partner over units mixed before the non-linearity",
    "excess": "excess over units mixed after it, in cells whose layers end in no known non-linearity",
    "estimated_share": "estimated share of units that have a partner",
}


def summary(cells: pd.DataFrame, contrasts: pd.DataFrame) -> str:
    """What every cell gives, and by how much that differs, layer by layer, for a person."""
    lines = []
    for measure, words in SHOWN.items():
        of_cells, of_contrasts = (frame[frame["measure"] == measure] for frame in (cells, contrasts))
        if measure == "excess":  # where there is the other one, this one is not to be looked at
            known = set(cells.loc[cells["measure"] == "prerelu_excess", "cell"])
            of_cells, of_contrasts = (frame[~frame["cell"].isin(known)] for frame in (of_cells, of_contrasts))
        layers = list(dict.fromkeys(of_cells["layer"]))
        if not layers:
            continue
        lines += [words, f"  {'cell':<34}" + "".join(f"{layer:>12}" for layer in layers)]
        for cell, rows in of_cells.groupby("cell", sort=False):
            values = dict(zip(rows["layer"], rows["value"], strict=True))
            lines.append(f"  {cell!s:<34}" + "".join(_value(values.get(layer)) for layer in layers))
        for (one, other), rows in of_contrasts.groupby(["cell", "against"], sort=False):
            found = {row["layer"]: row for row in rows.to_dict("records")}
            each = (found.get(layer, {}) for layer in layers)
            shown = (_value(row.get("difference"), row.get("q_value")) for row in each)
            lines.append(f"  {f'{one} - {other}':<34}" + "".join(shown))
    rate = f"{FALSE_DISCOVERIES:.0%}"
    lines += [
        f"*: a difference at a false discovery rate of {rate} among all layers and cells; no star says that it is not",
        "known, not that there is none: intervals are in the tables attribution and attribution_cells",
    ]
    return "\n".join(lines)


def _value(value: float | None, q_value: float | None = None) -> str:
    if value is None or pd.isna(value):
        return f"{'-':>12}"
    star = "*" if q_value is not None and q_value <= FALSE_DISCOVERIES else " "
    return f"{value:>+z11.3f}{star}"


def answered(store: RunStore) -> None:
    """Print the numbers in which an attribution has ended. Raises UserError where it has none yet."""
    if not tables.exists(store, "attribution"):
        raise UserError(f"The attribution {store.uri} has no numbers to show yet; run the same raycv attribute again.")
    answer(summary(tables.read(store, "attribution_cells"), tables.read(store, "attribution")))
