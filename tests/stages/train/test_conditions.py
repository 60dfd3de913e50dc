"""What networks are trained on where they do not share all: halves, random labels, first weights, orders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from raycv.config import TrainConfig
from raycv.data.sources import Source, open_source
from raycv.run.store import RunStore
from raycv.stages.train.conditions import Condition, conditions_of, halved
from raycv.stages.train.feed import Feed
from raycv.stages.train.job import TrainJob
from raycv.stages.train.recipe import recipe_of
from tests.support.commands import failing
from tests.support.runs import spec

SPECS = [spec(seed, 6) for seed in (1, 2, 3, 4)]


@pytest.fixture(scope="module")
def training(images: Path) -> Source:
    return open_source(str(images), "train")


def found(training: Source, **settings: Any) -> list[Condition]:
    return conditions_of(TrainConfig(**settings), SPECS, training)


def numbers(condition: Condition) -> set[int]:
    assert condition.images is not None
    assert (np.diff(condition.images) > 0).all()
    return set(condition.images.tolist())


@given(st.integers(0, 60), st.integers(0, 9))
def test_halves_share_nothing_and_leave_at_most_one_out(count: int, seed: int) -> None:
    first, second = map(set, halved(np.random.default_rng(seed).permutation(count)))
    assert len(first) == len(second) == count // 2
    assert not first & second
    assert first | second <= set(range(count))


def test_halves_go_to_networks_in_turn(training: Source) -> None:
    one, two, three, four = map(numbers, found(training, train_part="halves"))
    assert one == three
    assert two == four
    assert not one & two
    assert one | two == set(range(640))
    assert all(numbers(condition) == one for condition in found(training, train_part="half"))
    labels = training.labels()
    shares = np.bincount(labels[sorted(one)], minlength=10) / np.bincount(labels, minlength=10)
    assert (np.abs(shares - 0.5) < 0.25).all()  # a random half, whatever order the files have


def test_halves_of_classes_are_as_large_and_share_no_class(training: Source) -> None:
    labels = np.array([item.label for item in training.reader.items(range(640))])
    one, two, three, _ = map(numbers, found(training, train_classes="halves"))
    assert one == three
    assert len(one) == len(two) > 250
    assert {*labels[sorted(one)]} == {0, 1, 2, 3, 4}
    assert {*labels[sorted(two)]} == {5, 6, 7, 8, 9}
    assert all(numbers(condition) == one for condition in found(training, train_classes="half"))


def test_random_labels_are_the_same_or_others_and_know_no_class(training: Source) -> None:
    same = [condition.labelled(640, 10) for condition in found(training, train_labels="random")]
    other = [condition.labelled(640, 10) for condition in found(training, train_labels="random-each")]
    for labels in (*same[1:], *other):
        assert labels is not None
        agree = (labels == same[0]).mean()
        assert agree == 1 if any(labels is of for of in same) else agree < 0.2
    assert same[0] is not None
    assert abs(np.mean(same[0] == training.labels()) - 0.1) < 0.06
    assert set(np.bincount(same[0], minlength=10) > 30) == {True}
    assert found(training)[0].labelled(640, 10) is None


def test_seeds_that_are_shared(training: Source) -> None:
    conditions = found(training, first_weights="same")
    job = job_of(training, conditions)
    assert [job.first_seed(one) for one in SPECS] == [1, 1, 1, 1]
    assert [job.seed(one, 3) for one in SPECS] == [1, 2, 3, 4]
    job = job_of(training, found(training, image_order="same"))
    assert [job.first_seed(one) for one in SPECS] == [1, 2, 3, 4]
    assert [job.seed(one, 3) for one in SPECS] == [1, 1, 1, 1]


def job_of(training: Source, conditions: list[Condition], **given: Any) -> TrainJob:
    recipe = recipe_of("small-alexnet", TrainConfig(batch_size=8))
    usual: dict[str, Any] = {
        "specs": tuple(SPECS),
        "recipes": (recipe,) * 4,
        "workers": 1,
        "processes": 4,
        "threads": 1,
        "gpus": 0.0,
        "images": None,
        "store": RunStore("made"),
        "board": None,
        "folder": "made",
        "readers": 2,
        "keep_epochs": (),
        "fork_epoch": 0,
        "conditions": {spec.name: condition for spec, condition in zip(SPECS, conditions, strict=True)},
    }
    return TrainJob(**usual | {"training": training, "validation": training} | given)


@pytest.mark.parametrize("held", [False, True], ids=["streamed", "held"])
def test_a_network_sees_its_own_images_with_their_labels_once_an_epoch(
    training: Source, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, labels = training.decode(np.arange(640), SPECS[0].preprocessing.resizing)
    place = {image.tobytes(): n for n, image in enumerate(pixels)}
    monkeypatch.setattr("raycv.stages.train.feed.ray.get", lambda stored: stored)  # nothing of the store is tested here
    images = {"train": (pixels, labels), "validation": (pixels, labels)} if held else None
    conditions = [
        replace(condition, labels=random.labels)
        for condition, random in zip(
            found(training, train_part="halves"), found(training, train_labels="random"), strict=True
        )
    ]
    for number in (0, 1):
        for condition, labelled in ((conditions[number], True), (replace(conditions[number], labels=None), False)):
            given = [*conditions[:number], condition, *conditions[number + 1 :]]
            job = job_of(training, given, images=images)
            batches = list(Feed(job, SPECS[number], job.recipes[0], 0).training(0))
            seen = [place[image.numpy().tobytes()] for batch, _ in batches for image in batch]
            assert sorted(seen) == sorted(numbers(condition))
            expected = condition.labelled(640, 10) if labelled else labels
            assert expected is not None
            np.testing.assert_array_equal(np.concatenate([of.numpy() for _, of in batches]), expected[seen])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"train_part": "half", "train_classes": "half"}, "both say which images"),
        ({"train_labels": "random", "train_classes": "halves"}, "random labels are no classes"),
        ({"train_part": "half", "fork_epoch": 1}, "leave train_part out"),
        ({"train_labels": "random", "checkpoints": ("a.pt", "b.pt")}, "not for checkpoints or networks"),
        ({"first_weights": "same", "width": (4, 6), "seeds": (1, 2)}, "of one model and width"),
        ({"first_weights": "same", "image_order": "same"}, "all networks would be one"),
        ({"first_weights": "same", "image_order": "same", "train_part": "halves"}, "all networks would be one"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TrainConfig(**settings)


def test_networks_that_only_labels_tell_apart() -> None:
    assert TrainConfig(first_weights="same", image_order="same", train_labels="random-each").changed
    assert not TrainConfig().changed


def test_halves_that_are_too_small(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = ("train", "--run", str(tmp_path / "run"), "--data", str(images), "--batch-size", "321")
    assert "--train-part halves leaves 320 images for a network, less than one step of 321" in failing(
        capsys, *about, "--train-part", "halves"
    )
    assert "--train-classes half leaves" in failing(capsys, *about, "--train-classes", "half")
    assert not (tmp_path / "run").exists()


def test_too_few_classes(training: Source) -> None:
    few = Source(training.name, training.reader, 3)
    with pytest.raises(Exception, match="have 3 classes, and --train-classes needs 4 or more"):
        found(few, train_classes="half")
