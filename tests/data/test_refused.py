"""Images that cannot be used are refused by name, before anything is trained on the others."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from raycv.data.preprocessing import Resize
from raycv.data.sources import open_source
from raycv.errors import UserError


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def tree(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(picture())
    return root


def two_splits(root: Path, table: pa.Table) -> str:
    for split in ("train", "validation"):
        pq.write_table(table, root / f"{split}.parquet")
    return str(root)


def labelled(labels: Any, kind: pa.DataType | None = None, images: Any = None) -> pa.Table:
    content = [{"bytes": picture(), "path": None}] * len(labels) if images is None else images
    return pa.table({"image": content, "label": pa.array(labels, kind)})


# -- Parquet ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            labelled([0], images=[{"bytes": "text", "path": None}]),
            "image column 'image' of .* has type struct.*as bytes",
        ),
        (labelled([0], images=[{"bytes": 3}]), "image column 'image' of .* has type struct<bytes: int64>"),
        (labelled(["cat"]), "label column 'label' of .* has type string; labels are integers.*text is not supported"),
        (labelled([0.5]), "label column 'label' of .* has type double; labels are integers"),
        (labelled([2**40]), "go up to 1,099,511,627,776 and at most 100,000 classes are supported"),
        (labelled([2**64 - 1], pa.uint64()), "go up to 18,446,744,073,709,551,615 and at most"),
    ],
    ids=["bytes are text", "bytes are numbers", "labels are text", "labels are fractions", "2^40", "2^64"],
)
def test_columns_that_cannot_serve(tmp_path: Path, table: pa.Table, said: str) -> None:
    with pytest.raises(UserError, match=said):
        open_source(two_splits(tmp_path, table), "train")


@pytest.mark.parametrize("name", ["image", "label"])
def test_a_column_that_is_there_twice(tmp_path: Path, name: str) -> None:
    table = labelled([0])
    root = two_splits(tmp_path, table.append_column(name, table[name]))
    with pytest.raises(UserError, match=f"{name} column '{name}' of .* is there 2 times"):
        open_source(root, "train")
    with pytest.raises(UserError, match=f"{name} column '{name}' of .* is there 2 times"):
        open_source(root, "train", **{f"{name}_column": name})


def test_unsigned_labels_are_labels(tmp_path: Path) -> None:
    source = open_source(two_splits(tmp_path, labelled([0, 3], pa.uint64())), "train")
    assert (source.classes, source.decode([1], Resize(8))[1].tolist()) == (4, [3])


def test_no_names_of_classes_are_as_none(tmp_path: Path) -> None:
    features = {"label": {"names": [], "_type": "ClassLabel"}}
    table = labelled([0, 2]).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    assert open_source(two_splits(tmp_path, table), "train").classes == 3


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_an_image_of_900_megapixels_is_too_large_not_corrupt(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    large = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    source = open_source(two_splits(tmp_path, labelled([0], images=[{"bytes": large}])), "train")
    with pytest.raises(UserError, match="row 0 is too large: it has 900,000,000 pixels and at most 178,956,970"):
        source.decode([0], Resize(8))


# -- trees of files --------------------------------------------------------------------------------------------------


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder that everyone may enter, while this process is not the superuser, who may read anything."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o777)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield root
    os.seteuid(user)
    for path in root.rglob("*"):
        path.chmod(0o777)
    shutil.rmtree(root)


def test_an_unreadable_folder_is_no_missing_class(nobody: Path) -> None:
    tree(nobody, *(f"{split}/{name}/0.png" for split in ("train", "val") for name in ("ant", "bee", "cow")))
    (nobody / "train/bee").chmod(0)
    with pytest.raises(UserError, match="Could not list .*/train/bee: permission was denied"):
        open_source(str(nobody), "train")


def test_an_unreadable_file_is_found_before_it_is_needed(nobody: Path) -> None:
    tree(nobody, "train/ant/0.png", "train/bee/0.png")
    (nobody / "train/bee/0.png").chmod(0)
    with pytest.raises(UserError, match=r"Could not read .*/train/bee/0\.png: permission was denied"):
        open_source(str(nobody), "train")


def test_what_is_no_file(tmp_path: Path) -> None:
    tree(tmp_path, "train/ant/0.png")
    place = tmp_path / "train/ant/1.png"
    os.mkfifo(place)
    with pytest.raises(UserError, match=r"ant/1\.png is no file but a pipe or device"):
        open_source(str(tmp_path), "train")
    place.unlink()
    place.symlink_to(tmp_path / "gone.png")
    with pytest.raises(UserError, match=r"Could not read .*ant/1\.png: there is no such file"):
        open_source(str(tmp_path), "train")
    place.unlink()
    place.symlink_to(place)
    with pytest.raises(UserError, match=r"Could not read .*ant/1\.png: Too many levels of symbolic links"):
        open_source(str(tmp_path), "train")
    place.unlink()
    (tmp_path / "train/ant/again").symlink_to(tmp_path / "train")
    with pytest.raises(UserError, match="link .*/train/ant/again leads back to a folder that it is in"):
        open_source(str(tmp_path), "train")


def test_linked_classes_and_images_are_read(tmp_path: Path) -> None:
    tree(tmp_path / "elsewhere", "bee/0.png", "ant.png")
    tree(tmp_path / "images", "train/ant/0.png")
    (tmp_path / "images/train/ant/1.png").symlink_to(tmp_path / "elsewhere/ant.png")
    (tmp_path / "images/train/bee").symlink_to(tmp_path / "elsewhere/bee")
    source = open_source(str(tmp_path / "images"), "train")
    assert (len(source), source.classes) == (3, 2)
    assert source.decode([0, 1, 2], Resize(8))[1].tolist() == [0, 0, 1]


def test_an_image_without_bytes(tmp_path: Path) -> None:
    tree(tmp_path, "train/ant/0.png", "train/bee/0.png")
    (tmp_path / "train/ant/1.png").touch()
    with pytest.raises(UserError, match=r"image .*/train/ant/1\.png is empty"):
        open_source(str(tmp_path), "train")


def test_a_class_without_images(tmp_path: Path) -> None:
    tree(tmp_path, "train/ant/0.png", "train/cow/0.png", "val/ant/0.png")
    (tmp_path / "train/bee").mkdir()
    (tmp_path / "train/.cache").mkdir()
    (tmp_path / "train/bee/notes.txt").write_text("none yet")
    for split in ("train", "validation"):
        with pytest.raises(UserError, match="class folder .*/train/bee holds no images; add some or remove it"):
            open_source(str(tmp_path), split)
