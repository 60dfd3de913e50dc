"""What a user hands over as recordings: tables, labelled arrays and files by other writers, read for what they are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import raycv
from raycv.analysis.arrays import Floats
from raycv.data.natural import natural, untangled
from raycv.data.recorded import Recorded, recorded
from raycv.errors import UserError

SAMPLES, UNITS = 60, 12
RNG = np.random.default_rng(0)
X = RNG.standard_normal((SAMPLES, UNITS))
NAMES = [f"image {n}" for n in range(SAMPLES)]
ORDER = RNG.permutation(SAMPLES)


def diagonal(a: Any, b: Any, layer: str = "activations", **more: Any) -> Floats:
    found = raycv.compare({"a": a, "b": b}, **more)
    return np.asarray(np.diagonal(found.correlation(layer, "a", "b")))


def frame(index: Any = None) -> pd.DataFrame:
    return pd.DataFrame(X, index)


def table_of(ids: Any) -> Any:
    return pl.DataFrame({"ids": ids, **{f"u{n}": X[:, n] for n in range(UNITS)}})


@pytest.mark.parametrize("index", [NAMES, np.arange(SAMPLES) + 7, None, [("a", n) for n in range(SAMPLES)]], ids=str)
def test_the_index_of_a_frame_names_its_rows(index: Any) -> None:
    if index is not None and isinstance(index[0], tuple):
        index = pd.MultiIndex.from_tuples(index)
    first = frame(index)
    np.testing.assert_allclose(diagonal(first, first.iloc[ORDER]), 1, atol=1e-9)
    layers = {"one": first, "other": first.iloc[ORDER] * 2}
    found = raycv.compare({"a": layers, "b": {"one": first.iloc[::-1], "other": first}})
    for layer in layers:
        np.testing.assert_allclose(np.diagonal(found.correlation(layer, "a", "b")), 1, atol=1e-9)


def test_a_frame_without_an_index_of_its_own_goes_with_an_array() -> None:
    np.testing.assert_allclose(diagonal(frame(), X), 1, atol=1e-9)
    with pytest.raises(UserError, match="a has ids and b has none"):
        raycv.compare({"a": frame(NAMES), "b": X})
    with pytest.raises(UserError, match="b lacks 30 of the samples of a, the first being 0"):
        raycv.compare({"a": frame().iloc[:30], "b": frame().iloc[30:]})


@pytest.mark.parametrize("kind", ["polars", "arrow", "parquet", "pandas"])
def test_a_column_of_ids_is_followed_in_every_kind_of_table(kind: str, tmp_path: Path) -> None:
    table = table_of(NAMES)
    shuffled = table[ORDER.tolist()]
    makers: dict[str, Callable[[], Any]] = {
        "polars": lambda: shuffled,
        "arrow": lambda: shuffled.to_arrow(),
        "pandas": lambda: shuffled.to_pandas(),
        "parquet": lambda: (shuffled.write_parquet(tmp_path / "x.PARQUET"), tmp_path / "x.PARQUET")[1],
    }
    given = makers[kind]()
    np.testing.assert_allclose(diagonal(table, given), 1, atol=1e-9)


@pytest.mark.parametrize("name", ["id", "sample_id", "image", "label", "Unnamed: 0", "row_number", "anything"])
@pytest.mark.parametrize("is_file", [False, True])
def test_an_integer_column_beside_units_is_no_unit(name: str, is_file: bool, tmp_path: Path) -> None:
    table = pd.DataFrame({name: np.arange(SAMPLES), **{f"u{n}": X[:, n] for n in range(3)}})
    given: Any = table
    if is_file:
        given = tmp_path / "x.parquet"
        table.to_parquet(given)
    with pytest.raises(UserError, match=f"has a column {name!r} of int64 beside 'u0' of (double|float64), which looks"):
        recorded("a", given)


def test_columns_sorted_as_text_are_put_in_order_and_keep_their_names(tmp_path: Path) -> None:
    names = sorted(f"u{n}" for n in range(UNITS))
    table = pd.DataFrame(X[:, [int(name[1:]) for name in names]], columns=names)
    table.to_parquet(tmp_path / "x.parquet")
    for one in (table, tmp_path / "x.parquet"):
        found = raycv.compare({"a": one, "b": X})
        np.testing.assert_allclose(np.diagonal(found.correlation("activations", "a", "b")), 1, atol=1e-9)
        units = found.units()
        assert units.query("net == 'a'")["unit_name"].tolist() == [f"u{n}" for n in range(UNITS)]
        assert units.query("net == 'b'")["unit_name"].isna().all()
    chosen = table[["u3", "u1", "u2"]]  # an order that somebody has chosen
    found = raycv.compare({"a": chosen, "b": X[:, [3, 1, 2]]})
    np.testing.assert_allclose(np.diagonal(found.correlation("activations", "a", "b")), 1, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(12)))
def test_natural_order(numbers: list[int]) -> None:
    names = [f"layer{n}.conv" for n in numbers]
    assert natural(names) == [f"layer{n}.conv" for n in range(12)]
    assert untangled(sorted(names)) == natural(names)


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([None, *NAMES[1:]], "The ids of a lack the one of row 0; name every sample"),
        ([np.nan, *range(1, SAMPLES)], "lack the one of row 0"),
        ([pd.NaT, *pd.date_range("2020", periods=SAMPLES - 1)], "lack the one of row 0"),
        ([1, "1", *range(2, SAMPLES)], "are of several kinds, 2?.* and '1'; give one"),
        (np.zeros(SAMPLES), "do not name its 60 samples one by one: 1 are different"),
    ],
)
def test_ids_that_name_nothing_are_refused(ids: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        recorded("a", {"x": X, "ids": np.array(ids, dtype=object)})


def test_ids_of_different_types_are_the_same_numbers_and_texts() -> None:
    large = np.arange(SAMPLES) + 2**60
    for one, other in (
        (np.arange(SAMPLES, dtype=np.uint8), np.arange(SAMPLES, dtype=float)),
        (large, large.astype(np.uint64)),
        (NAMES, np.array([name.encode() for name in NAMES])),
        (np.array(NAMES, dtype=object), np.array([name.encode() for name in NAMES], dtype=object)),
    ):
        given = {"x": X[ORDER], "ids": np.asarray(other)[ORDER]}
        np.testing.assert_allclose(diagonal({"x": X, "ids": one}, given, "x"), 1, atol=1e-9)
    huge = large.astype(np.uint64) + np.uint64(2**63)
    with pytest.raises(UserError, match="b lacks 60 of the samples of a"):
        raycv.compare({"a": {"x": X, "ids": huge}, "b": {"x": X, "ids": large}})


def test_lists_of_unequal_length_are_refused_wherever_they_are(tmp_path: Path) -> None:
    lists = [list(row) for row in X]
    lists[10], lists[50] = [*lists[10], 1.0], lists[50][:-1]  # as many numbers as there should be
    for row_group_size in (7, 1000):
        pq.write_table(pa.table({"x": lists}), tmp_path / "x.parquet", row_group_size=row_group_size)
        with pytest.raises(UserError, match="lists in the column 'x' of .* are not all of 12 numbers"):
            raycv.compare({"a": tmp_path / "x.parquet", "b": {"x": X}})
    with pytest.raises(UserError, match="not all of one shape: row 0 has .12,. and row 10 .13,.; write one number"):
        recorded("a", pd.DataFrame({"x": lists}))


class Identity(torch.nn.Module):
    """Gives what it takes, from a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.x = torch.nn.Linear(UNITS, UNITS, bias=False)
        torch.nn.init.eye_(self.x.weight)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.x(given)
        return found


def test_shuffled_data_beside_a_recording_is_refused() -> None:
    data = TensorDataset(torch.from_numpy(X).float())
    nets: dict[str, Any] = {"a": Identity(), "b": {"x": X}}
    for loader in (
        DataLoader(data, 10, shuffle=True),
        DataLoader(data, 10, sampler=WeightedRandomSampler([1.0] * SAMPLES, SAMPLES)),
    ):
        with pytest.raises(UserError, match="data is shuffled .* the recording b stand in one order; .* shuffle=False"):
            raycv.compare(nets, loader)
    found = raycv.compare(nets, DataLoader(data, 10))
    np.testing.assert_allclose(np.diagonal(found.correlation("x", "a", "b")), 1, atol=1e-6)


def test_ids_that_number_the_samples_of_data_are_followed() -> None:
    data = [torch.from_numpy(rows).float() for rows in np.array_split(X, 3)]
    shuffled = {"x": X[ORDER], "ids": ORDER}
    found = raycv.compare({"a": Identity(), "b": shuffled}, data)
    np.testing.assert_allclose(np.diagonal(found.correlation("x", "a", "b")), 1, atol=1e-6)
    with pytest.raises(UserError, match="neither the numbers of the samples of data, from 0, nor in ascending order"):
        raycv.compare({"a": Identity(), "b": shuffled | {"ids": ORDER + 5}}, data)
    named = {"x": X, "ids": NAMES}
    with pytest.raises(UserError, match="b and c stand in different orders, and data has no names"):
        raycv.compare({"a": Identity(), "b": named, "c": {"x": X[ORDER], "ids": np.array(NAMES)[ORDER]}}, data)


def test_layers_stand_in_natural_order(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    h5py = pytest.importorskip("h5py")
    names = ["conv1", "conv10", "conv2"]
    save_file({name: torch.from_numpy(X.copy()) for name in names}, tmp_path / "x.safetensors")
    group = zarr.open_group(str(tmp_path / "x.zarr"), mode="w")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name in names:
            group.create_array(name, data=X)
            file[name] = X
    for kind in ("safetensors", "zarr", "h5"):
        assert list(recorded("a", tmp_path / f"x.{kind}").layers) == ["conv1", "conv2", "conv10"]


def labelled(path: Path, zarr_format: Any) -> Any:
    xarray = pytest.importorskip("xarray")
    found = xarray.Dataset(
        {"x": (("sample", "unit"), X[ORDER]), "packed": (("sample", "unit"), X[ORDER])},
        coords={
            "sample": np.array(NAMES, dtype=object)[ORDER],
            "unit": [f"u{n}" for n in range(UNITS)],
            "label": ("sample", np.arange(SAMPLES)),
            "about": 3,
        },
    )
    packing = {"dtype": "int16", "scale_factor": 2e-4, "add_offset": 1.5, "_FillValue": -32768}
    found.to_zarr(path, zarr_format=zarr_format, encoding={"packed": packing}, consolidated=False)
    return found


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*Zarr V3 specification")
def test_xarrays_zarr_is_read_as_xarray_reads_it(zarr_format: int, tmp_path: Path) -> None:
    dataset = labelled(tmp_path / "x.zarr", zarr_format)
    named = {"x": X, "packed": X, "ids": NAMES}
    for one in (tmp_path / "x.zarr", dataset, {"x": dataset["x"], "packed": dataset["packed"]}):
        found = recorded("a", one)
        assert list(found.layers) in (["packed", "x"], ["x", "packed"])
        assert found.unit_names["x"] == tuple(f"u{n}" for n in range(UNITS))
        np.testing.assert_allclose(found.rows("packed", slice(0, SAMPLES)), X[ORDER], atol=1.01e-4)
        np.testing.assert_allclose(diagonal(one, named, "x"), 1, atol=1e-9)
    with_gap = dataset.where(dataset["sample"] != "image 3")
    packing = {"packed": {"dtype": "int16", "scale_factor": 2e-4, "_FillValue": -9}}
    with_gap.to_zarr(tmp_path / "gap.zarr", zarr_format=zarr_format, encoding=packing, consolidated=False)
    with pytest.raises(UserError, match="activations of 'a/packed' are not all finite numbers"):
        raycv.compare({"a": tmp_path / "gap.zarr", "b": named}, layers=["packed"])


def test_chunks_that_are_not_there_are_told(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "x.zarr"
    array = zarr.open_group(str(path), mode="w").create_array("x", data=X, chunks=(15, 6))
    assert array.nchunks == 8
    recorded("a", path)  # says nothing
    for chunk in ("1/0", "3/1"):
        (path / "x" / "c" / chunk).unlink()
    with pytest.warns(UserWarning, match="2 of the 8 chunks of 'x' in .*x.zarr are not there and are read as 0.0"):
        recorded("a", path)


def read(found: Recorded, layer: str) -> Floats:
    return np.asarray(found.rows(layer, slice(0, found.samples)), dtype=float)


def test_ray_writes_recordings(tmp_path: Path) -> None:
    """Its own extension type for tensors, in a folder of parts, as its workers write them."""
    from ray.data.extensions import ArrowTensorArray

    maps = RNG.standard_normal((SAMPLES, 3, 2, 2)).astype(np.float32)
    for part, rows in enumerate(np.split(np.arange(SAMPLES), [25, 40])):
        table = pa.table({"x": ArrowTensorArray.from_numpy(maps[rows]), "ids": rows})
        pq.write_table(table, tmp_path / f"part-{part}_000000.parquet")
    (tmp_path / "_SUCCESS").write_text("")
    found = recorded("a", tmp_path)
    assert found.layers["x"].shape == (SAMPLES, 3, 2, 2)
    np.testing.assert_array_equal(read(found, "x"), maps)
    np.testing.assert_array_equal(found.rows("x", slice(20, 45)), maps[20:45])
    np.testing.assert_array_equal(found.ids, np.arange(SAMPLES))


@pytest.mark.parametrize("permutation", [None, [2, 0, 1]])
def test_arrows_tensors_of_a_fixed_shape(permutation: list[int] | None, tmp_path: Path) -> None:
    stored = RNG.standard_normal((SAMPLES, 3, 2, 4))
    kind = pa.fixed_shape_tensor(pa.float64(), (3, 2, 4), permutation=permutation)
    storage = pa.FixedSizeListArray.from_arrays(stored.ravel(), 24)
    pq.write_table(pa.table({"x": pa.ExtensionArray.from_storage(kind, storage)}), tmp_path / "x.parquet")
    expected = stored if permutation is None else stored.transpose(0, *(1 + np.array(permutation)))
    found = recorded("a", tmp_path / "x.parquet")
    assert found.layers["x"].shape == expected.shape
    np.testing.assert_array_equal(read(found, "x"), expected)


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for name, columns in (("a", {"x": list(X)}), ("b", {"y": list(X)})):
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    with pytest.raises(UserError, match="b.parquet has other columns than .*a.parquet"):
        recorded("a", tmp_path)
    (tmp_path / "inner").mkdir()
    shutil.move(tmp_path / "b.parquet", tmp_path / "inner")
    with pytest.raises(UserError, match="holds Parquet files in folders of its own"):
        recorded("a", tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="holds no Parquet files"):
        recorded("a", tmp_path / "none")


def hdf5(path: Path) -> None:
    with pytest.importorskip("h5py").File(path, "w") as file:
        file.create_dataset("block/x", data=X, chunks=(7, 5), compression="gzip")
        file["ids"] = NAMES


OTHERS: dict[str, Callable[[Path], Any]] = {
    "sparse.NPZ": lambda path: path.write_bytes(_saved(scipy.sparse.csr_array(X))),
    "columns.npz": lambda path: path.write_bytes(_saved(scipy.sparse.csc_array(X))),
    "x.pt": lambda path: torch.save(torch.from_numpy(X), path),
    "old.pth": lambda path: torch.save({"x": torch.from_numpy(X)}, path, _use_new_zipfile_serialization=False),
    "x.h5": hdf5,
    "x.NPY": lambda path: path.write_bytes(_npy()),
}


def _saved(matrix: Any) -> bytes:
    from io import BytesIO

    scipy.sparse.save_npz(out := BytesIO(), matrix)
    return out.getvalue()


def _npy() -> bytes:
    from io import BytesIO

    np.save(out := BytesIO(), X)
    return out.getvalue()


@pytest.mark.parametrize("name", OTHERS)
def test_other_files(name: str, tmp_path: Path) -> None:
    OTHERS[name](tmp_path / name)
    scattered = np.array([3, 59, 0])
    for path in (tmp_path / name, f"file://{tmp_path}/{name}"):
        found = recorded("a", path)
        (layer,) = found.layers
        for wanted in (slice(0, 60), slice(7, 20), scattered):
            np.testing.assert_array_equal(found.rows(layer, wanted), X[wanted])
        np.testing.assert_array_equal(found.in_any_order(str(tmp_path)).rows(layer, scattered), X[scattered])
    assert found.ids is None or found.ids.tolist() == NAMES


def test_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", X)
    monkeypatch.setenv("HOME", str(tmp_path))
    np.testing.assert_array_equal(read(recorded("a", "~/x.npy"), "activations"), X)


def test_what_is_no_number_is_left_out_and_told() -> None:
    given = {"x": X, "mask": X > 0, "spectrum": X.astype(complex)}
    with pytest.warns(UserWarning, match="'(mask|spectrum)' of a is left out: it is of type (bool|complex128)"):
        found = recorded("a", given)
    assert list(found.layers) == ["x"]
    with pytest.raises(UserError, match="'x' of a has masked values; every activation must be there"):
        recorded("a", {"x": np.ma.masked_greater(X, 1)})


def test_a_sparse_matrix_and_a_masked_array_without_masks() -> None:
    np.testing.assert_allclose(diagonal(scipy.sparse.coo_array(X), np.ma.masked_array(X)), 1, atol=1e-9)


def unit_first(path: Path) -> Any:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(path / "x.zarr"), mode="w", zarr_format=3)
    group.create_array("x", data=X.T, dimension_names=("unit", "sample"))
    return path / "x.zarr"


def test_axes_that_are_named_the_other_way_round_are_refused(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    turned = pd.DataFrame(X.T, pd.Index(range(UNITS), name="neuron"), pd.Index(NAMES, name="image"))
    for one, axis in (
        (xarray.DataArray(X.T, dims=("neuroid", "presentation")), "neuroid"),
        (unit_first(tmp_path), "unit"),
        (turned, "neuron"),
    ):
        with pytest.raises(UserError, match=f"has '{axis}' for its first axis, and must have its samples there"):
            recorded("a", one)
    assert recorded("a", xarray.DataArray(X, dims=("unit_a", "feature"))).samples == SAMPLES


def packed_hdf5(path: Path, **attributes: Any) -> Any:
    """Packed values as netCDF keeps them in HDF5: scales of the axes, one of them without values."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        packed = file.create_dataset("packed", data=np.round((X[ORDER] - 1.5) / 2e-4).astype(np.int16), chunks=(15, 6))
        packed.attrs.update(attributes | {"scale_factor": 2e-4, "add_offset": np.array([1.5])})
        file["sample"], file["unit"] = np.array(NAMES, dtype=object)[ORDER], np.zeros(UNITS)
        file["sample"].make_scale("sample")
        file["unit"].make_scale("This is a netCDF dimension but not a netCDF variable.        12")
        for axis, name in enumerate(("sample", "unit")):
            packed.dims[axis].attach_scale(file[name])
    return path


def test_netcdfs_hdf5_is_read_as_netcdf_reads_it(tmp_path: Path) -> None:
    found = recorded("a", packed_hdf5(tmp_path / "x.h5"))
    assert (list(found.layers), found.unit_names) == (["packed"], {})
    np.testing.assert_allclose(read(found, "packed"), X[ORDER], atol=1.01e-4)
    np.testing.assert_allclose(diagonal(tmp_path / "x.h5", {"packed": X, "ids": NAMES}, "packed"), 1, atol=1e-7)


def test_hdf5_whose_values_are_elsewhere_or_turned_around(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with pytest.raises(UserError, match="was written by MATLAB, which stores axes in reverse order"):
        recorded("a", packed_hdf5(tmp_path / "m.h5", MATLAB_class=np.bytes_("double")))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        layout = h5py.VirtualLayout((SAMPLES, UNITS), "f4")
        layout[:] = h5py.VirtualSource("gone.h5", "x", shape=(SAMPLES, UNITS))
        file.create_virtual_dataset("x", layout)
        assert not file["x"][:].any()  # what the library gives of a file that is not there
    with pytest.raises(UserError, match=r"'x' of .*v.h5 is made of other files, which may be missing"):
        recorded("a", tmp_path / "v.h5")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_dataset("x", (SAMPLES, UNITS), "f4", chunks=(15, 6), fillvalue=0.5)[:15] = X[:15]
    with pytest.warns(UserWarning, match="6 of the 8 chunks of 'x' in .*c.h5 are not there and are read as 0.5"):
        recorded("a", tmp_path / "c.h5")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[1.0, 2.0], [3.0]], "'activations' of a are list, of which no array can be made: setting an array element"),
        ({"x": [[1.0], [2.0, 3.0]]}, "'x' of a are list, of which no array can be made"),
        (torch.ones(3, 2).to_sparse(), r"Tensor, of which no array can be made: can't convert Sparse layout"),
        (torch.empty(3, 2, device="meta"), "no array can be made: Cannot copy out of meta tensor; no data"),
        (frame().assign(trial=1.0), "has a column 'trial' of float64 beside '0' of float64, which looks like no unit"),
        (scipy.sparse.dok_matrix(X).astype(complex), "are of type complex128; they must be numbers"),
    ],
)
def test_what_makes_no_array_is_refused(given: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        recorded("a", given)


def test_numbers_in_the_types_of_other_libraries(tmp_path: Path) -> None:
    names = [f"u{n}" for n in range(UNITS)]
    half = X.astype(np.float16)
    pq.write_table(pa.table({name: half[:, n] for n, name in enumerate(names)}), tmp_path / "half.parquet")
    arrow = pd.DataFrame(X, columns=names).astype("double[pyarrow]")
    sparse, keys = pd.DataFrame(X, columns=names).astype(pd.SparseDtype("float64", 0)), scipy.sparse.dok_matrix(X)
    for one, expected in ((tmp_path / "half.parquet", half), (arrow, X), (sparse, X), (keys, X)):
        np.testing.assert_array_equal(read(recorded("a", one), "activations"), expected)


class Drawn(torch.utils.data.Sampler[list[int]]):
    """Batches in an order of its own, drawn anew each time."""

    def __iter__(self) -> Any:
        return iter(torch.randperm(SAMPLES).reshape(-1, 10).tolist())


def test_a_users_own_sampler_that_draws_an_order_is_refused_beside_a_recording() -> None:
    data = TensorDataset(torch.from_numpy(X).float())
    net, state = torch.nn.Linear(UNITS, 3), torch.get_rng_state()
    with pytest.raises(UserError, match=r"data is shuffled \(Drawn\)"):
        raycv.compare({"a": torch.nn.Sequential(net), "b": {"0": X}}, DataLoader(data, batch_sampler=Drawn()))
    assert torch.equal(state, torch.get_rng_state())
    found = raycv.compare({"a": torch.nn.Sequential(net), "b": {"0": X}}, DataLoader(data, 10))
    assert found.samples == SAMPLES
