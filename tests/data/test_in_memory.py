"""Images as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import raycv
from raycv.errors import UserError


def test_images_of_a_tree_are_those_of_the_tree(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        for label in ("dark", "light"):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for n in range(3):
                Image.new("RGB", (40, 40), (n + 200 * (label == "light"),) * 3).save(folder / f"{n}.png")
    pixels, labels = raycv.images(str(tmp_path), "train", size=8)
    assert pixels.shape == (6, 8, 8, 3)
    levels = pixels[:, 0, 0, 0]
    assert sorted(levels) == [0, 1, 2, 200, 201, 202]
    np.testing.assert_array_equal(labels, levels >= 200)


@pytest.mark.parametrize(
    ("asked", "sentence"), [({"count": 0}, "count is 0"), ({"split": "tests"}, "split is 'tests'")]
)
def test_what_is_not_there_is_refused(asked: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        raycv.images(**asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 4097])
def test_a_size_that_no_image_has_is_refused(size: int) -> None:
    with pytest.raises(UserError, match=f"size is {size:,}; an image is 1 to 4,096 pixels"):
        raycv.images(count=1, size=size)
