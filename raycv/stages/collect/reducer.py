"""Adding up the partials of one fold, in the order of its shards. Pure: the same partials give the same bits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
import torch

from raycv.analysis.accumulator import Accumulator
from raycv.analysis.moments import Moments, merge
from raycv.analysis.top_patches import TopPatches
from raycv.run.paths import Key
from raycv.stages.collect.collector import Partial

ROWS_AT_ONCE = 1024  # rows of a fully connected layer gathered before they are multiplied


def to_arrays(partial: Partial, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """A partial as named arrays: moments/KEY/..., rows/KEY/NETWORK, samples/KEY/... and patches/KEY/NETWORK/...

    KEY is the group and layer. before_relu/KEY is there where rows and samples are of activations before the ReLU.
    images (n,) and labels (n,) are the numbers and classes of the shard's images.
    """
    arrays: dict[str, np.ndarray] = {"images": images, "labels": labels}
    arrays |= {f"before_relu/{key}": np.array(True) for key in partial.before_relu}
    for key, moments in partial.moments.items():
        arrays |= moments.arrays(f"moments/{key}")
    for key, rows in partial.rows.items():
        arrays |= {f"rows/{key}/{n}": values for n, values in enumerate(rows)}
    for key, samples in partial.samples.items():
        arrays |= {f"samples/{key}/{name}": getattr(samples, name) for name in ("rank", "image", "position")}
        arrays |= {f"samples/{key}/{n}": values for n, values in enumerate(samples.values)}
    for key, tops in partial.patches.items():
        for n, top in enumerate(tops):
            arrays |= top.arrays(f"patches/{key}/{n}")
    return arrays


def merge_patches(partials: Iterable[Mapping[str, np.ndarray]], key: Key) -> dict[str, np.ndarray]:
    """The top patches of one layer over all partials, as arrays named NETWORK/...

    Beside those of `raycv.analysis.top_patches.TopPatches` NETWORK/label (S, 9), the classes of their images; -1 where
    there is none.
    """
    merged: list[TopPatches] = []
    numbers, labels = [], []
    for arrays in partials:
        numbers.append(arrays["images"])
        labels.append(arrays["labels"])
        networks = sum(name.startswith(f"patches/{key}/") and name.endswith("/value") for name in arrays)
        tops = [TopPatches.from_arrays(arrays, f"patches/{key}/{n}") for n in range(networks)]
        for mine, other in zip(merged, tops, strict=bool(merged)):
            mine.merge(other)
        merged = merged or tops
    of_image = pd.Series(np.concatenate(labels), np.concatenate(numbers))
    found: dict[str, np.ndarray] = {}
    for n, top in enumerate(merged):
        classes = of_image.reindex(top.image.ravel(), fill_value=-1).to_numpy()
        found |= {**top.arrays(str(n)), f"{n}/label": classes.reshape(top.image.shape)}
    return found


@dataclass(frozen=True)
class Gathered:
    """The chosen samples of one network's layer, in the order of their ranks.

    kept (samples, S) float32: its activations, where ``before_relu`` those before its ReLU; position (samples,).
    """

    kept: np.ndarray
    before_relu: bool
    position: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The activations (samples, S) float32, in memory of their own."""
        return np.maximum(self.kept, 0) if self.before_relu else self.kept.copy()

    def arrays(self) -> dict[str, np.ndarray]:
        """As named arrays."""
        return {"kept": self.kept, "before_relu": np.array(self.before_relu), "position": self.position}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """From named arrays."""
        return cls(arrays["kept"], bool(arrays["before_relu"]), arrays["position"])


def gather_samples(partials: Iterable[Mapping[str, np.ndarray]], key: Key, network: int) -> Gathered:
    """The chosen samples of one network's layer.

    Raises ValueError where a sample is missing or occurs twice.
    """
    ranks, positions, values = [], [], []
    before_relu = False
    for arrays in partials:
        before_relu = f"before_relu/{key}" in arrays
        ranks.append(arrays[f"samples/{key}/rank"])
        positions.append(arrays[f"samples/{key}/position"])
        if f"samples/{key}/{network}" in arrays:
            values.append(arrays[f"samples/{key}/{network}"])
        else:
            values.append(arrays[f"rows/{key}/{network}"][arrays[f"samples/{key}/image"]])
    rank = np.concatenate(ranks)
    if not np.array_equal(np.sort(rank), np.arange(len(rank))):
        raise ValueError(f"not every sample of {key} occurs exactly once")
    gathered = np.empty((len(rank), values[0].shape[1]), dtype=np.float32)
    gathered[rank] = np.concatenate(values)
    position = np.empty(len(rank), dtype=np.int64)
    position[rank] = np.concatenate(positions)
    return Gathered(gathered, before_relu, position)


def reduce_fold(
    partials: Iterable[Mapping[str, np.ndarray]], key: Key, pilot: np.ndarray, device: torch.device
) -> Moments:
    """The moments of one layer of one group over ``partials``, which are named arrays in the order of the shards.

    Raises ValueError where there are no partials.
    """
    merged: Moments | None = None
    accumulator: Accumulator | None = None
    waiting: list[list[np.ndarray]] = []
    for arrays in partials:
        if f"rows/{key}/0" not in arrays:
            moments = Moments.from_arrays(arrays, f"moments/{key}")
            merged = moments if merged is None else merge(merged, moments)
            continue
        networks = sum(name.startswith(f"rows/{key}/") for name in arrays)
        rows = [arrays[f"rows/{key}/{n}"] for n in range(networks)]
        waiting.append([np.maximum(kept, 0) for kept in rows] if f"before_relu/{key}" in arrays else rows)
        if accumulator is None:
            accumulator = Accumulator([rows.shape[1] for rows in waiting[0]], pilot, device)
        if sum(len(rows[0]) for rows in waiting) >= ROWS_AT_ONCE:
            _add(accumulator, waiting)
    if accumulator is not None:
        _add(accumulator, waiting)
        return accumulator.moments()
    if merged is None:
        raise ValueError(f"no partials to reduce for {key}")
    return merged


def _add(accumulator: Accumulator, waiting: list[list[np.ndarray]]) -> None:
    if waiting:
        accumulator.add_in_float64(
            [torch.from_numpy(np.concatenate(rows)).to(accumulator.device) for rows in zip(*waiting, strict=True)]
        )
        waiting.clear()
