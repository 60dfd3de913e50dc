"""Paths in a run's folder. No other module knows the names of the statistics files."""

from __future__ import annotations

from typing import NamedTuple

LEASES = "leases"  # who does which stage now
PARTS = "parts"  # STAGE-IDENTITY/...: what a stage that comes after a run has found before it has found all
STATISTICS = "statistics/statistics.json"  # written last: what the pass has left, and where
NETS, NULL = "nets", "null"  # the groups of networks that the pass compares: the trained ones, untrained ones
TESTED = (NETS, NULL)  # those whose single units are tested, by draws of their own
ACROSS = "across"  # every layer of the trained ones, each as a network of one layer
EPOCH = "epoch"  # and, with its number, the trained ones as they were after an epoch that training kept


class Key(NamedTuple):
    """One layer of one group of networks."""

    group: str
    layer: str

    def __str__(self) -> str:
        return f"{self.group}/{self.layer}"


def moments_path(folder: str, key: Key, fold: int, part: int) -> str:
    """One part of the moments of one fold (`raycv.statistics.parts`)."""
    return f"{folder}/{key}/fold{fold}-{part}.npz"


def sums_path(folder: str, key: Key, fold: int) -> str:
    """The sums of single units of one fold of eight, of a layer whose products are in fewer folds."""
    return f"{folder}/{key}/sums{fold}.npz"


def chance_path(folder: str, key: Key, network: int, part: int) -> str:
    """What some other networks have in common with chance in the place of one network."""
    return f"{folder}/{key}/chance{network}-{part}.npz"


def draws_path(folder: str, key: Key, network: int, part: int) -> str:
    """Draws by which single units of some other networks are tested against chance in the place of one network's."""
    return f"{folder}/{key}/draws{network}-{part}.npz"


def information_path(folder: str, layer: str, a: int, b: int, first: int) -> str:
    """The mutual information of networks a <= b, of a's units from ``first`` on."""
    return f"{folder}/{NETS}/{layer}/information{a}-{b}-{first}.npz"


def patches_path(folder: str, layer: str) -> str:
    """The top patches of all networks."""
    return f"{folder}/{NETS}/{layer}/patches.npz"


def samples_path(folder: str, layer: str, network: int) -> str:
    """A few samples of one network, for looking at them."""
    return f"{folder}/{NETS}/{layer}/samples{network}.npz"


def parts_folder(stage: str, identity: str) -> str:
    """Where ``stage`` keeps its parts until all are there."""
    return f"{PARTS}/{stage}-{identity}"
