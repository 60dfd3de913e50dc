"""Top patches against sorting everything."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from raycv.analysis.top_patches import Peaks, TopPatches, _peaks_on_gpu, class_purity, peaks
from raycv.paper import TOP_PATCHES


def brute_force(samples: np.ndarray, images: np.ndarray) -> tuple[list[list[tuple[float, int, int]]], int]:
    """Per unit (value, image, position), best first, of samples (images, positions, S)."""
    found = []
    for unit in range(samples.shape[2]):
        best = [
            (-samples[i, :, unit].max(), int(image), int(samples[i, :, unit].argmax()))
            for i, image in enumerate(images)
        ]
        found.append([(-value, image, position) for value, image, position in sorted(best)[:TOP_PATCHES]])
    return found, min(TOP_PATCHES, len(images))


def peaks_of(samples: np.ndarray) -> Peaks:
    """As the pass has it of a batch of samples (images, positions, S)."""
    return peaks(torch.from_numpy(samples.reshape(-1, samples.shape[2])), len(samples))


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 6), st.integers(1, 5), st.lists(st.integers(0, 40)))
def test_any_parts_in_any_order_are_what_sorting_finds(
    seed: int, count: int, positions: int, units: int, cuts: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    # Few different values, as a rectified unit has, so that most are equal.
    samples = np.maximum(rng.integers(-3, 4, (count, positions, units)), 0).astype(np.float32)
    images = rng.permutation(100)[:count]
    tops = []
    for part in np.split(np.arange(count), sorted(min(cut, count) for cut in cuts)):
        if len(part):  # a shard of two batches
            batches = [batch for batch in np.array_split(part, 2) if len(batch)]
            tops.append(TopPatches.of([peaks_of(samples[batch]) for batch in batches], images[part]))
    merged = TopPatches.none(units)
    for n in rng.permutation(len(tops)):
        merged.merge(tops[n])
    expected, filled = brute_force(samples, images)
    for unit in range(units):
        rows = zip(merged.value[unit], merged.image[unit], merged.position[unit], strict=True)
        assert list(rows)[:filled] == expected[unit]
    assert (merged.image[:, filled:] == -1).all()
    assert np.isneginf(merged.value[:, filled:]).all()


def test_negative_activations_count() -> None:
    samples = np.array([[[-3.0], [-1.0]], [[-2.0], [-5.0]]], np.float32)
    top = TopPatches.of([peaks_of(samples)], np.array([4, 7]))
    assert top.value[0, :2].tolist() == [-1.0, -2.0]
    assert top.image[0, :2].tolist() == [4, 7]
    assert top.position[0, :2].tolist() == [1, 0]


def test_what_runs_on_a_gpu_finds_the_same() -> None:
    samples = np.maximum(np.random.default_rng(1).integers(-3, 4, (20, 30, 17)), 0).astype(np.float32)
    for found, expected in zip(_peaks_on_gpu(torch.from_numpy(samples)), peaks_of(samples), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_arrays_round_trip() -> None:
    top = TopPatches.of([peaks_of(np.random.default_rng(0).random((12, 4, 3), np.float32))], np.arange(12))
    again = TopPatches.from_arrays(top.arrays("x/1"), "x/1")
    for name in ("value", "image", "position"):
        np.testing.assert_array_equal(getattr(again, name), getattr(top, name))


@given(st.lists(st.lists(st.integers(0, 4), max_size=9), min_size=1, max_size=6))
def test_class_purity_is_the_share_of_the_most_frequent_class(classes: list[list[int]]) -> None:
    labels = np.array([of_unit + [-1] * (9 - len(of_unit)) for of_unit in classes])
    expected = [max(map(of_unit.count, of_unit)) / len(of_unit) if of_unit else np.nan for of_unit in classes]
    np.testing.assert_allclose(class_purity(labels), expected)
