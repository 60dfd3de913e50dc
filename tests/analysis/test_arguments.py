"""Arrays that do not fit each other are refused: NumPy alone would broadcast them, or take a part of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from raycv import analysis
from raycv.analysis import Rotated

LABELS = np.array([0, 0, 1, 1, 1])
EYE, WIDE = np.eye(5), np.eye(5)[:3]
ONE_UNIT = Rotated(np.full((4, 1), 0.3))
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "matchings of different rows": (
        lambda: analysis.agreement(analysis.semi_matching(EYE), analysis.semi_matching(EYE[:1])),
        "the matchings are of 5 and 1 rows",
    ),
    "replicates in a matrix": (lambda: analysis.jackknife(0.5, EYE), "one number for each group"),
    "one deviation for many units": (lambda: analysis.scaled(EYE, np.ones(1)), "1 deviations do not fit"),
    "excess over the null of another layer": (lambda: analysis.excess(EYE, ONE_UNIT), "of 1 units and there are 5"),
    "a share by the null of another layer": (
        lambda: analysis.one_unit_share(EYE, EYE, ONE_UNIT),
        "of 1 units and there are 5",
    ),
    "the best of a list": (lambda: analysis.best_correlation([0.5, 0.2]), "two axes"),
    "the dimension of what is not square": (lambda: analysis.effective_dimension(WIDE), "is square"),
    "correlations as p-values": (lambda: analysis.q_values([0.1, -0.5]), "from 0 to 1, found -0.5 to 0.1"),
    "fewer labels than units": (lambda: analysis.modularity(EYE, LABELS[:3]), "do not fit a matrix"),
    "more labels than units": (lambda: analysis.cluster_metrics(EYE, 2, np.append(LABELS, 0)), "do not fit a matrix"),
    "sources that are not square": (lambda: analysis.rotated_sources(WIDE, WIDE, seed=0), "source must be"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused(what: str) -> None:
    function, message = REFUSED[what]
    with pytest.raises(ValueError, match=message):
        function()
