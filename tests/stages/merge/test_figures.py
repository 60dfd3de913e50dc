"""The figure of merged networks: its lines are the means of the table's rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raycv.drawing.undrawable import Undrawable
from raycv.stages.merge.figures.paths import METHODS, paths_between_networks


def made_up(nets: str, alphas: tuple[float, ...], methods: tuple[str, ...], seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    about = {"nets": nets, "matching": "correlation", "up_to": "", "head": ""}
    rows = [about | {"method": method, "alpha": alpha} for method in methods for alpha in alphas]
    return pd.DataFrame(rows).assign(loss=rng.random(len(rows)), top1=rng.random(len(rows)))


def table() -> pd.DataFrame:
    ways = ("naive", "permuted", "repaired", "repaired_closed")
    parts = [made_up(nets, (0.0, 0.5, 1.0), ways, seed) for seed, nets in enumerate(("net1-net2", "net1-net3"))]
    parts += [made_up("net1-net2", (0.5,), ("zipped", "zipped_repaired"), 2)]
    return pd.concat([*parts, made_up("net1-net2-net3", (float("nan"),), ways, 3)])


def test_a_line_for_every_method_and_the_numbers_of_the_middle() -> None:
    rows = table()
    figure = paths_between_networks(rows)
    for axes, quantity in zip(figure.axes, ("loss", "top1"), strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        for method, (name, _, _) in METHODS.items():
            mine = rows[(rows["method"] == method) & rows["alpha"].notna()]
            np.testing.assert_allclose(
                np.asarray(lines[name].get_ydata(), dtype=float), mine.groupby("alpha")[quantity].mean()
            )
    said = " ".join(figure.get_supxlabel().split())
    naive = rows.query("method == 'naive' and alpha == 0.5")["top1"].mean()
    together = rows.query("method == 'repaired' and nets == 'net1-net2-net3'")["top1"].item()
    assert f"naive {100 * naive:.1f}, permuted" in said
    assert f"All 3 networks in one, repaired: {100 * together:.1f}%." in said
    assert "means over 2 pairs of networks" in said


def test_without_pairs_there_is_nothing_to_draw() -> None:
    with pytest.raises(Undrawable, match="no pairs"):
        paths_between_networks(table().query("nets == 'net1-net2-net3'"))
