"""The samples in which each unit is most active, found as the data passes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from raycv.paper import TOP_PATCHES


class TopSamples:
    """Of every layer the samples of each unit's largest activations, each sample at its best position.

    ``ids`` (n,): the names of all samples that came, if they have any.
    """

    def __init__(self) -> None:
        self._values: dict[str, Tensor] = {}  # (9 at most, S)
        self._samples: dict[str, Tensor] = {}
        self._positions: dict[str, Tensor] = {}
        self._ids: list[np.ndarray] = []
        self._seen = 0

    def update(self, ids: np.ndarray | None, activations: Mapping[str, Tensor], mask: Tensor | None = None) -> None:
        """Add a batch: of every layer the activations (n, S, ...) of the same samples.

        ``mask``: of sequences, which positions count (n, T).
        """
        for name, given in activations.items():
            values = given.detach()
            if mask is not None and not mask.all():
                values = values.masked_fill(~mask.to(values.device)[:, None], -torch.inf)
            best, place = values.flatten(2).max(2) if values.ndim > 2 else (values, None)
            best = best.cpu().to(torch.float64 if best.dtype == torch.float64 else torch.float32)
            place = torch.zeros(best.shape, dtype=torch.int64) if place is None else place.cpu()
            self._add(name, best, place)
        count = len(next(iter(activations.values())))
        if ids is not None:
            names = np.asarray(ids)
            self._ids.append(names.astype(str) if names.dtype == object else names)  # objects would be pickled
        self._seen += count

    def _add(self, name: str, best: Tensor, place: Tensor) -> None:
        numbers = torch.arange(self._seen, self._seen + len(best))[:, None].expand_as(best)
        if name in self._values:
            best = torch.cat([self._values[name], best])
            numbers = torch.cat([self._samples[name], numbers])
            place = torch.cat([self._positions[name], place])
        chosen = best.topk(min(TOP_PATCHES, len(best)), dim=0)
        self._values[name] = chosen.values
        self._samples[name], self._positions[name] = numbers.gather(0, chosen.indices), place.gather(0, chosen.indices)

    def of(self, name: str, unit: int) -> pd.DataFrame:
        """One row per sample, the largest activation first."""
        samples = self._samples[name][:, unit].numpy()
        found = {"rank": np.arange(1, len(samples) + 1), "sample": samples}
        if self._ids:
            found["id"] = np.concatenate(self._ids)[samples]
        positions, values = self._positions[name][:, unit].numpy(), self._values[name][:, unit].numpy()
        rows = pd.DataFrame(found | {"position": positions, "value": values})
        return rows[rows["value"] > -np.inf].reset_index(drop=True)  # but sequences of which no position counts

    def arrays(self) -> dict[str, np.ndarray]:
        """All that is kept, for storage, in the order of the layers."""
        found = {"ids": np.concatenate(self._ids)} if self._ids else {}
        for n, name in enumerate(self._values):
            kept = {"value": self._values[name], "sample": self._samples[name], "position": self._positions[name]}
            found |= {f"{n}/{what}": values.numpy() for what, values in kept.items()}
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], names: list[str]) -> TopSamples:
        """What ``arrays`` gave of the layers ``names``; nothing can be added."""
        made = cls()
        made._ids = [arrays["ids"]] if "ids" in arrays else []
        for n, name in enumerate(names):
            made._values[name], made._samples[name], made._positions[name] = (
                torch.from_numpy(arrays[f"{n}/{what}"]) for what in ("value", "sample", "position")
            )
        return made
