"""The sentence that says which networks of a table seem to share their first weights."""

from __future__ import annotations

import pandas as pd

from raycv.analysis.origin import SameIndex

COLUMNS = tuple(f"same_index{end}" for end in ("", "_chance", "_p_value"))  # as of `SameIndex`


def shared_origin(rows: pd.DataFrame) -> str:
    """One sentence, without a full stop; empty where no networks seem to.

    ``rows``: of several ordered pairs, with the columns layer, net_a, net_b and `COLUMNS`; of layers whose units are
    numbered alike in all networks, as logits are, there must be none.
    """
    seen = [SameIndex(*values).is_seen for values in rows[list(COLUMNS)].itertuples(index=False)]
    shared = rows[seen]
    if shared.empty:
        return ""
    pairs, all_pairs = (
        {frozenset(pair) for pair in zip(of["net_a"], of["net_b"], strict=True)} for of in (shared, rows)
    )
    one = " and ".join(shared[["net_a", "net_b"]].iloc[0])
    who = one if len(pairs) == 1 else "These networks" if pairs == all_pairs else f"{len(pairs)} pairs of networks"
    most = shared.iloc[int(shared["same_index"].to_numpy().argmax())]
    return (
        f"{who} seem to share their first weights: in {most['layer']}, {most['same_index']:.0%} of units have the unit "
        f"with their own index for a partner ({most['same_index_chance']:.1%} by chance); unless units are numbered "
        "alike, as classes are, what these networks have in common was not learned independently"
    )
