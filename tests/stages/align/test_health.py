"""The sentence that says which networks cannot be trusted."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from raycv.run.schema import BY_NAME
from raycv.stages.align.health import NAMED, summary, verdict


def test_a_few_pairs_are_named_and_many_are_counted() -> None:
    pairs = list(combinations([f"net{number}" for number in range(1, 17)], 2))
    assert "the logits (fc8) of net1-net2, net1-net3 do not match class by class" in verdict("fc8", pairs[:2])
    named = ", ".join("-".join(pair) for pair in pairs[:NAMED])
    assert f"the logits (fc8) of {named} and 114 other pairs do not match" in verdict("fc8", pairs)


UNITS = "in conv1, 90% of units have the unit with their own index for a partner"


@pytest.mark.parametrize(
    ("layers", "weights", "said"),
    [
        (("conv1", "fc8"), 0.1, UNITS),
        (("fc8",), 0.1, ""),
        ((), np.nan, ""),
        ((), 0.95, "their weights correlate by 0.95 (about 0 by chance); what these networks have in common"),
        (("conv1",), 0.95, UNITS),
    ],
)
def test_the_last_lines_say_where_networks_seem_to_share_their_first_weights(
    layers: tuple[str, ...], weights: float, said: str
) -> None:
    """Units of the logits, here fc8, are classes and have the same index in all networks."""
    rows = [
        {"layer": layer, "net_a": a, "net_b": b, "similarity": similarity, "method": "semi"}
        | {"same_index": 0.9, "same_index_chance": 0.02, "same_index_p_value": 1e-9 if layer in layers else 1.0}
        | {"weight_correlation": weights}
        for layer in ("conv1", "fc8")
        for a, b in (("net1", "net2"), ("net2", "net1"))
        for similarity in ("correlation", "mutual_information")
    ]
    columns = BY_NAME["alignment"].schema.names
    text = summary(pd.DataFrame(rows).reindex(columns=columns).astype({"mean": float}), "fc8", [])
    assert ("seem to share" in text) == bool(said)
    assert (f"net1 and net2 seem to share their first weights: {said}" in text) == bool(said)
    assert ("correlate by 0.95" in text) == (weights == 0.95)
