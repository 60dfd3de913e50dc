"""The sentence that says which networks of a table seem to share their first weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from raycv.analysis.origin import SHARED, SameIndex

COLUMNS = tuple(f"same_index{end}" for end in ("", "_chance", "_p_value"))  # as of `SameIndex`
WEIGHTS = "weight_correlation"


def shared_origin(rows: pd.DataFrame) -> str:
    """One sentence, without a full stop; empty where no networks seem to.

    ``rows``: of several ordered pairs, with the columns layer, net_a, net_b, `COLUMNS` and `WEIGHTS`; of layers whose
    units are numbered alike in all networks, as logits are, there must be none.
    """
    seen = np.array([SameIndex(*values).is_seen for values in rows[list(COLUMNS)].itertuples(index=False)], dtype=bool)
    rows = rows if WEIGHTS in rows else rows.assign(**{WEIGHTS: np.nan})  # aligned by an earlier version
    shared = rows[seen | (rows[WEIGHTS].to_numpy(float) >= SHARED)]
    if shared.empty:
        return ""
    pairs, all_pairs = (
        {frozenset(pair) for pair in zip(of["net_a"], of["net_b"], strict=True)} for of in (shared, rows)
    )
    one = " and ".join(shared[["net_a", "net_b"]].iloc[0])
    who = one if len(pairs) == 1 else "These networks" if pairs == all_pairs else f"{len(pairs)} pairs of networks"
    signs = " and ".join(_signs(rows[seen], shared))
    return (
        f"{who} seem to share their first weights: {signs}; what these networks have in common was not learned "
        "independently"
    )


def _signs(of_units: pd.DataFrame, shared: pd.DataFrame) -> Iterator[str]:
    """What speaks for it. ``of_units``: rows of ``shared`` in which partners do."""
    if not of_units.empty:
        most = of_units.iloc[int(of_units["same_index"].to_numpy().argmax())]
        yield (
            f"in {most['layer']}, {most['same_index']:.0%} of units have the unit with their own index for a partner "
            f"({most['same_index_chance']:.1%} by chance, unless units are numbered alike, as classes are)"
        )
    weights = shared[WEIGHTS].to_numpy(float).max(initial=-1, where=shared[WEIGHTS].notna().to_numpy())
    if weights >= SHARED:
        yield f"their weights correlate by {weights:.2f} (about 0 by chance)"
