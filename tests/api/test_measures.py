"""All published measures of a run's table, from `raycv.compare`."""

from __future__ import annotations

import numpy as np
import pytest

import raycv
from raycv.analysis.nulls import effective_dimension
from raycv.run.schema import BY_NAME


def test_measures_are_those_of_a_run_with_intervals_and_chance() -> None:
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((2, 800, 12))
    recorded = {"a": {"low": x, "high": x[:, :5]}, "b": {"low": x[:, ::-1] + 0.5 * noise, "high": noise[:, :7]}}
    found = raycv.compare(
        recorded, compare="all", control={"a": recorded["b"], "b": {"low": noise, "high": noise[:, :7]}}
    )
    rows = found.measures()
    assert rows.columns.tolist()[:-1] == [
        "net_a", "layer_a", "net_b", "layer_b", "measure", "value", "low", "high", "chance"
    ]  # fmt: skip
    said = next(column.meaning for column in BY_NAME["measures"].columns if column.name == "measure")
    assert all(name in said for name in set(rows["measure"]))
    keys = ["net_a", "layer_a", "net_b", "layer_b", "measure"]
    assert not rows.duplicated(keys).any()
    by = {tuple(row[key] for key in keys): row for row in rows.to_dict("records")}
    for a, layer_a, b, layer_b, cka in found.alignment(["linear_cka"]).iloc[:, :5].itertuples(index=False):
        if a == "a":
            assert by[a, layer_a, b, layer_b, "linear_cka"]["value"] == pytest.approx(cka)
    same, other = (by["a", "low", "b", layer, "debiased_cka"] for layer in ("low", "high"))
    assert same["low"] < same["value"] < same["high"]
    assert same["value"] > 0.5
    assert abs(other["value"]) < 0.05
    assert by["b", "low", "a", "high", "regression_r2"]["value"] > by["a", "high", "b", "low", "regression_r2"]["value"]
    dimension = by["b", "high", "b", "high", "effective_dimension"]["value"]
    assert dimension == pytest.approx(effective_dimension(np.corrcoef(noise[:, :7], rowvar=False)), rel=1e-4)
    matched = by["a", "low", "b", "low", "hard_correlation_match"]
    assert matched["chance"] < matched["value"]
    assert same["control_value"] < same["value"]
    assert found.table("measures").equals(rows)
