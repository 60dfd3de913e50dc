"""The numbers of the manual's page, against the tables that are kept."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "attribution.md").read_text()


EIGHT = PAGE.split("## What eight networks say")[1].split("## A quick one")[0]


def kept(name: str, attribution: str = "attribution") -> pd.DataFrame:
    table = pd.read_parquet(DOCS / "findings" / attribution / f"{name}.parquet")
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


def block(name: str) -> str:
    return EIGHT.split(f"<!-- {name} -->\n")[1].split("<!-- end -->")[0].replace("−", "-")


def test_the_zero_cells_of_eight_networks_are_as_far_from_zero_as_the_page_says() -> None:
    cells = pd.read_parquet(DOCS / "findings" / "attribution-eight" / "attribution_cells.parquet")
    lines = [line for line in block("attributed_zeros").splitlines() if line[:3] == "| `"]
    shown = {line.split("`")[1]: line.split("|")[2:-1] for line in lines}
    assert "untrained" in shown
    for cell, texts in shown.items():
        measure = "excess" if cell == "equivariant" else "prerelu_excess"
        rows = cells[(cells["cell"] == cell) & (cells["measure"] == measure) & ~cells["layer"].isin(["fc8", "logits"])]
        assert (rows["networks"] == 8).all()
        far = 0
        for row, text in zip(rows.to_dict("records"), texts, strict=True):
            error = (row["high"] - row["value"]) / stats.t(7).ppf(0.975)
            value, errors = text.split()
            assert float(value) == pytest.approx(row["value"], abs=0.0006)
            assert float(errors.strip("()")) == pytest.approx(row["value"] / error, abs=0.06)
            far += abs(row["value"] / error) > 2
        assert f"- `{cell}`: within two in {7 - far} of 7 layers" in block("attributed_zeros")


def test_what_is_said_to_be_found_among_eight_networks_is_in_the_table() -> None:
    rows = kept("attribution", "attribution-eight")
    rows = rows[rows["layer"] != "fc8"]
    said = {line.split("` beside")[0][3:]: line for line in block("attributed_found").splitlines() if line}
    assert set(said) == set(rows["cell"])
    for row in rows.to_dict("records"):
        known, _, unknown = said[row["cell"]].partition("not known in")
        more, _, less = known.partition("less in")
        place = unknown if row["q_value"] > 0.05 else more if row["difference"] > 0 else less
        assert f"{row['layer']} ({row['low']:+z.3f} to {row['high']:+z.3f})" in place


def test_how_far_the_labels_were_learned_as_the_page_says() -> None:
    loss = kept("attribution_cells", "attribution-eight").groupby("cell")["train_loss"].first()
    assert {*loss.index, "equivariant"} == set(re.findall(r"^  - (?:name: )?(\w+)$", EIGHT, re.MULTILINE))
    assert loss[["random_same", "random_different"]].gt(2.2).all()  # nats; log(10) is 2.30
    assert loss[["memorised", "memorised_each"]].lt(1).all()


def test_the_strictest_zero_is_as_the_page_and_the_method_say() -> None:
    rows = pd.read_parquet(DOCS / "findings" / "attribution-eight" / "attribution_cells.parquet")
    rows = rows[~rows["layer"].isin(["fc8", "logits"])]
    found = rows[rows["cell"] == "equivariant"]
    by_measure = {str(measure): of["value"] for measure, of in found.groupby("measure")}
    assert "prerelu_excess" not in by_measure
    said = " ".join(EIGHT.split())
    assert f"(top-1 {found['validation_top1'].iloc[0]:.1%})" in said
    cka, correlation = by_measure["debiased_cka"], by_measure["correlation"]
    assert f"by CKA ({cka.min():.2f} to {cka.max():.2f})".replace("0.", ".") in said
    assert f"by correlation ({correlation.min():.2f} to {correlation.max():.2f})".replace("0.", ".") in said
    share = by_measure["estimated_share"]
    span = f"{100 * share.min():.0f}% to {share.max():.0%}"
    assert f"but {span}:" in said
    assert f"had one of {span}, and no excess" in " ".join((DOCS / "method.md").read_text().split())
    untrained = rows[(rows["cell"] == "untrained") & (rows["measure"] == "estimated_share")]
    assert untrained["value"].max() <= 0


def test_networks_that_memorise_other_labels_each_are_not_at_zero_as_the_page_says() -> None:
    rows = kept("attribution_cells", "attribution-eight").set_index(["cell", "layer"]).loc["memorised_each"]
    rows = rows.loc[["conv2", "conv3", "conv5"]]
    assert (rows["low"] > 0).all()
    conv2, conv3, conv5 = (f"{value:.3f}".removeprefix("0") for value in rows["value"])
    assert f"an excess of {conv2} in conv2, {conv3} in conv3 and {conv5} in conv5" in " ".join(EIGHT.split())
    differences = kept("attribution", "attribution-eight").query("cell == 'memorised_each'")
    assert set(differences["against"]) == {"memorised"}
    assert (differences["q_value"] > 0.05).all()


def test_what_is_said_in_short_is_so() -> None:
    rows, cells = (kept(name, "attribution-eight").to_dict("records") for name in ("attribution", "attribution_cells"))
    by_cell: dict[str, dict[str, dict[str, float]]] = {}
    known: dict[str, set[str]] = {}
    for row in rows:
        by_cell.setdefault(row["cell"], {})[row["layer"]] = {name: row[name] for name in ("difference", "low", "high")}
        known.setdefault(row["cell"], set()).update([row["layer"]] if row["q_value"] <= 0.05 else [])
    values = {(row["cell"], row["layer"]): float(row["value"]) for row in cells}
    lows = {(row["cell"], row["layer"]): float(row["low"]) for row in cells}
    said = " ".join(EIGHT.split("In short")[1].split("<!--")[0].split())

    def shown(value: float) -> str:
        return f"{value:+.3f}".replace("0.", ".").replace("-", "−")

    missed = {layer: max(-of["low"], of["high"]) for layer, of in by_cell["disjoint_halves"].items()}
    assert not known["disjoint_halves"]
    others = max(value for layer, value in missed.items() if layer != "conv1")
    assert f"at most {shown(missed['conv1'])[1:]} in conv1 and {shown(others)[1:]} elsewhere" in said
    for cell in ("disjoint_classes", "same_weights"):
        assert known[cell] == {"conv1", "conv2"}
        conv1, conv2 = (shown(by_cell[cell][layer]["difference"]) for layer in ("conv1", "conv2"))
        assert f"in conv1 ({conv1}) and conv2 ({conv2})" in said
    random = ("random_same", "random_different")
    for cell in random:
        assert known[cell] == {"conv1", "conv2", "fc6", "fc7"}
        assert max(by_cell[cell][layer]["difference"] for layer in known[cell]) < 0
    left = max(values[cell, layer] for cell in (*random, "memorised", "memorised_each") for layer in ("fc6", "fc7"))
    assert f"at most {shown(round(left, 3))[1:]} on average" in said
    conv2, conv4, conv5 = (shown(values["random_different", layer])[1:] for layer in ("conv2", "conv4", "conv5"))
    assert f"{conv2} in conv2, {conv4} in conv4 and {conv5} in conv5" in said
    assert min(lows["random_different", layer] for layer in ("conv2", "conv4", "conv5")) > 0
