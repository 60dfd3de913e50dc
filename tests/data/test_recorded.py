"""Recorded activations in every format, on disk and on S3: the rows asked for, and no more than these in memory."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from raycv.data import stored_rows
from raycv.data.recorded import recorded
from raycv.errors import UserError
from raycv.run.filesystem import filesystem
from tests.support.s3_server import BUCKET

SAMPLES, UNITS = 700, 5
X = np.random.default_rng(0).standard_normal((SAMPLES, UNITS)).astype(np.float32)
IDS = np.array([f"image {n}" for n in np.random.default_rng(1).permutation(SAMPLES)])
NUMBERS = np.random.default_rng(2).permutation(SAMPLES)


def parquet(path: Path, columns: dict[str, Any]) -> None:
    pq.write_table(pa.table(columns), path, row_group_size=300)


def zarr(path: Path) -> None:
    group = pytest.importorskip("zarr").open_group(str(path), mode="w")
    for name, values in (("x", X), ("ids", NUMBERS)):
        group.create_array(name, data=values, chunks=(64, *values.shape[1:]))


WRITERS: dict[str, Callable[[Path], Any]] = {
    "rows.npy": lambda path: np.save(path, X),
    "columns.npy": lambda path: np.save(path, np.asfortranarray(X)),
    "big-endian.npy": lambda path: np.save(path, X.astype(">f8")),
    "plain.npz": lambda path: np.savez(path, x=X, ids=IDS),
    "columns.npz": lambda path: np.savez(path, x=np.asfortranarray(X), ids=IDS),
    "compressed.npz": lambda path: np.savez_compressed(path, x=X, ids=IDS),
    "x.safetensors": lambda path: save_file({"x": torch.from_numpy(X), "ids": torch.from_numpy(NUMBERS)}, path),
    "halves.safetensors": lambda path: save_file({"x": torch.from_numpy(X).bfloat16()}, path),
    "lists.parquet": lambda path: parquet(path, {"x": list(X), "ids": IDS}),
    "numbers.parquet": lambda path: parquet(path, {"ids": NUMBERS, **{f"unit{n}": X[:, n] for n in range(UNITS)}}),
    "frame.parquet": lambda path: pd.DataFrame(X, IDS, [f"unit{n}" for n in range(UNITS)]).to_parquet(path),
    "x.zarr": zarr,
}


@pytest.fixture(scope="module", params=["disk", "s3"])
def put(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any, str], str]:
    """Write a file where it is to be read: the name it has there."""
    folder = tmp_path_factory.mktemp("recorded")
    if request.param == "s3":
        request.getfixturevalue("s3_server")

    def place(write: Callable[[Path], Any], name: str) -> str:
        here = folder / name
        write(here)
        if request.param == "disk":
            return str(here)
        there = f"s3://{BUCKET}/{uuid.uuid4().hex}/{name}"
        fs, path = filesystem(there)
        fs.put(str(here), path, recursive=here.is_dir())
        return there

    return place


@pytest.mark.parametrize("name", WRITERS)
def test_any_rows_of_every_format(put: Callable[[Any, str], str], name: str, tmp_path: Path) -> None:
    found = recorded("net", put(WRITERS[name], name))
    (layer,) = found.layers
    expected = torch.from_numpy(X).bfloat16().float().numpy() if name.startswith("halves") else X
    scattered = np.array([3, 699, 0, 350, 351, 352, 2])
    for copy in (found, pickle.loads(pickle.dumps(found)), found.in_any_order(str(tmp_path))):
        assert copy.samples == SAMPLES
        for wanted in (slice(0, 100), slice(100, 450), slice(310, 320), slice(690, 700), slice(5, 5), scattered):
            np.testing.assert_array_equal(copy.rows(layer, wanted), expected[wanted])
        assert len(copy.rows(layer, scattered[:0])) == 0
    named = {"npy": None, "zarr": NUMBERS}.get(name.split(".")[1], IDS)
    if name in ("x.safetensors", "numbers.parquet"):
        named = NUMBERS
    if named is None or name.startswith("halves"):
        assert found.ids is None
    else:
        np.testing.assert_array_equal(found.ids, named)


def test_ids_beside_an_npy_file(put: Callable[[Any, str], str]) -> None:
    def both(path: Path) -> None:
        path.mkdir()
        np.save(path / "x.npy", X)
        np.save(path / "x.ids.npy", IDS)

    np.testing.assert_array_equal(recorded("net", f"{put(both, 'folder')}/x.npy").ids, IDS)


class Counting:
    """An array that counts the rows that are asked of it, as h5py's arrays are: by ranges alone."""

    def __init__(self) -> None:
        self.shape, self.dtype, self.read = X.shape, X.dtype, 0

    def __getitem__(self, wanted: slice) -> Any:
        assert isinstance(wanted, slice)
        self.read += len(X[wanted])
        return X[wanted]


def test_what_gives_ranges_alone_is_copied_once_to_be_read_in_any_order(tmp_path: Path) -> None:
    array = Counting()
    copy = recorded("net", array).in_any_order(str(tmp_path))
    assert array.read == SAMPLES + 1  # the first row tells the type
    order = np.random.default_rng(3).permutation(SAMPLES)
    np.testing.assert_array_equal(copy.rows("activations", order), X[order])
    assert array.read == SAMPLES + 1


def test_tensors_are_recordings() -> None:
    tensor = torch.from_numpy(X).requires_grad_()
    for values in (tensor, tensor.bfloat16(), tensor.half()):
        found = recorded("net", values).rows("activations", slice(3, 7))
        np.testing.assert_allclose(found, X[3:7], rtol=0.01)


RSS = """
import sys
from raycv.data.recorded import recorded
import numpy as np
def resident():
    fields = dict(line.split(":") for line in open("/proc/self/status"))
    return int(fields["VmHWM"].split()[0]) // 1024
given = np.load(sys.argv[1], mmap_mode="r") if sys.argv[2] == "mapped" else sys.argv[1]
found = recorded("net", given)
(layer,) = found.layers
before, total = resident(), 0.0
for start in range(0, found.samples, 1024):
    total += float(found.rows(layer, slice(start, start + 1024)).sum(dtype=float))
print(resident() - before, total)
"""


@pytest.mark.parametrize("kind", ["npy", "mapped", "npz", "safetensors", "parquet"])
def test_a_file_is_not_held_in_memory(tmp_path: Path, kind: str) -> None:
    values = np.ones((100_000, 500), np.float32)  # 191 MiB
    path = tmp_path / ("x.npy" if kind == "mapped" else f"x.{kind}")
    if kind == "npz":
        np.savez(path, x=values)
    elif kind == "safetensors":
        save_file({"x": torch.from_numpy(values)}, path)
    elif kind == "parquet":  # one row group, and pages that take what they hold
        lists = pa.FixedSizeListArray.from_arrays(
            values.ravel() + np.tile(np.arange(500, dtype=np.float32), 100_000), 500
        )
        pq.write_table(pa.table({"x": lists}), path, use_dictionary=False, compression="none")
        assert pq.ParquetFile(path).num_row_groups == 1
    else:
        np.save(path, values)
    done = subprocess.run([sys.executable, "-c", RSS, path, kind], capture_output=True, text=True, check=True)
    grown, total = done.stdout.split()
    assert int(grown) < 96
    assert float(total) == values.size + (kind == "parquet") * 100_000 * sum(range(500))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"x": [[1.0, 2.0], [3.0]]}, "lists in the column 'x' of .* are not all of 2 numbers as the first is"),
        ({"x": [[1.0, 2.0], None]}, "are not all of 2 numbers"),
        (
            {"x": [[1.0], [2.0]], "label": ["cat", "dog"]},
            "has a column 'label' of string; a layer is a column of lists",
        ),
        ({"x": [[[1.0]], [[2.0]]]}, "has a column 'x' of list<.*; a layer is a column of lists of numbers"),
    ],
)
def test_parquet_that_is_no_recording_is_refused(tmp_path: Path, columns: dict[str, Any], said: str) -> None:
    path = tmp_path / "x.parquet"
    parquet(path, columns)
    with pytest.raises(UserError, match=said):
        recorded("net", path).rows("x", slice(0, 2))


@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors", "parquet"])
def test_a_file_that_was_cut_short_is_refused_when_it_is_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"x.{kind}"
    {"npy": WRITERS["rows.npy"], "npz": WRITERS["plain.npz"], "parquet": WRITERS["lists.parquet"]}.get(
        kind, WRITERS["x.safetensors"]
    )(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=f"x.{kind}(, given for net,)? cannot be read as .{kind}: "):
        recorded("net", path)


def headed(header: str, data: bytes) -> bytes:
    """A safetensors file."""
    return struct.pack("<Q", len(header)) + header.encode() + data


def described(shape: str, begin: int, end: int, more: str = "") -> str:
    return f'{{"dtype": "F32", "shape": {shape}, "data_offsets": [{begin}, {end}]{more}}}'


WHOLE = '{"x": ' + described("[4, 2]", 0, 32) + "}"
HEADERS = {
    "overlapping tensors": '{"x": ' + described("[4, 2]", 0, 32) + ', "y": ' + described("[4, 1]", 16, 32) + "}",
    "the same bytes": '{"x": ' + described("[4, 2]", 0, 32) + ', "y": ' + described("[4, 2]", 0, 32) + "}",
    "a hole": '{"x": ' + described("[4, 1]", 0, 16) + ', "y": ' + described("[3, 1]", 20, 32) + "}",
    "a hole at the beginning": '{"x": ' + described("[7, 1]", 4, 32) + "}",
    "data after the last": '{"x": ' + described("[4, 1]", 0, 16) + "}",
    "data that ends before": '{"x": ' + described("[5, 2]", 0, 40) + "}",
    "another number of bytes": '{"x": ' + described("[4, 3]", 0, 32) + "}",
    "a negative shape": '{"x": ' + described("[-4, -2]", 0, 32) + "}",
    "a shape of texts": '{"x": ' + described('["4", "2"]', 0, 32) + "}",
    "offsets that go back": '{"x": ' + described("[4, 2]", 32, 0) + "}",
    "no shape": '{"x": {"dtype": "F32", "data_offsets": [0, 32]}}',
    "an unknown type": WHOLE.replace("F32", "F31"),
    "a list": f"[{WHOLE}]",
    "no end": WHOLE[:-1],
    "no header": "",
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_damaged_safetensors_header_is_refused_as_by_the_library(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(headed(WHOLE, bytes(32)))
    assert recorded("net", path).rows("x", slice(0, 4)).shape == load_file(path)["x"].shape
    path.write_bytes(headed(HEADERS[what], bytes(32)))
    with pytest.raises(SafetensorError):
        load_file(path)
    with pytest.raises(UserError, match="x.safetensors, given for net, cannot be read as .safetensors: "):
        recorded("net", path)


@given(st.binary(max_size=3), st.integers(0, 200))
def test_no_bytes_in_a_header_are_accepted_that_the_library_refuses(
    tmp_path_factory: pytest.TempPathFactory, change: bytes, at: int
) -> None:
    path = tmp_path_factory.mktemp("x") / "x.safetensors"
    content = headed('{"x": ' + described("[2, 2]", 0, 16) + ', "y": ' + described("[2, 2]", 16, 32) + "}", bytes(32))
    path.write_bytes(content[:at] + change + content[at + len(change) :])
    try:
        layers = recorded("net", path).layers
    except UserError:
        return
    assert {name: values.shape for name, values in layers.items()} == {
        name: tuple(values.shape) for name, values in load_file(path).items()
    }


@pytest.mark.parametrize("shape", ["(-4, 2)", "(-4, -2)", "(4, -2)", "(9, 2)", "(4, 2000)", "4", "(4.0, 2)"])
@pytest.mark.parametrize("kind", ["npy", "npz", "packed npz"])
def test_a_damaged_numpy_header_is_refused(tmp_path: Path, shape: str, kind: str) -> None:
    """Also in an archive, where other arrays come after it."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (118 - 1 - len(header)) + "\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(64)
    path = tmp_path / f"x.{kind[-3:]}"
    if kind == "npy":
        path.write_bytes(content)
    else:
        how = zipfile.ZIP_DEFLATED if "packed" in kind else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", how) as archive:
            archive.writestr("x.npy", content)
            archive.writestr("y.npy", content * 100)
    with pytest.raises(UserError, match=f"x.{kind[-3:]}, given for net, cannot be read as"):
        recorded("net", path)


@pytest.mark.parametrize("write", [np.savez_compressed, lambda path, x: np.savez(path, x=np.asfortranarray(x))])
def test_what_does_not_fit_in_memory_is_refused_before_it_is_read(
    tmp_path: Path, write: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npz"
    write(path, x=np.zeros((1000, 50)))
    assert recorded("net", path).samples == 1000
    monkeypatch.setattr(stored_rows, "available", lambda: 300_000)
    with pytest.raises(UserError, match=r"is read whole, would take 0\.0 GB of memory, and 0\.0 GB are free; save it"):
        recorded("net", path)


def test_what_cannot_be_numbers_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[1, "two"]], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="it holds Python objects; save numbers"):
        recorded("net", tmp_path / "x.npy")
    with pytest.raises(UserError, match="activations 'x' of net are of type complex128; they must be numbers"):
        recorded("net", {"x": np.ones((3, 2), complex)})


def test_what_is_not_on_s3_is_told_in_a_sentence(s3_server: object) -> None:
    there = f"s3://{BUCKET}/nowhere/x.npy"
    with pytest.raises(UserError, match=f"There is no file {there}, given for net."):
        recorded("net", there)


def test_without_the_package_zarr_a_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.zarr").mkdir()
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(UserError, match="x.zarr is a zarr store and the package zarr is not installed; install it"):
        recorded("net", tmp_path / "x.zarr")
