"""Mapping layers and agglomeration against what a user would call instead, in ratios measured in one run.

``python -m benchmarks.mapping`` prints a Markdown table. Both sides of a row do the same work to the same accuracy
and are timed in turn, three times; the least of each counts.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform
from sklearn.linear_model import lasso_path as sklearn_path

from benchmarks import machine
from raycv.analysis.agglomeration import agglomerate
from raycv.analysis.mapping import lasso_path
from raycv.analysis.sgd import sgd_path

Floats = NDArray[np.float64]
DECAYS = np.geomspace(1e-2, 1e-5, 10)
ACCURACY = 1e-6  # largest violation of a KKT condition, over all targets and decays
REPEATS = 3
CONV1 = Path(__file__).parent.parent / "tests" / "data" / "conv1_correlations_recovered.npz"


def main() -> None:
    """Measure and print."""
    warnings.filterwarnings("ignore", module="sklearn")
    print(f"{machine.in_words()}, {torch.get_num_threads()} threads\n")
    print("| raycv | beside | beside / raycv, wall | processor time | KKT violation of raycv, of the other |")
    print("|---|---|---|---|---|")
    stored = np.load(CONV1)
    paths("conv1 (published)", stored["within_net1"].astype(float), stored["between_net1_net2"].astype(float))
    for units in (96, 256, 384):
        paths(f"{units} units", *correlations(units))
    gram, cross = correlations(96)
    wall, processor = ratios(lambda: lasso_path(gram, cross, DECAYS), lambda: sgd_path(gram, cross, DECAYS))
    print(f"| 96 units, 10 decays | `sgd_path` | {wall:.3g} | {processor:.3g} | |", flush=True)
    for units in (96, 384):
        trees(units)


def correlations(units: int) -> tuple[Floats, Floats]:
    """Correlations of two nets of rectified mixtures of the same signals with a falling spectrum; half are alike."""
    rng = np.random.default_rng(0)
    strengths = np.arange(1, 2 * units + 1) ** -0.5
    signals = rng.standard_normal((20_000, 2 * units)) * strengths
    a, b = rng.standard_normal((2, 2 * units, units))
    b[:, : units // 2] = a[:, : units // 2] + 0.5 * b[:, : units // 2]
    x, y = (np.maximum(signals @ mixture, 0) for mixture in (a, b))
    whole = np.corrcoef(x.T, y.T)
    return whole[:units, :units], whole[:units, units:]


def paths(name: str, gram: Floats, cross: Floats) -> None:
    """Ten decays of all targets against scikit-learn's path looped over targets, its ``tol`` as loose as will do."""
    alphas = DECAYS * cross.shape[1]
    root = np.linalg.cholesky(gram)
    x, y = np.asfortranarray(root.T), np.linalg.solve(root, cross)  # data with these correlations

    def beside(tol: float) -> Floats:
        found = []
        for c in range(cross.shape[1]):
            right = np.ascontiguousarray(cross[:, c])
            options = {"precompute": gram, "Xy": right, "alphas": alphas / len(gram), "tol": tol, "max_iter": 100_000}
            found.append(sklearn_path(x, y[:, c], **options)[1].T)
        return np.stack(found, 1)

    def ours() -> Floats:
        return np.array([layer.weights for layer in lasso_path(gram, cross, DECAYS)])

    tol = next(tol for tol in 10.0 ** -np.arange(6, 13) if violation(gram, cross, beside(tol), alphas) <= ACCURACY)
    wall, processor = ratios(ours, lambda: beside(tol))
    both = violation(gram, cross, ours(), alphas), violation(gram, cross, beside(tol), alphas)
    other = f"`sklearn.linear_model.lasso_path`, tol {tol:g}"
    print(f"| {name}, 10 decays | {other} | {wall:.3g} | {processor:.3g} | {both[0]:.0e}, {both[1]:.0e} |", flush=True)


def trees(units: int) -> None:
    """A sparse mapping layer's tree against scipy's, given its distances."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((units, units)) * (rng.random((units, units)) < 5 / units)
    distances = squareform(10 - np.block([[0 * weights, weights], [weights.T, 0 * weights]]), checks=False)
    wall, processor = ratios(lambda: agglomerate(weights), lambda: linkage(distances, "average"))
    print(f"| tree of {2 * units} units | `scipy` `linkage` | {wall:.3g} | {processor:.3g} | |", flush=True)


def violation(gram: Floats, cross: Floats, weights: Floats, alphas: Floats) -> float:
    """The largest violation of a KKT condition by ``weights`` (D, S_b, S_a)."""
    gradient, alpha = cross.T - weights @ gram, alphas[:, None, None]
    active, inactive = np.abs(gradient - alpha * np.sign(weights)), np.abs(gradient) - alpha
    return float(np.where(weights != 0, active, inactive).max())


def ratios(ours: Callable[[], object], beside: Callable[[], object]) -> tuple[float, float]:
    """The other side's least time over ours, of the wall clock and of the processors; both sides run in turn."""
    ours()
    times = np.empty((REPEATS, 2, 2))
    for repeat in range(REPEATS):
        for side, work in enumerate((ours, beside)):
            began = perf_counter(), process_time()
            work()
            times[repeat, side] = perf_counter() - began[0], process_time() - began[1]
    least = times.min(0)
    return float(least[1, 0] / least[0, 0]), float(least[1, 1] / least[0, 1])


if __name__ == "__main__":
    main()
