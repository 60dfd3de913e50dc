"""Images in webdataset's tar files, against Python's own tarfile and the same images as a tree; damage and mistakes."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raycv.data import webdataset
from raycv.data.preprocessing import Resize
from raycv.data.sources import open_source
from raycv.errors import UserError
from raycv.run.store import RunStore
from tests.support.prepared import prepared


def encoded(number: int, kind: str = "PNG") -> bytes:
    """A picture that is of no other number."""
    pixels = np.random.default_rng(number).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write_shard(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for name, content in members:
            about = tarfile.TarInfo(name)
            about.size = len(content)
            shard.addfile(about, io.BytesIO(content))
    return path


def members(numbers: range) -> list[tuple[str, bytes]]:
    """As the library webdataset writes them: members of a sample one after the other."""
    return [
        member
        for n in numbers
        for member in (
            (f"some/{n:04}.cls", str(n % 3).encode()),
            (f"some/{n:04}.png", encoded(n)),
            (f"some/{n:04}.json", b"{}"),
        )
    ]


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    folder = tmp_path / "set"
    write_shard(folder / "mine-train-000.tar", members(range(5)))
    write_shard(folder / "mine-train-001.tar", members(range(5, 8)))
    write_shard(folder / "mine-val-000.tar", members(range(8, 12)))
    return folder


def test_images_are_those_of_the_shards(shards: Path) -> None:
    for split, numbers in (("train", range(8)), ("validation", range(8, 12))):
        source = open_source(str(shards), split)  # type: ignore[arg-type]
        assert (len(source), source.classes) == (len(numbers), 3)
        order = np.random.default_rng(0).permutation(len(numbers))
        found = list(source.reader.items(order))
        assert [item.content for item in found] == [encoded(numbers[n]) for n in order]
        assert [item.label for item in found] == [numbers[n] % 3 for n in order]
    assert open_source(str(shards), "train").identity != open_source(str(shards), "validation").identity


def test_they_lie_in_a_bucket_as_on_a_disk(shards: Path, store: RunStore) -> None:
    for file in shards.iterdir():
        store.write(file.name, file.read_bytes())
    there, here = (open_source(uri, "train") for uri in (store.uri, str(shards)))
    assert there.identity == here.identity
    assert [item.content for item in there.reader.items([7, 0])] == [encoded(7), encoded(0)]


def test_where_images_are_is_found_out_once(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_source(str(shards), "train")
    webdataset._places.cache_clear()  # as in the next process
    monkeypatch.setattr(webdataset, "_places_of", lambda *_: pytest.fail("the shards were read again"))
    assert open_source(str(shards), "train").identity == first.identity
    monkeypatch.undo()
    file = shards / "mine-train-001.tar"
    write_shard(
        file,
        [(name, content.swapcase() if name.endswith("cls") else content) for name, content in members(range(20, 23))],
    )
    os.utime(file, ns=(10**18, 10**18))
    webdataset._places.cache_clear()
    assert next(open_source(str(shards), "train").reader.items([5])).content == encoded(20)


def test_they_are_prepared(shards: Path, tmp_path: Path) -> None:
    made = prepared(RunStore(str(tmp_path / "prepared")), data=str(shards), size=9, fit="squash", format="raw")
    again, source = open_source(made.uri, "train"), open_source(str(shards), "train")
    for one, other in zip(again.decode(range(8), Resize(9)), source.decode(range(8), Resize(9)), strict=True):
        np.testing.assert_array_equal(one, other)


def cut(path: Path, at: int) -> None:
    path.write_bytes(path.read_bytes()[:at])


def test_what_is_damaged_or_can_be_read_two_ways_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    whole = write_shard(tmp_path / "x" / "train.tar", members(range(4))).stat().st_size

    def complaint(**columns: str) -> str:
        webdataset._places.cache_clear()
        with pytest.raises(UserError) as refused:
            open_source(str(tmp_path / "x"), "train", **columns)
        return str(refused.value)

    path = tmp_path / "x" / "train.tar"
    with tarfile.open(path) as shard:
        ends = [(member.offset, member.offset_data + member.size) for member in shard]
    for at in (whole - 10240 + 100, ends[-1][0], ends[-1][1] - 3, ends[0][0] + 100, 3):
        write_shard(path, members(range(4)))
        cut(path, at)
        assert "is not a whole tar file" in complaint() or "is not whole" in complaint()
    with tarfile.open(path, "w:gz"):
        pass
    assert "compressed ones are not read" in complaint()
    write_shard(path, [("a.png", encoded(1)), ("a.jpg", encoded(1, "JPEG")), ("a.cls", b"1")])
    assert "has several images in the sample a: a.png, a.jpg; say which by --image-column" in complaint()
    webdataset._places.cache_clear()
    (item,) = open_source(str(tmp_path / "x"), "train", image_column="jpg").reader.items([0])
    assert item.content == encoded(1, "JPEG")
    write_shard(path, [("a.png", encoded(1)), ("a.cls", b"cat")])
    assert "a.cls in" in complaint()
    assert "is no label: expected the number of a class" in complaint()
    write_shard(path, [("a.png", encoded(1)), ("a.txt", b"3")])
    assert "None of the images" in complaint()
    write_shard(path, [("a.txt", b"3")])
    assert "holds no images; expected members such as 0001.jpg" in complaint()
    with pytest.raises(UserError, match="has no validation images"):
        open_source(str(tmp_path / "x"), "validation")
