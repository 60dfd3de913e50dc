"""Adding up the partials of one fold, in the order of its shards. Pure: the same partials give the same bits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from raycv.analysis.prerelu import Mixable
from raycv.analysis.top_patches import TopPatches
from raycv.networks.nonlinearity import NonLinearity
from raycv.networks.rectified import mixable
from raycv.run.paths import Key
from raycv.stages.collect.collector import Partial
from raycv.stages.collect.groups import ROWS_AT_ONCE
from raycv.statistics import parts
from raycv.statistics.parts import Arrays, Part, added, cut, networks_of
from raycv.statistics.sums import sums_of


def to_arrays(partial: Partial, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """A partial as named arrays: moments/KEY/..., rows/KEY/NETWORK, samples/KEY/..., tested/KEY/... and
    patches/KEY/NETWORK/...

    Those of moments are the ones of `raycv.statistics.parts`.
    KEY is the group and layer. nonlinearity/KEY/NETWORK is there where rows and samples are of activations before one,
    and says which; normalised/KEY/NETWORK (2, S), scale and shift, where they are told.
    images (n,) and labels (n,) are the numbers and classes of the shard's images.
    """
    arrays: dict[str, np.ndarray] = {"images": images, "labels": labels}
    arrays |= {f"nonlinearity/{key}/{n}": np.array(one.text()) for (key, n), one in partial.nonlinearities.items()}
    arrays |= {f"normalised/{key}/{n}": values for (key, n), values in partial.normalised.items()}
    for key, moments in partial.moments.items():
        arrays |= {f"moments/{key}/{name}": values for name, values in parts.to_arrays(moments).items()}
    for key, rows in partial.rows.items():
        arrays |= {f"rows/{key}/{n}": values for n, values in enumerate(rows)}
    for (kind, key), samples in partial.samples.items():
        arrays |= {f"{kind}/{key}/{name}": getattr(samples, name) for name in ("rank", "image", "position")}
        arrays |= {f"{kind}/{key}/{n}": values for n, values in enumerate(samples.values)}
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

    kept (samples, S): its activations, where there is a ``nonlinearity`` those before it; position (samples,).
    normalised: scale and shift (2, S), see `raycv.networks.rectified.Before`; (2, 0) where they are not told.
    """

    kept: np.ndarray
    nonlinearity: NonLinearity | None
    position: np.ndarray
    normalised: np.ndarray = field(default_factory=lambda: np.empty((2, 0), np.float32))

    @property
    def values(self) -> np.ndarray:
        """The activations (samples, S), in memory of their own."""
        return self.kept.copy() if self.nonlinearity is None else after(self.kept, self.nonlinearity)

    def mixable(self, device: torch.device) -> Mixable | None:
        """The units ahead of their non-linearity, to be mixed on a device; None where there is none."""
        if self.nonlinearity is None:
            return None
        normalised = torch.from_numpy(self.normalised).to(device) if self.normalised.shape[1] else None
        return mixable(torch.from_numpy(self.kept).to(device), self.nonlinearity, normalised)

    def arrays(self) -> dict[str, np.ndarray]:
        """As named arrays."""
        about = {"nonlinearity": np.array(_text(self.nonlinearity)), "normalised": self.normalised}
        return {"kept": self.kept, "position": self.position} | about

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """From named arrays."""
        return cls(arrays["kept"], _read(arrays["nonlinearity"]), arrays["position"], arrays["normalised"])


def gather_samples(
    partials: Iterable[Mapping[str, np.ndarray]], key: Key, network: int, kind: str = "samples"
) -> Gathered:
    """The chosen samples of one network's layer, of one of `raycv.stages.collect.collector.KINDS`.

    Raises ValueError where a sample is missing or occurs twice.
    """
    ranks, positions, values = [], [], []
    nonlinearity, normalised = None, np.empty((2, 0), np.float32)
    for arrays in partials:
        nonlinearity = _of(arrays, key, network)
        if f"normalised/{key}/{network}" in arrays:
            normalised = arrays[f"normalised/{key}/{network}"]
        ranks.append(arrays[f"{kind}/{key}/rank"])
        positions.append(arrays[f"{kind}/{key}/position"])
        if f"{kind}/{key}/{network}" in arrays:
            values.append(arrays[f"{kind}/{key}/{network}"])
        else:
            values.append(arrays[f"rows/{key}/{network}"][arrays[f"{kind}/{key}/image"]])
    rank = np.concatenate(ranks)
    if not np.array_equal(np.sort(rank), np.arange(len(rank))):
        raise ValueError(f"not every sample of {key} occurs exactly once")
    gathered = np.empty((len(rank), values[0].shape[1]), dtype=values[0].dtype)
    gathered[rank] = np.concatenate(values)
    position = np.empty(len(rank), dtype=np.int64)
    position[rank] = np.concatenate(positions)
    return Gathered(gathered, nonlinearity, position, normalised)


def after(before: np.ndarray, nonlinearity: NonLinearity) -> np.ndarray:
    """The activations after a non-linearity, in memory of their own."""
    return nonlinearity(torch.from_numpy(before)).numpy()


def _of(arrays: Mapping[str, np.ndarray], key: Key, network: int) -> NonLinearity | None:
    """Before which non-linearity rows and samples of a partial are."""
    return _read(arrays.get(f"nonlinearity/{key}/{network}"))


def _text(nonlinearity: NonLinearity | None) -> str:
    return "" if nonlinearity is None else nonlinearity.text()


def _read(text: np.ndarray | None) -> NonLinearity | None:
    return None if text is None or not str(text) else NonLinearity.from_text(str(text))


def reduce_part(
    partials: Iterable[Mapping[str, np.ndarray]],
    key: Key,
    part: Part,
    pilot: Sequence[np.ndarray],
    device: torch.device,
) -> Arrays:
    """One part of the moments of one layer of one group over ``partials``, named arrays in shard order.

    ``pilot``: of each network's units (S_n,). Raises ValueError where there are no partials.
    """
    found: Arrays | None = None
    rows: _Rows | None = None
    for arrays in partials:
        if f"rows/{key}/0" not in arrays:
            found = added(found, cut(arrays, f"moments/{key}/", part))
            continue
        rows = rows or _Rows(part, pilot, device)
        rows.add({n: _rows_of(arrays, key, n) for n in rows.pilot})
    if rows is not None:
        return rows.arrays()
    if found is None:
        raise ValueError(f"no partials to reduce for {key}")
    return found


def reduce_sums(
    partials: Iterable[Mapping[str, np.ndarray]], key: Key, pilot: Sequence[np.ndarray], device: torch.device
) -> Arrays:
    """The sums of single units of one layer of one group over ``partials``, named as in `raycv.statistics.parts`.

    ``pilot``: of each network's units (S_n,). Raises ValueError where there are no partials.
    """
    found: Arrays | None = None
    for arrays in partials:
        more: Arrays = {}
        for n, of_net in enumerate(pilot):
            if f"rows/{key}/{n}" in arrays:
                sums = sums_of([torch.from_numpy(_rows_of(arrays, key, n)).to(device)], of_net)
                more |= {f"{n}/{name}": getattr(sums, name) for name in parts.OF_UNITS[:-1]} | {"count": sums.count}
                more[f"{n}/squares"] = sums.blocks[0, 0].diagonal()
            else:
                names = ("count", *(f"{n}/{name}" for name in parts.OF_UNITS))
                more |= {name: arrays[f"moments/{key}/{name}"] for name in names}
        found = added(found, more)
    if found is None:
        raise ValueError(f"no partials to reduce for {key}")
    return found


def _rows_of(arrays: Mapping[str, np.ndarray], key: Key, network: int) -> np.ndarray:
    """The activations (n, S) of a fully connected layer in the images of a partial."""
    rows, nonlinearity = np.asarray(arrays[f"rows/{key}/{network}"]), _of(arrays, key, network)
    return rows if nonlinearity is None else after(rows, nonlinearity)


class _Rows:
    """The sums of one part over rows of a fully connected layer, in float64.

    Samples are few there, and a float32 product would lose units that seldom fire.
    """

    def __init__(self, part: Part, pilot: Sequence[np.ndarray], device: torch.device) -> None:
        self.part, self.device = part, device
        self.pilot = {n: torch.from_numpy(pilot[n]).to(device) for n in networks_of(part)}
        self.products = [
            torch.zeros(block.last - block.first, len(pilot[block.b]), dtype=torch.float64, device=device)
            for block in part
        ]
        self.sums: Arrays | None = None
        self.waiting: list[dict[int, np.ndarray]] = []

    def add(self, rows: dict[int, np.ndarray]) -> None:
        """Add rows (n, S) of every network of the part."""
        self.waiting.append(rows)
        if sum(len(next(iter(of_shard.values()))) for of_shard in self.waiting) >= ROWS_AT_ONCE:
            self._multiply()

    def arrays(self) -> Arrays:
        """The part as named arrays."""
        if self.waiting:
            self._multiply()
        found = dict(self.sums or {})
        for block, products in zip(self.part, self.products, strict=True):
            found[block.name] = products.cpu().numpy()
            if block.of_units:
                squares = found[block.name][:, block.first : block.last].diagonal()
                found[block.of_units["squares"]] = squares
        return found

    def _multiply(self) -> None:
        shifted: dict[int, Tensor] = {}
        active: dict[int, Tensor] = {}
        for n, pilot in self.pilot.items():
            values = torch.from_numpy(np.concatenate([of_shard[n] for of_shard in self.waiting])).to(self.device)
            active[n] = (values > 0).sum(0)
            shifted[n] = values.double().sub_(pilot)
        count = sum(len(next(iter(of_shard.values()))) for of_shard in self.waiting)
        self.waiting.clear()
        sums: Arrays = {"count": np.array(count)}
        for block, products in zip(self.part, self.products, strict=True):
            of_rows = shifted[block.a][:, block.first : block.last]
            products.addmm_(of_rows.T, shifted[block.b])
            if block.of_units:
                units = slice(block.first, block.last)
                about = {
                    "pilot": self.pilot[block.a][units],
                    "total": of_rows.sum(0),
                    "minimum": of_rows.amin(0),
                    "maximum": of_rows.amax(0),
                    "active": active[block.a][units],
                }
                sums |= {block.of_units[name]: values.cpu().numpy() for name, values in about.items()}
        self.sums = added(self.sums, sums)
