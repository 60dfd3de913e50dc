"""Tables of pairs of units: whole a few rows at a time, or the strongest partners of every unit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from raycv.stages.align import rows
from raycv.stages.align.comparison import PairValues, top_partners
from tests.support.runs import specs


def similarity(seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).uniform(-1, 1, (30, 40))
    values[4] = values[:, 7] = np.nan  # dead units
    return values


def test_every_unit_keeps_its_strongest_partners_whatever_their_sign() -> None:
    values, top = similarity(), 3
    found = set(map(tuple, top_partners(values, top).T.tolist()))
    expected = set()
    for side, matrix in enumerate((values, values.T)):
        for unit, of_unit in enumerate(np.abs(matrix)):
            if not np.isnan(of_unit).all():
                best = np.argsort(-np.nan_to_num(of_unit, nan=-1))[:top]
                expected |= {(other, unit) if side else (unit, other) for other in map(int, best)}
    assert found == expected
    assert [*map(tuple, top_partners(values, top).T.tolist())] == sorted(found)


@pytest.mark.parametrize("at_once", [7, 100, 2**20])
def test_rows_of_all_pairs_are_the_matrix_in_order(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "ROWS", at_once)
    value, other = similarity().astype(np.float32), similarity(1).astype(np.float32)
    found = PairValues("mutual_information", 0, 2, {"value": value, "null_value": other})
    parts = list(rows.pair_rows(specs((3, 3, 3), ("conv1",)), found))
    assert all(len(part) <= max(at_once, value.shape[1]) for part in parts)
    unit_a, unit_b = (axis.ravel().astype(np.int32) for axis in np.indices(value.shape))
    expected = pd.DataFrame({"net_a": "net1", "net_b": "net3", "unit_a": unit_a, "unit_b": unit_b})
    expected = expected.assign(value=value.ravel(), null_value=other.ravel())
    pd.testing.assert_frame_equal(pa.concat_tables(parts).to_pandas(), expected)


def test_rows_of_the_strongest_partners_name_their_units() -> None:
    values = similarity()
    units = top_partners(values, 2)
    chosen = values[units[0], units[1]].astype(np.float32)
    (part,) = rows.pair_rows(specs((3, 3), ("conv1",)), PairValues("correlations", 0, 1, {"value": chosen}, units))
    for row in part.to_pylist():
        assert row["value"] == np.float32(values[row["unit_a"], row["unit_b"]])
    assert len(part) == units.shape[1]
