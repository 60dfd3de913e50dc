"""Tables on a disk and on a real S3 server: replaced and never doubled, and never seen half replaced."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raycv.errors import UserError
from raycv.run import tables
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from tests.support.tables import write_layers

NAME = "mapping_units"  # a partitioned table
LAYERS = ("conv1", "conv2", "fc6")


def rows(value: float, units: int = 3, net: str = "net1") -> pd.DataFrame:
    about = {"source_net": net, "target_net": "net9", "solver": "exact", "decay": 0.0}
    return pd.DataFrame(about | {"target_unit": range(units), "r2": value, "heldout_r2": value, "units_used": 1.0})


def test_a_table_is_replaced_never_doubled(store: RunStore) -> None:
    write_layers(store, NAME, [("a", rows(1)), ("a", rows(2)), ("b", rows(3))])
    uri = write_layers(store, NAME, [("b", rows(4, 1)), ("c", rows(5, 1))])
    found = pd.read_parquet(uri)
    assert sorted(zip(found["layer"].astype(str), found["r2"], strict=True)) == [("b", 4), ("c", 5)]
    assert sorted(path.split("/")[2] for path in store.list(f"tables/{NAME}")) == ["layer-b", "layer-c"]
    assert all(path.startswith(f"tables/{NAME}/") for path in store.list(""))


ANY_NAMES = ("0", "10", "2", "block/attention", "_orig_mod.1", ".x", "50%2F", "0x1", "2020-01-01", "a=b")


@pytest.mark.parametrize("name", ["correlations", "mapping_units"])
def test_every_reader_sees_layers_as_text_and_null_for_what_is_missing(tmp_path: Path, name: str) -> None:
    import duckdb
    import polars

    store = RunStore(str(tmp_path))
    frame = rows(0.25) if name == NAME else pd.DataFrame({"net_a": "n", "net_b": "m", "unit_a": range(3), "unit_b": 1})
    value = "r2" if name == NAME else "value"
    frame = frame.assign(**{value: np.array([0.25, np.nan, 0.75], np.float32)})
    arrow = BY_NAME[name].schema
    table = pa.Table.from_pandas(frame, schema=arrow, preserve_index=False)  # NaN becomes null there; so by hand
    table = table.set_column(arrow.get_field_index(value), value, pa.array(frame[value].to_numpy()))
    with tables.Writer(store, name, ANY_NAMES) as writer:
        for layer in ANY_NAMES:
            writer.add(layer, table)
    folder = f"{tmp_path}/tables/{name}"
    every = f"{folder}/**/*.parquet"
    expected = dict.fromkeys(ANY_NAMES, (1.0, 2, 0.75))  # sum, how many there are, the largest

    sql = f"select layer, sum({value}), count({value}), max({value}) from read_parquet('{every}') group by layer"
    assert {layer: tuple(rest) for layer, *rest in duckdb.execute(sql).fetchall()} == expected
    column = polars.col(value)
    lazy = polars.scan_parquet(every).group_by("layer")
    counted = lazy.agg(a=column.sum(), b=column.count(), c=column.max()).collect()
    assert {layer: tuple(rest) for layer, *rest in counted.rows()} == expected
    for found in (pd.read_parquet(folder), tables.read(store, name)):
        of_layer = found.groupby(found["layer"].astype(str))[value]
        assert {layer: (of.sum(), of.count(), of.max()) for layer, of in of_layer} == expected
    for layer in ANY_NAMES:
        assert len(pd.read_parquet(folder, filters=[("layer", "==", layer)])) == 3
        assert tables.read(store, name, filters=[("layer", "==", layer)])["layer"].unique().tolist() == [layer]
    merged = pd.read_parquet(folder).merge(pd.DataFrame({"layer": ANY_NAMES}), on="layer")
    assert len(merged) == 3 * len(ANY_NAMES)
    one = next(path for path in store.list(f"tables/{name}"))
    assert pq.ParquetFile(f"{tmp_path}/{one}").read().column("layer").null_count == 0
    assert tables.are_whole(store, [name])
    assert len(tables.read(store, name, filters=[("layer", "!=", "0")])) == 3 * len(ANY_NAMES) - 3


def test_reading_is_what_pandas_reads(store: RunStore) -> None:
    write_layers(store, NAME, [(layer, rows(n, net=net)) for n, layer in enumerate(LAYERS) for net in ("net1", "net2")])
    for options in (
        {},
        {"filters": [("layer", "==", "conv2")]},
        {"filters": [("layer", "in", ["conv1", "fc6"]), ("source_net", "==", "net2")]},
        {"filters": [[("layer", "==", "conv1"), ("target_unit", ">", 0)], [("r2", ">", 1)]]},
        {"filters": [("layer", "==", "none")]},
        {"columns": ["r2", "layer"], "filters": [("source_net", "==", "net1")]},
    ):
        expected = pd.read_parquet(store.locate(f"tables/{NAME}"), **options)
        found = tables.read(store, NAME, **options)
        assert all(type(layer) is str for layer in found["layer"])
        pd.testing.assert_frame_equal(found, expected.astype({"layer": found["layer"].dtype}))


def test_the_layer_of_an_unpartitioned_table_is_a_column_like_others(tmp_path: Path) -> None:
    store, frame = RunStore(str(tmp_path)), pd.DataFrame({"layer": LAYERS, "net": "net1", "unit": [0, 1, 2]})
    tables.write(store, "units", frame.reindex(columns=BY_NAME["units"].schema.names))
    found = tables.read(store, "units", columns=["layer", "unit"], filters=[("layer", "!=", "conv2")])
    assert found.to_dict("list") == {"layer": ["conv1", "fc6"], "unit": [0, 2]}


def test_what_cannot_be_read_is_said(store: RunStore) -> None:
    with pytest.raises(UserError, match="has no table 'units' yet"):
        tables.read(store, "units")
    write_layers(store, NAME, [("a", rows(1))])
    with pytest.raises(UserError, match="has no column 'loss'; it has layer, source_net"):
        tables.read(store, NAME, columns=["loss"])
    (path,) = store.list(f"tables/{NAME}")
    whole = store.read(path)
    for damaged in (whole[:-100], whole[:4] + b"\0" * 200 + whole[204:]):  # the footer, and pages
        store.write(path, damaged)
        with pytest.raises(UserError, match="is not a readable table; remove it and run its stage again"):
            tables.read(store, NAME)


def test_a_lost_layer_is_noticed_by_whoever_asks_for_it(store: RunStore) -> None:
    write_layers(store, NAME, [(layer, rows(1)) for layer in LAYERS])
    assert tables.are_whole(store, [NAME])
    store.remove(f"tables/{NAME}/layer-conv2")
    assert not tables.are_whole(store, [NAME])
    for filters in (None, [("layer", "==", "conv2")], [("layer", "in", ["conv1", "conv2"])], [("r2", ">", 0)]):
        with pytest.raises(
            UserError, match=f"{NAME}.* has lost its file of layer conv2; run `raycv sweep mapping` to write"
        ):
            tables.read(store, NAME, filters=filters)
    assert len(tables.read(store, NAME, filters=[("layer", "==", "conv1")])) == 3
    assert tables.read(store, NAME, filters=[("layer", "==", "conv9")]).empty
    write_layers(store, NAME, [("conv1", rows(2))])
    assert set(tables.read(store, NAME)["r2"]) == {2}


@contextmanager
def replacing(store: RunStore) -> Iterator[None]:
    """Meanwhile, all layers of the table are replaced again and again, each time with one value throughout."""
    over = threading.Event()

    def replace() -> None:
        writing = 0
        while not over.is_set():
            writing += 1
            layers = LAYERS if writing % 2 else LAYERS[:2]
            write_layers(store, NAME, [(layer, rows(writing, 500)) for layer in layers])

    write_layers(store, NAME, [(layer, rows(0, 500)) for layer in LAYERS])
    writer = threading.Thread(target=replace)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


def test_a_table_is_never_seen_half_replaced(store: RunStore) -> None:
    seen: set[float] = set()
    with replacing(store):
        while len(seen) < 8:
            found = tables.read(store, NAME)
            assert found["r2"].nunique() == 1
            writing = int(found["r2"].iloc[0])
            assert len(found) == 500 * (len(LAYERS) if writing % 2 or not writing else 2)
            seen.add(writing)


def test_two_writings_between_two_looks_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow reader reads two files of the first, which has three; the second has two, as the one before both."""
    store = RunStore(str(tmp_path / "run"))
    write_layers(store, NAME, [(layer, rows(0)) for layer in LAYERS[:2]])
    plain, looks = store.list, []

    def look(folder: str) -> list[str]:
        if folder != f"tables/{NAME}":
            return plain(folder)
        looks.append(folder)
        if len(looks) == 1:
            before = plain(folder)
            write_layers(RunStore(store.uri), NAME, [(layer, rows(1)) for layer in LAYERS])
            return before
        if len(looks) == 2:
            write_layers(RunStore(store.uri), NAME, [(layer, rows(2)) for layer in LAYERS[:2]])
        return plain(folder)

    monkeypatch.setattr(store, "list", look)
    found = tables.read(store, NAME)
    assert set(found["r2"]) == {2}
    assert len(looks) == 4


def test_plain_pandas_sees_a_layer_of_one_writing(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "run"))
    seen: set[float] = set()
    with replacing(store):
        while len(seen) < 20:
            found = pd.read_parquet(store.locate(f"tables/{NAME}/layer-conv1"))
            assert len(found) == 500
            assert found["r2"].nunique() == 1
            seen.add(found["r2"].iloc[0])


KILLED = """
import sys
from raycv.run import tables
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from tests.run.test_tables import NAME, rows
with tables.Writer(RunStore(sys.argv[1]), NAME, ("conv1", "conv2")) as writer:
    writer.add("conv1", rows(2))
    writer.add("conv2", rows(2))
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_killed_writer_leaves_the_table_as_it_was(store: RunStore) -> None:
    write_layers(store, NAME, [(layer, rows(1)) for layer in LAYERS])
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    arguments = [sys.executable, "-c", KILLED, store.uri]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    assert set(tables.read(store, NAME)["r2"]) == {1}
    write_layers(store, NAME, [("fc6", rows(3))])
    assert set(tables.read(store, NAME)["r2"]) == {3}
    assert all(path.startswith(f"tables/{NAME}/") for path in store.list(""))


def test_a_table_left_half_replaced_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ABANDONED_SECONDS", 0.3)
    one, two = (RunStore(str(tmp_path / name)) for name in ("one", "two"))
    for value, store in enumerate((one, two)):
        write_layers(store, NAME, [(layer, rows(value)) for layer in LAYERS])
    moved = f"tables/{NAME}/layer-conv2/{NAME}.parquet"
    shutil.copy(two.locate(moved), one.locate(moved))
    with pytest.raises(UserError, match="holds rows of two writings.*run `raycv sweep mapping` again"):
        tables.read(one, NAME)
    assert set(tables.read(one, NAME, filters=[("layer", "==", "conv2")])["r2"]) == {1}  # a layer alone is whole


def test_a_table_of_another_version_is_refused_in_one_sentence(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path))
    rows = {
        "net": ["net1"],
        "layer": ["conv1"],
        "unit": [0],
        "unit_name": ["a"],
        "mean": [1.0],
        "std": [1.0],
        "active_fraction": [0.5],
    }
    store.write("tables/units/units.parquet", pd.DataFrame(rows).to_parquet())
    with pytest.raises(
        UserError, match="units.parquet has no column 'kurtosis': another version .* run `raycv align` again"
    ):
        tables.read(store, "units")
