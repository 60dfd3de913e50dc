"""Networks of a run with their units beside those of the first, as the run's similarities or their weights say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raycv.analysis.group_matching import match_groups, similarity_evidence, weight_evidence
from raycv.analysis.merging import Zip, zipped_units
from raycv.analysis.unit_groups import Order, Orders, UnitGroups, Weights
from raycv.statistics.folds import correlation_of
from raycv.statistics.reader import Statistics

BY_WEIGHTS = 1e-6  # times the products of weights: they decide where similarities say nothing


class Similarities:
    """Similarities of units in the run's statistics: correlations, or mutual information in nats."""

    def __init__(self, found: Statistics, matching: str) -> None:
        self.found, self.by_information = found, matching == "information"

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers but the logits, whose units have an order."""
        return self.found.networks[0].hidden_layers

    def of(self, layer: str, a: int, b: int) -> np.ndarray:
        """(S, S): of the units of two networks, NaN for dead ones."""
        networks = [a] if a == b else [a, b]
        moments = self.found.among(layer, networks)
        correlation = correlation_of(moments.all, moments.dead(), 0, len(networks) - 1)
        if not self.by_information:
            return correlation
        first, second = min(a, b), max(a, b)
        value = self.found.information(layer, first, second)["value"]
        return np.where(np.isnan(correlation), np.nan, value if a <= b else value.T)


def orders_of(
    groups: UnitGroups, networks: Sequence[Weights], numbers: tuple[int, int], similarities: Similarities | None
) -> dict[int, Order]:
    """The order of every group of the second of two networks. ``numbers`` are theirs in the statistics.

    Without ``similarities`` the weights decide; with them, only on groups that no compared layer shows, and on units
    whose similarity is not defined.
    """
    weights = weight_evidence(groups, *networks, scale=1.0 if similarities is None else BY_WEIGHTS)
    shown = [
        one
        for layer in (similarities.layers if similarities is not None else ())
        for one in similarity_evidence(groups, layer, similarities.of(layer, *numbers))  # type: ignore[union-attr]
    ]
    return match_groups(groups, [*shown, *weights])


def zips_of(
    groups: UnitGroups, similarities: Similarities, numbers: tuple[int, int], orders: Orders, allowed: set[int]
) -> dict[int, Zip]:
    """How the units of two networks are zipped, the second already in its ``orders``, in the groups ``allowed``."""
    a, b = numbers
    totals: dict[int, list[np.ndarray]] = {}
    for layer in similarities.layers:
        blocks = [block for block in groups.layers.get(layer, ()) if len(block.shape) == 1]
        for block in blocks:
            group = block.groups[0]
            if group is None or group not in allowed:
                continue
            within_a, between, within_b = (similarities.of(layer, *pair) for pair in ((a, a), (a, b), (b, b)))
            units = block.of(np.arange(len(between)))
            others = units[orders[group]]
            found = within_a[np.ix_(units, units)], between[np.ix_(units, others)], within_b[np.ix_(others, others)]
            known = totals.get(group)
            totals[group] = [x + y for x, y in zip(known, found, strict=True)] if known else list(found)
    return {group: zipped_units(*three) for group, three in totals.items()}
