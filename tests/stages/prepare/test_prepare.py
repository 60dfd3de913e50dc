"""Prepared images are those of their source, whatever interrupts the preparation, and say so when they are damaged."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from raycv.cli import main
from raycv.config import PrepareConfig
from raycv.data.disk_cache import NearbyFiles
from raycv.data.preprocessing import Resize
from raycv.data.readers import EMBEDDED
from raycv.data.sources import open_source
from raycv.errors import UserError
from raycv.run.store import RunStore
from raycv.stages.prepare import files
from raycv.stages.prepare.files import Folder
from raycv.stages.prepare.stage import prepare
from tests.support.commands import failing
from tests.support.prepared import prepared, work_of
from tests.support.s3_server import BUCKET

RNG = np.random.default_rng(3)
SIDES = [(40, 30), (30, 40), (36, 36), (81, 37), (24, 24)]  # width, height
EACH = 7


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Photographs of several sizes in files of their own: smooth, as JPEG expects, one of them grey."""
    for label in range(3):
        for split, count in (("train", EACH), ("val", 2)):
            place = tmp_path / "tree" / split / f"class{label}"
            place.mkdir(parents=True)
            for n in range(count):
                rough = RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                image = Image.fromarray(rough).resize(SIDES[n % len(SIDES)], Image.Resampling.BICUBIC)
                image.convert("L" if n == 1 else "RGB").save(place / f"{n}.jpg", quality=90)
    return tmp_path / "tree"


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PER_FILE", 8)


@pytest.mark.parametrize("fit", ["short-side", "squash"])
def test_raw_images_are_those_of_the_source_to_the_last_bit(tree: Path, store: RunStore, fit: Any) -> None:
    prepared(store, data=str(tree), to=store.uri, size=24, fit=fit, format="raw")
    for split, count in (("train", 3 * EACH), ("validation", 6)):
        source, found = open_source(str(tree), split), open_source(store.uri, split)  # type: ignore[arg-type]
        assert (len(found), found.classes, found.reader.class_names) == (count, 3, source.reader.class_names)
        order = RNG.permutation(count)
        for got, expected in zip(found.decode(order, Resize(24)), source.decode(order, Resize(24, fit)), strict=True):
            np.testing.assert_array_equal(got, expected)
        index = pq.read_table(io.BytesIO(store.read(f"{split}/index.parquet"))).to_pandas()
        assert [str(tree / path) for path in index["origin"]] == [
            item.origin for item in source.reader.items(range(count))
        ]


def test_jpegs_are_close_and_those_of_the_right_size_stay_as_they_are(tree: Path, tmp_path: Path) -> None:
    store = prepared(RunStore(str(tmp_path / "out")), data=str(tree), to="x", size=24)
    source, found = open_source(str(tree), "train"), open_source(store.uri, "train")
    numbers = np.arange(len(source))
    expected, _ = source.decode(numbers, Resize(24, "short-side"))
    got, _ = found.decode(numbers, Resize(24))
    assert np.abs(got.astype(int) - expected).mean() < 3
    same = [n for n in range(len(source)) if n % EACH % len(SIDES) == 4]  # already of 24 x 24 pixels
    pairs = zip(source.reader.items(same), found.reader.items(same), strict=True)
    assert all(a.content == b.content for a, b in pairs)
    assert same


@pytest.mark.parametrize("data", [EMBEDDED, "parquet"])
def test_every_layout_can_be_prepared(data: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PER_FILE", 500)
    where = str(images) if data == "parquet" else data
    store = prepared(RunStore(str(tmp_path / "out")), data=where, to="x", size=32, format="raw")
    source, found = open_source(where, "validation"), open_source(store.uri, "validation")
    for got, expected in zip(*(of.decode(np.arange(150), Resize(32)) for of in (source, found)), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert found.classes == source.classes


def test_what_is_there_is_not_made_again(tree: Path, tmp_path: Path) -> None:
    """A corrupt image stops the preparation; once it is mended, the files of the others are taken as they are."""
    broken = tree / "train/class2/3.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:200])
    settings = {"data": str(tree), "to": "x", "size": 24}
    store = RunStore(str(tmp_path / "out"))
    with pytest.raises(UserError, match=r"class2/3.jpg is corrupt"):
        prepared(store, **settings)
    there = {path: store.age(path) for path in store.list("train")}
    assert len(there) == 2  # the third has the corrupt image
    with pytest.raises(UserError, match="not all prepared yet"):
        open_source(store.uri, "train")
    broken.write_bytes(whole)
    time.sleep(0.01)
    prepared(store, **settings)
    assert all(store.age(path) > age for path, age in there.items())  # older than before: not written again
    expected = prepared(RunStore(str(tmp_path / "other")), **settings)
    for path in expected.list(""):
        assert store.read(path) == expected.read(path)
    assert store.list("") == expected.list("")


def test_a_file_that_was_half_written_is_made_again(tree: Path, tmp_path: Path) -> None:
    config = PrepareConfig(data=str(tree), to="x", size=24)
    maker, work = work_of(config)
    store = RunStore(str(tmp_path / "out"))
    folder = Folder(store)
    for portion in work[:2]:
        folder.keep(portion.name, maker(portion))
    path = Path(store.locate(f"{work[0].name}.images"))
    path.write_bytes(path.read_bytes()[:-1])
    assert folder.finished() == {work[1].name}


def test_finished_images_are_left_alone(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = prepared(RunStore(str(tmp_path / "out")), data=str(tree), to="x", size=24)
    prepare(PrepareConfig(data=str(tree), to="x", size=24), store)
    assert "already finished" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"holds other prepared images \(24 pixels, short-side, jpeg95\)"):
        prepare(PrepareConfig(data=str(tree), to="x", size=32), store)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "DATA"], "needs --to"),
        (["--data", "DATA", "--to", "DATA/there"], "is in the folder of the images themselves"),
        (["--data", "PREPARED", "--to", "NEW"], "holds prepared images"),
        (["--data", "DATA", "--to", "OTHER"], "is not empty, it has notes.txt"),
        (["--data", "NOWHERE", "--to", "NEW"], "is not there"),
        (["--data", "DATA", "--to", "NEW", "--size", "0"], "--size"),
        (["--data", "DATA", "--to", "NEW", "--fit", "stretch"], "--fit"),
        (["--data", "DATA", "--to", "NEW", "--run", "x"], "--run"),
    ],
)
def test_mistakes(
    arguments: list[str], sentence: str, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(RunStore(str(tmp_path / "made")), data=str(tree), to="x", size=24)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    places = {"DATA": tree, "PREPARED": tmp_path / "made", "OTHER": tmp_path / "other", "NEW": tmp_path / "new"}
    for name, place in (places | {"NOWHERE": tmp_path / "nowhere"}).items():
        arguments = [word.replace(name, str(place)) if word.split("/")[0] == name else word for word in arguments]
    capsys.readouterr()
    assert sentence in failing(capsys, "prepare", *arguments)
    assert not (tmp_path / "new").exists()
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["notes.txt"]


def test_damage_is_named(tree: Path, tmp_path: Path) -> None:
    whole = prepared(RunStore(str(tmp_path / "out")), data=str(tree), to="x", size=24, format="raw")

    def damaged(path: str, content: bytes) -> str:
        copy = tmp_path / uuid.uuid4().hex
        shutil.copytree(whole.uri, copy)
        (copy / path).write_bytes(content)
        with pytest.raises(UserError) as found:
            open_source(str(copy), "train").decode([0, 20], Resize(24))
        return str(found.value)

    manifest = json.loads(whole.read("prepared.json"))
    name = manifest["splits"]["train"][0]["name"]
    assert "is not whole" in damaged(name, whole.read(name)[:100])
    assert "is not whole" in damaged(name, b"")
    assert "does not describe prepared images" in damaged("prepared.json", b"{")
    assert "does not describe prepared images" in damaged("prepared.json", b'{"format": 2}')
    outside = json.dumps(manifest).replace(name, "../../etc/00000-0000000000000000.images")
    assert "does not describe prepared images" in damaged("prepared.json", outside.encode())
    assert "index.parquet is not a readable" in damaged("train/index.parquet", b"PAR1")
    assert "6 rows for 21 images" in damaged("train/index.parquet", whole.read("validation/index.parquet"))
    del manifest["splits"]["train"]
    assert "only validation images were prepared" in damaged("prepared.json", json.dumps(manifest).encode())


def test_copies_on_this_machines_disk_serve_what_is_on_s3(
    tree: Path, tmp_path: Path, s3_server: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads go to S3 until the copies are there; a file whose checksum differs is never put there."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "disk"))
    (tmp_path / "disk").mkdir()
    store = prepared(RunStore(f"s3://{BUCKET}/{uuid.uuid4().hex}"), data=str(tree), to="x", size=24, format="raw")
    name = store.list("train")[0]
    right = store.read(name)
    store.write(name, bytes([right[0] ^ 255]) + right[1:])
    source = open_source(store.uri, "train")
    expected, _ = open_source(str(tree), "train").decode(np.arange(8, 21), Resize(24, "short-side"))
    np.testing.assert_array_equal(source.decode(np.arange(8, 21), Resize(24))[0], expected)
    source.keep_near()
    deadline = time.monotonic() + 60
    while len(copies := sorted((tmp_path / "disk").rglob("*.images"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [path.name[:11] for path in copies] == ["train-00001", "train-00002"]
    for path in store.list("train"):
        if path.endswith(".images"):
            store.remove(path)
    np.testing.assert_array_equal(source.decode(np.arange(8, 21), Resize(24))[0], expected)
    with pytest.raises(UserError, match=f"Could not read {store.locate(name)}"):
        source.decode([0], Resize(24))


def test_the_command_prepares_on_ray(tree: Path, store: RunStore, ray_cluster: None) -> None:
    assert main(["prepare", "--data", str(tree), "--to", store.uri, "--size", "24", "--format", "raw"]) == 0
    source, found = open_source(str(tree), "train"), open_source(store.uri, "train")
    for got, expected in zip(
        found.decode(np.arange(21), Resize(24)), source.decode(np.arange(21), Resize(24, "short-side")), strict=True
    ):
        np.testing.assert_array_equal(got, expected)
    assert sorted({path.split("/")[0] for path in store.list("")}) == ["prepared.json", "train", "validation"]


@pytest.mark.parametrize("form", ["raw", "jpeg95"])
def test_a_byte_that_has_changed_is_named(
    tree: Path, tmp_path: Path, form: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `--verify`, and by whoever reads that image: of an image in pixels, any byte could be right."""
    store = prepared(RunStore(str(tmp_path / "out")), data=str(tree), to="x", size=24, format=form)
    assert main(["prepare", "--to", store.uri, "--verify"]) == 0
    assert "all 4 files in" in capsys.readouterr().out
    name = next(path for path in store.list("train") if path.endswith(".images"))
    content = bytearray(store.read(name))
    content[-5] ^= 1
    store.write(name, bytes(content))
    assert f"1 of 4 files of {store.uri} are not those that were prepared: {name}" in failing(
        capsys, "prepare", "--to", store.uri, "--verify"
    )
    source = open_source(store.uri, "train")
    source.decode(np.arange(7), Resize(24))
    for _ in range(2):
        with pytest.raises(UserError, match=f"{name}, image 7 is damaged: it is not what raycv prepare has written"):
            source.decode([7], Resize(24))
    store.remove(name)
    assert f"prepared: {name}; prepare the images again" in failing(capsys, "prepare", "--to", store.uri, "--verify")


def test_images_that_an_earlier_version_prepared_are_read_without_sums(tree: Path, tmp_path: Path) -> None:
    store = prepared(RunStore(str(tmp_path / "out")), data=str(tree), to="x", size=24)
    index = pq.read_table(io.BytesIO(store.read("train/index.parquet"))).drop_columns(["crc32"])
    pq.write_table(index, store.locate("train/index.parquet"))
    assert len(open_source(store.uri, "train").decode(np.arange(21), Resize(24))[0]) == 21


def test_no_copies_are_put_where_a_link_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mine = tmp_path / "mine"
    mine.mkdir()
    (tmp_path / f"raycv-images-{os.getuid()}").symlink_to(mine)
    nearby = NearbyFiles("s3://bucket/images", (("train/00000-0123456789abcdef.images", 3, "0" * 64),))
    nearby.keep()
    assert not list(mine.iterdir())
