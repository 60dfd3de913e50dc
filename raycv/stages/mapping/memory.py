"""How much memory a trial of the sweep of mapping layers needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raycv.memory import FEWER_NETWORKS, Need
from raycv.stages.intended import Intended
from raycv.stages.registry import BY_NAME

REMEDY = f"use fewer --decays, {FEWER_NETWORKS}"
ROW = 240  # bytes of one weight among a trial's rows, in pandas and in what is written of them
IN_RUN = BY_NAME["sweep mapping"].in_run["solvers"]  # solvers where the settings do not say
NULLS = 16  # decays at which the nulls are followed


def trial_need(widths: Mapping[str, Sequence[int]], folds: Mapping[str, int], decays: int, solvers: int) -> Need:
    """What a trial of the widest layer needs; ``widths``: units of every network, ``folds``: of the statistics."""
    needed = [trial_bytes(max(of_layer), folds[layer], decays, solvers) for layer, of_layer in widths.items()]
    return Need.of(max(needed), REMEDY, "a trial")


def trial_bytes(units: int, folds: int, decays: int, solvers: int) -> int:
    """The peak, in bytes, beyond an idle process, for S units, F folds, D decays and as many rows as weights:

      (3·F + 8)·8·S²                  the pair's products in the statistics, and units mixed before the non-linearity
    + max(8·F, 4·F + 2·D + 40)·8·S²   products and covariances of the pair, by fold and without each fold; then the
                                      covariances, the weights of all decays and of the nulls, and what solving needs
    + 240·D·S²                        rows, by each solver; fewer where weights are zero
    """
    squares = 3 * folds + 8 + max(8 * folds, 4 * folds + 2 * decays + 2 * NULLS + 8)
    return (8 * squares + ROW * decays * solvers) * units**2


def planned(run: Intended) -> list[Need]:
    """What a trial of an intended run will need."""
    config = run.config
    return [trial_need(run.widths, run.folds, len(set(config.decays)), len(config.solvers or IN_RUN))]
