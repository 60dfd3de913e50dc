"""The choice of samples: exact in number, the same for every sharding, and even."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from raycv.data.sampling import Chosen, choose, elsewhere, permuted


def taken(images: np.ndarray, chosen: Chosen) -> dict[int, tuple[int, int]]:
    """(image number, position) by rank."""
    places = zip(images[chosen.image].tolist(), chosen.position.tolist(), strict=True)
    return dict(zip(chosen.rank.tolist(), places, strict=True))


@given(st.integers(1, 3000), st.integers(0, 2**40))
def test_permuted_is_a_permutation(size: int, seed: int) -> None:
    assert sorted(permuted(np.arange(size), size, seed).tolist()) == list(range(size))


@given(st.integers(1, 60), st.integers(1, 30), st.integers(1, 900), st.integers(0, 9))
def test_any_sharding_takes_the_same_samples(total: int, positions: int, wanted: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(total)
    whole = taken(np.arange(total), choose(np.arange(total), positions, total, wanted, seed=seed))
    cuts = np.sort(rng.integers(0, total + 1, 4))
    shards = [taken(part, choose(part, positions, total, wanted, seed=seed)) for part in np.split(order, cuts)]
    assert sum(map(len, shards)) == len(whole) == len(set(whole.values())) == min(wanted, total * positions)
    assert {rank: place for shard in shards for rank, place in shard.items()} == whole
    assert sorted(whole) == list(range(len(whole)))


def test_samples_stand_by_image_and_position() -> None:
    chosen = choose(np.array([7, 3, 9]), 40, 10, 200)
    pairs = list(zip(chosen.image.tolist(), chosen.position.tolist(), strict=True))
    assert pairs == sorted(pairs)
    assert 0 < len(pairs) < 3 * 40


def test_fewer_samples_are_a_prefix_of_more() -> None:
    images = np.arange(50)
    few, many = (taken(images, choose(images, 30, 50, wanted)) for wanted in (100, 700))
    assert few == {rank: place for rank, place in many.items() if rank < 100}


def test_exactly_60000_of_a_set_too_large_to_list() -> None:
    # conv1 of the paper's network on all ImageNet training images: 3.9 billion samples.
    positions, total = 55 * 55, 1_281_167
    shards = np.array_split(np.arange(total), 3)
    counts = [len(choose(part, positions, total).rank) for part in shards]
    assert sum(counts) == 60_000
    assert max(counts) - min(counts) < 1_000  # each 20,000 give or take 115


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("total", "positions", "wanted"), [(500, 1024, 60_000), (10_000, 169, 60_000)])
def test_images_positions_and_neighbours_are_taken_evenly(total: int, positions: int, wanted: int, seed: int) -> None:
    chosen = choose(np.arange(total), positions, total, wanted, seed=seed)
    for which, size in ((chosen.image, total), (chosen.position, positions)):
        counts = np.bincount(which, minlength=size)
        expected = wanted / size
        statistic = float(((counts - expected) ** 2).sum() / (expected * (1 - wanted / (total * positions))))
        assert 1e-4 < chi2.cdf(statistic, size - 1) < 1 - 1e-4
    # Neither do neighbours in rank tell anything of each other.
    by_rank = np.argsort(chosen.rank)
    for which in (chosen.image, chosen.position):
        ordered = which[by_rank].astype(float)
        assert abs(np.corrcoef(ordered[:-1], ordered[1:])[0, 1]) < 4.5 / np.sqrt(wanted)


def test_seeds_choose_different_samples() -> None:
    images = np.arange(100)
    first, second = (set(taken(images, choose(images, 100, 100, 1000, seed=seed)).values()) for seed in (0, 1))
    assert abs(len(first & second) - 100) < 50  # independent choices of a tenth share a hundredth


def test_the_choice_never_changes() -> None:
    # A change of these numbers would mix two choices in one run resumed by a newer version.
    assert permuted(np.arange(4), 151_250_000, 0).tolist() == [56956859, 127162266, 109423785, 1608244]


def test_an_empty_shard_has_no_samples() -> None:
    assert len(choose(np.array([], np.int64), 5, 10).rank) == 0


@pytest.mark.parametrize(
    ("images", "positions", "total", "wanted", "message"),
    [
        ([0, 10], 5, 10, 3, "from 0 to 10; they must be from 0 to 9"),
        ([-1, 2], 5, 10, 3, "from -1 to 2"),
        ([2, 2], 5, 10, 3, "twice"),
        ([2], 0, 10, 3, "positions is 0"),
        ([2], 5, 10, 0, "wanted 0"),
        ([], 5, 0, 3, "total_images 0"),
    ],
)
def test_mistakes_are_named(images: list[int], positions: int, total: int, wanted: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose(np.array(images, np.int64), positions, total, wanted)


@given(positions=st.integers(1, 9), images=st.integers(1, 40))
def test_elsewhere_is_the_same_position_of_another_image(positions: int, images: int) -> None:
    chosen = choose(np.arange(images), positions, images, wanted=200)
    position, image = (np.empty(len(chosen.rank), np.int64) for _ in range(2))
    position[chosen.rank], image[chosen.rank] = chosen.position, chosen.image
    other = elsewhere(position)
    assert sorted(other) == list(range(len(position)))
    np.testing.assert_array_equal(position[other], position)
    alone = np.bincount(position)[position] == 1
    np.testing.assert_array_equal(image[other] == image, alone)
