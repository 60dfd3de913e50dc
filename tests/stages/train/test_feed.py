"""Images that are read while networks train come in the order that the seed gives, each once an epoch."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from raycv.config import TrainConfig
from raycv.data.sources import Source, open_source
from raycv.errors import UserError
from raycv.networks.evaluation import Batch
from raycv.run.store import RunStore
from raycv.stages.train.feed import CPU, Feed, ahead
from raycv.stages.train.job import TrainJob
from raycv.stages.train.learning import epoch_order
from raycv.stages.train.recipe import WINDOW, recipe_of
from raycv.stages.train.resized import say_how_resized
from tests.support.prepared import prepared
from tests.support.runs import spec

BATCH = 8
CLASSES, EACH = 6, 40


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in files of their own, sorted by class; an image is of the colour of its number."""
    folder = tmp_path_factory.mktemp("tree")
    for label in range(CLASSES):
        for split, count in (("train", EACH), ("validation", 3)):
            place = folder / split / f"class{label}"
            place.mkdir(parents=True)
            for n in range(count):
                colour = (label * EACH + n, 7, 200)
                Image.new("RGB", (32, 32), colour).save(place / f"{n:03d}.png")
    return folder


def feed(folder: Path, workers: int = 1, replica: int = 0, readers: int = 3) -> tuple[Feed, Source, Source]:
    training, validation = (open_source(str(folder), split) for split in ("train", "validation"))
    recipe = recipe_of("small-alexnet", TrainConfig(batch_size=BATCH * workers))
    given: dict[str, Any] = {
        "specs": (spec(1, 6),),
        "recipes": (recipe,),
        "workers": workers,
        "processes": workers,
        "threads": 1,
        "gpus": 0.0,
    }
    given |= {"images": None, "board": None, "keep_epochs": (), "fork_epoch": 0, "readers": readers}
    job = TrainJob(**given, training=training, validation=validation, store=RunStore(str(folder)), folder="made")
    return Feed(job, spec(1, 6), recipe, replica), training, validation


def numbers(batches: Any) -> np.ndarray:
    """The images of a tree in the order in which they come."""
    return np.concatenate([images[:, 0, 0, 0].numpy() for images, _ in batches])


@pytest.mark.parametrize("readers", [1, 3, 6])
def test_a_sorted_tree_is_permuted_image_by_image(tree: Path, readers: int) -> None:
    """So every batch has images of most classes, as if the tree had been shuffled."""
    fed, training, _ = feed(tree, readers=readers)
    for epoch in (0, 1, 0):
        np.testing.assert_array_equal(
            numbers(fed.training(epoch)), epoch_order(len(training), seed=1, epoch=epoch).numpy()
        )
    assert np.mean([len(set(labels.tolist())) for _, labels in fed.training(0)]) > 4


def test_validation_images_come_in_order(tree: Path) -> None:
    fed, _, validation = feed(tree)
    labels = np.concatenate([labels.numpy() for _, labels in fed.validation()])
    np.testing.assert_array_equal(labels, np.repeat(np.arange(CLASSES), 3))
    assert len(labels) == len(validation)


def test_replicas_share_an_epoch(tree: Path) -> None:
    parts = [numbers(feed(tree, workers=2, replica=n)[0].training(3)) for n in (0, 1)]
    assert sorted(np.concatenate(parts)) == list(range(CLASSES * EACH))


def test_images_of_parquet_are_mixed_in_windows(images: Path) -> None:
    """Each once; the same again for the same seed and epoch, with any number of threads."""
    fed, training, _ = feed(images)
    pixels, _ = training.decode(np.arange(len(training)), spec(1, 6).preprocessing.resizing)
    place = {image.tobytes(): n for n, image in enumerate(pixels)}
    first, again, other = (
        [place[image.numpy().tobytes()] for batch, _ in of.training(epoch) for image in batch]
        for of, epoch in ((fed, 0), (feed(images, readers=1)[0], 0), (fed, 1))
    )
    assert len(place) == len(training)
    assert first == again
    assert first != other
    assert sorted(first) == list(range(len(training)))
    blocks = [
        len({number // training.reader.neighbours for number in first[n : n + BATCH]}) for n in range(0, 64, BATCH)
    ]
    assert max(blocks) <= WINDOW * BATCH // training.reader.neighbours + 1
    assert first[:BATCH] != sorted(first[:BATCH])


def test_an_epoch_can_be_left_early(tree: Path) -> None:
    fed, training, _ = feed(tree)
    given = fed.training(0)
    next(given)
    given.close()
    assert len(numbers(fed.training(0))) == len(training)


def test_batches_fetched_ahead_are_the_same(tree: Path) -> None:
    fed, _, _ = feed(tree)
    for (images, labels), (others, and_labels) in zip(fed.training(1), ahead(fed.training(1), CPU), strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, and_labels)


def test_what_is_fetched_ahead_ends_with_its_taker_and_raises_what_was_raised() -> None:
    ended = []

    def batches() -> Generator[Batch]:
        try:
            yield torch.zeros(1), torch.zeros(1)
            yield torch.ones(1), torch.ones(1)
            raise UserError("img.png is corrupt")
        finally:
            ended.append(True)

    left = ahead(batches(), CPU)
    next(left)
    left.close()
    assert ended == [True]
    with pytest.raises(UserError, match="img.png is corrupt"):
        list(ahead(batches(), CPU))
    assert ended == [True, True]


def test_a_corrupt_image_is_named(tree: Path) -> None:
    path = tree / "train/class2/007.png"
    content = path.read_bytes()
    path.write_bytes(content[:40])
    try:
        with pytest.raises(UserError, match=r"class2/007.png is corrupt"):
            list(feed(tree)[0].training(0))
    finally:
        path.write_bytes(content)


def test_prepared_images_come_as_those_of_their_source(tree: Path, tmp_path: Path) -> None:
    """In the same order, to the last bit, although they lie in one file."""
    store = prepared(RunStore(str(tmp_path / "out")), data=str(tree), to="x", size=32, format="raw")
    from_source, from_prepared = (feed(folder)[0].training(2) for folder in (tree, Path(store.uri)))
    for (images, labels), (others, and_labels) in zip(from_source, from_prepared, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, and_labels)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (32, ["differently (32 pixels, short-side, bilinear) from how net1 takes them (32 pixels, squash, bilinear)"]),
        (64, ["images (64 x 64 pixels) are squashed to 32 x 32 for net1", "differently (64 pixels"]),
    ],
)
def test_images_are_not_resized_in_silence(
    size: int, said: list[str], tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    say_how_resized([spec(1, 6)], open_source(str(tree), "train"))
    assert capsys.readouterr().out == ""
    store = prepared(RunStore(str(tmp_path / "out")), data=str(tree), to="x", size=size)
    capsys.readouterr()
    say_how_resized([spec(1, 6)], open_source(store.uri, "train"))
    out = capsys.readouterr().out
    assert all(sentence in out for sentence in said)
