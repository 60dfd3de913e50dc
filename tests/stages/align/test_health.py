"""The sentence that says which networks cannot be trusted."""

from __future__ import annotations

from itertools import combinations

from raycv.stages.align.health import NAMED, verdict


def test_a_few_pairs_are_named_and_many_are_counted() -> None:
    pairs = list(combinations([f"net{number}" for number in range(1, 17)], 2))
    assert "the logits (fc8) of net1-net2, net1-net3 do not match class by class" in verdict("fc8", pairs[:2])
    named = ", ".join("-".join(pair) for pair in pairs[:NAMED])
    assert f"the logits (fc8) of {named} and 114 other pairs do not match" in verdict("fc8", pairs)
