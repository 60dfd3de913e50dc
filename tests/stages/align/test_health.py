"""The sentence that says which networks cannot be trusted."""

from __future__ import annotations

from itertools import combinations

import pandas as pd
import pytest

from raycv.run.schema import BY_NAME
from raycv.stages.align.health import NAMED, summary, verdict


def test_a_few_pairs_are_named_and_many_are_counted() -> None:
    pairs = list(combinations([f"net{number}" for number in range(1, 17)], 2))
    assert "the logits (fc8) of net1-net2, net1-net3 do not match class by class" in verdict("fc8", pairs[:2])
    named = ", ".join("-".join(pair) for pair in pairs[:NAMED])
    assert f"the logits (fc8) of {named} and 114 other pairs do not match" in verdict("fc8", pairs)


@pytest.mark.parametrize(("layers", "said"), [(("conv1", "fc8"), True), (("fc8",), False), ((), False)])
def test_the_last_lines_say_where_networks_seem_to_share_their_first_weights(
    layers: tuple[str, ...], said: bool
) -> None:
    """Units of the logits, here fc8, are classes and have the same index in all networks."""
    rows = [
        {"layer": layer, "net_a": a, "net_b": b, "similarity": similarity, "method": "semi"}
        | {"same_index": 0.9, "same_index_chance": 0.02, "same_index_p_value": 1e-9 if layer in layers else 1.0}
        for layer in ("conv1", "fc8")
        for a, b in (("net1", "net2"), ("net2", "net1"))
        for similarity in ("correlation", "mutual_information")
    ]
    columns = BY_NAME["alignment"].schema.names
    text = summary(pd.DataFrame(rows).reindex(columns=columns).astype({"mean": float}), "fc8", [])
    assert ("net1 and net2 seem to share their first weights: in conv1, 90% of units" in text) == said
