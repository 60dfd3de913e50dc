"""The run that settings ask for, before anything of it is there: what `raycv plan` asks every stage about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from raycv.config import RunConfig
from raycv.networks.spec import NetworkSpec
from raycv.statistics.folding import folds_of


@dataclass(frozen=True)
class Intended:
    """Its settings and networks, and how much there is to do.

    ``training`` (of one network) and ``validation`` are numbers of images, ``epochs`` passes over the former;
    ``training`` is 0 where the networks are imported. ``image_bytes``: of all files of images; ``weight_bytes``: of all
    networks.
    """

    config: RunConfig
    specs: Sequence[NetworkSpec]
    training: int
    validation: int
    epochs: int
    image_bytes: int
    weight_bytes: int

    @property
    def trained(self) -> int:
        """Images that all networks are trained on, over all epochs."""
        return self.training * self.epochs * len(self.specs)

    @cached_property
    def widths(self) -> Mapping[str, list[int]]:
        """The units of every network, by layer."""
        from raycv.networks.sizes import widths_of  # which needs PyTorch

        return widths_of(self.specs)

    @property
    def folds(self) -> dict[str, int]:
        """Into how many folds the moments of a layer are kept."""
        return {layer: folds_of(of_layer) for layer, of_layer in self.widths.items()}
