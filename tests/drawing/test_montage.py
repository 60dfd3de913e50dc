"""Blocks of patches: every pixel of every patch stands where it belongs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest

from raycv.drawing.montage import GREY, WHITE, Cell, Row, blocks, explained, montage
from raycv.drawing.undrawable import Undrawable
from tests.support.pictures import SIZE, colour, patch_tables, png


def tile(block: np.ndarray, rank: int, size: int = SIZE, *, drive: bool = False, side: int = 3) -> np.ndarray:
    """The part of a block where the patch of ``rank`` stands: halves of side x side tiles, lines between them."""
    line = (block.shape[1] - side * size) // max(side - 1, 1)
    half = side * size + (side - 1) * line
    top = (rank - 1) // side * (size + line) + (block.shape[0] - half if drive else 0)
    left = (rank - 1) % side * (size + line)
    return block[top : top + size, left : left + size]


def frame(units: Iterable[tuple[str, int]]) -> pd.DataFrame:
    return pd.DataFrame(units, columns=["net", "unit"])


def test_patches_stand_in_rows_by_rank_with_their_drives_beneath() -> None:
    units = [("net1", 3), ("net2", 7)]
    patches, pictures = patch_tables([*units, ("net1", 5)])
    found = blocks(
        patches.sample(frac=1, random_state=0), pictures.sample(frac=1, random_state=1), "conv1", frame(units)
    )
    assert list(found) == units
    for (net, unit), block in found.items():
        for rank in range(1, 10):
            for drive in (False, True):
                assert (tile(block, rank, drive=drive) == colour(net, unit, rank, drive=drive)).all()
        lines = (block == WHITE).all(axis=(1, 2))
        assert lines.sum() > 0
        assert lines[: block.shape[0] // 2].any()  # between the rows of patches, not around them
        assert not lines[0]
        assert not lines[-1]


def test_a_single_patch_is_the_one_of_highest_activation() -> None:
    patches, pictures = patch_tables([("net1", 3)])
    block = blocks(patches, pictures, "conv1", frame([("net1", 3)]), side=1)["net1", 3]
    assert block.shape[1] == SIZE
    assert (block[:SIZE] == colour("net1", 3, 1)).all()
    assert (block[-SIZE:] == colour("net1", 3, 1, drive=True)).all()


@pytest.mark.parametrize(
    ("box", "where"),
    [
        ((0, 4, 30, 44), (slice(10, 40), slice(0, 40))),  # cut off at the top: grey above
        ((4, 0, 44, 25), (slice(0, 40), slice(15, 40))),  # at the left
        ((70, 4, 100, 44), (slice(0, 30), slice(0, 40))),  # at the bottom: grey below
        ((0, 75, 30, 100), (slice(10, 40), slice(0, 25))),  # at the upper right corner
    ],
)
def test_a_patch_that_the_border_cuts_off_is_filled_up_there(
    box: tuple[int, int, int, int], where: tuple[slice, slice]
) -> None:
    patches, pictures = patch_tables([("net1", 0)])
    patches.loc[patches["rank"] == 2, ["y0", "x0", "y1", "x1"]] = box
    picture = np.random.default_rng(0).integers(0, 256, (box[2] - box[0], box[3] - box[1], 3), dtype=np.uint8)
    for column in ("patch", "drive"):
        pictures.loc[pictures["rank"] == 2, column] = png(picture)
    block = blocks(patches, pictures, "conv1", frame([("net1", 0)]))["net1", 0]
    expected = np.full((SIZE, SIZE, 3), GREY)
    expected[where] = picture
    for drive in (False, True):
        np.testing.assert_array_equal(tile(block, 2, drive=drive), expected)


def test_a_missing_rank_is_grey() -> None:
    patches, pictures = patch_tables([("net1", 0)], ranks=4)
    block = blocks(patches, pictures, "conv1", frame([("net1", 0)]))["net1", 0]
    assert (tile(block, 4) == colour("net1", 0, 4)).all()
    assert all((tile(block, rank) == GREY).all() for rank in range(5, 10))


def test_small_patches_are_enlarged_by_whole_pixels() -> None:
    patches, pictures = patch_tables([("net1", 0)], size=5)
    picture = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    pictures["patch"] = png(picture)
    block = blocks(patches, pictures, "conv1", frame([("net1", 0)]), side=1)["net1", 0]
    assert block.shape[1] >= 32
    np.testing.assert_array_equal(block[: block.shape[1]], picture.repeat(7, axis=0).repeat(7, axis=1))


def test_all_blocks_of_a_layer_have_tiles_of_its_largest_box() -> None:
    patches, pictures = patch_tables([("net1", 0), ("net1", 1)])
    patches.loc[patches["unit"] == 1, ["y1", "x1"]] += 10  # a unit that is not shown
    block = blocks(patches, pictures, "conv1", frame([("net1", 0)]), side=1)["net1", 0]
    assert block.shape[1] == SIZE + 10


def test_layers_do_not_mix() -> None:
    one, two = patch_tables([("net1", 0)]), patch_tables([("net1", 0)], layer="conv2", size=50)
    patches, pictures = (pd.concat(both) for both in zip(one, two, strict=True))
    shapes = [
        blocks(patches, pictures, layer, frame([("net1", 0)]), 1)["net1", 0].shape[1] for layer in ("conv1", "conv2")
    ]
    assert shapes == [SIZE, 50]


def test_tables_that_do_not_belong_together_are_refused() -> None:
    patches, pictures = patch_tables([("net1", 0)])
    with pytest.raises(Undrawable, match=r"Unit 4 of net2 at layer conv1 has no pictures\."):
        blocks(patches, pictures, "conv1", frame([("net2", 4)]))
    patches["y1"] -= 1
    with pytest.raises(Undrawable, match="unit 0 of net1 at layer conv1 do not have the size"):
        blocks(patches, pictures, "conv1", frame([("net1", 0)]))


def test_the_caption_names_the_method() -> None:
    pictures = patch_tables([("net1", 0)])[1]
    assert "the 9 patches of highest activation, beneath what in it drives the unit (deconvnet)" in explained(
        pictures, 3
    )
    assert "the patch of highest activation" in explained(pictures.assign(method="gradient"), 1)


def test_rows_stand_one_beneath_the_other_on_the_page() -> None:
    tall = np.zeros((60, 30, 3), dtype=np.uint8)
    rows = [
        Row([Cell(0, tall, "0.5\nunit 3"), Cell(4.5, tall, "unit 8")], "net1", {0: "best", 4.5: "worst"}),
        Row([Cell(1, tall)], "net2"),
    ]
    figure = montage("a title", "a caption", rows, 6)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [image.get_window_extent() for image in axes.images]
    assert boxes[0].y0 == pytest.approx(boxes[1].y0)
    assert boxes[0].x1 < boxes[1].x0
    assert boxes[2].y1 < boxes[0].y0
    assert all(box.height == pytest.approx(2 * box.width, rel=0.01) for box in boxes)
    page = figure.bbox
    for text in [*axes.texts, *figure.texts]:
        extent = text.get_window_extent()
        assert extent.x0 >= page.x0
        assert extent.x1 <= page.x1
        assert not any(extent.overlaps(box) for box in boxes if text.get_text())
