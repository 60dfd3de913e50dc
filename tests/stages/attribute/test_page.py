"""The numbers of the manual's page, against the tables that are kept."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "attribution.md").read_text()


def kept(name: str) -> pd.DataFrame:
    table = pd.read_parquet(DOCS / "findings" / "attribution" / f"{name}.parquet")
    return table[table["measure"] == "prerelu_excess"]


def test_the_page_has_the_numbers_of_the_kept_tables() -> None:
    lines = [line.strip("| ").split(" | ") for line in PAGE.split("## A quick one")[1].splitlines() if line[:1] == "|"]
    layers, shown = lines[0][1:], {name.strip("`"): values for name, *values in lines[2:]}
    cells = kept("attribution_cells")
    for cell, rows in cells.groupby("cell", sort=False):
        values = dict(zip(rows["layer"], rows["value"], strict=True))
        assert shown.pop(str(cell)) == [f"{values[layer]:z.3f}" for layer in layers]
    assert not shown
    untrained, random = (cells[cells["cell"] == name] for name in ("untrained", "random_same"))
    assert ((untrained["low"] < 0) & (untrained["high"] > 0)).all()
    assert f"`train_loss` {random['train_loss'].iloc[0]:.2f} nats" in PAGE
    differences = kept("attribution")
    said = " ".join(PAGE.split())
    assert f"none of the {len(differences)} differences is found at a false" in said
    assert f"(the smallest `q_value` is {differences['q_value'].min():.2f})" in said
    largest = cells.loc[cells.groupby("layer")["value"].idxmax()].set_index("layer")["cell"]
    assert set(largest[["conv1", "conv2", "conv3", "conv4"]]) == {"same_weights"}
