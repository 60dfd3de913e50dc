"""Spectral clustering against what a user would do instead, in ratios measured in one run.

``python -m benchmarks.spectral`` prints a Markdown table. Both sides of a row are timed in turn, and the
least of each counts.
"""

from __future__ import annotations

import os
import platform
import time
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, SpectralClustering

from raycv.analysis import spectral
from raycv.analysis.graphs import similarity_graph
from raycv.analysis.kmeans import kmeans

KS = range(2, 201)
THRESHOLD = 0.05
RESTARTS = 10


def correlations(units: int) -> NDArray[np.float64]:
    """Eight noisy copies of each of ``units`` / 8 signals."""
    rng = np.random.default_rng(0)
    signals = rng.standard_normal((600, units // 8))
    samples = np.repeat(signals, 8, axis=1) + 1.5 * rng.standard_normal((600, units))
    return np.asarray(np.corrcoef(samples.T))


def row(work: str, ours: Callable[[], object], other: str, theirs: Callable[[], object], repeats: int) -> None:
    """Time both in turn, ``repeats`` times, and print one line of the table from the least of each."""
    times: list[tuple[float, float]] = []
    for _ in range(repeats):
        start = time.perf_counter()
        ours()
        between = time.perf_counter()
        theirs()
        times.append((between - start, time.perf_counter() - between))
    a, b = np.min(times, axis=0)
    print(f"| {work} | {other} | {a:.3g} | {b:.3g} | {a / b:.2f} | {b / a:.1f} |", flush=True)


def main() -> None:
    """Measure and print."""
    warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
    print(f"{os.cpu_count()} cores, {platform.machine()}, vectors by numpy: {simd()}\n")
    print("| what raycv does | beside | raycv, s | beside, s | raycv / beside | beside / raycv |")
    print("|---|---|---|---|---|---|")
    sweeps()
    for k in (40, 100, 200):
        one_kmeans(k)
    for units in (4096, 8192):
        large_layer(units)


def sweeps() -> None:
    """The whole sweep over k against its k-means alone, and against scikit-learn called for every k."""
    correlation = correlations(768)
    weights = similarity_graph(correlation, THRESHOLD)
    embedding = embedded(correlation)

    def only_kmeans() -> None:
        for k in KS:
            kmeans(embedding[:, :k], k, restarts=RESTARTS, rng=np.random.default_rng([0, k]))

    def sklearn_each_k() -> None:
        for k in KS[::10]:
            SpectralClustering(k, affinity="precomputed", n_init=RESTARTS, random_state=0).fit(weights)

    def sweep(ks: range) -> None:
        spectral.sweep_clusters(correlation, 384, ks, threshold=THRESHOLD)

    row("sweep k = 2…200, 768 nodes", lambda: sweep(KS), "its k-means alone", only_kmeans, repeats=5)
    row(
        "sweep k = 2, 12…192",
        lambda: sweep(KS[::10]),
        "SpectralClustering for each k",
        sklearn_each_k,
        repeats=2,
    )


def one_kmeans(k: int) -> None:
    """One k-means with all its restarts against scikit-learn's, in time and in what it minimises."""
    points = np.ascontiguousarray(embedded(correlations(768))[:, :k])

    def ours() -> float:
        return float(kmeans(points, k, restarts=RESTARTS, rng=np.random.default_rng(0)).inertia.min())

    def theirs() -> float:
        return float(KMeans(k, n_init=RESTARTS, random_state=0).fit(points).inertia_)

    work = f"k-means, k = {k}, 768 nodes (inertia {ours() / theirs():.3f} of the other's)"
    row(work, ours, "sklearn KMeans", theirs, repeats=5)


def large_layer(units: int) -> None:
    """A layer of ``units`` / 2 in each net: the iterative solver against the dense one."""
    correlation = correlations(units)

    def iterative() -> object:
        spectral.DENSE_UP_TO = units - 1
        return spectral.spectral_clusters(correlation, units // 2, 100, threshold=THRESHOLD)

    def dense() -> object:
        spectral.DENSE_UP_TO = units
        return spectral.spectral_clusters(correlation, units // 2, 100, threshold=THRESHOLD)

    tracemalloc.start()
    iterative()
    peak = tracemalloc.get_traced_memory()[1] / correlation.nbytes
    tracemalloc.stop()
    work = f"k = 100, {units} nodes, iterative (peak memory beside the input: {peak:.1f} of it)"
    row(work, iterative, "the same with dense eigh", dense, repeats=1)


def embedded(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 200 eigenvectors of smallest eigenvalue."""
    return spectral.sweep_clusters(correlation, 384, [200], threshold=THRESHOLD)[0].spectrum.embedding


def simd() -> str:
    """The widest instruction set that numpy's dispatcher found on this machine."""
    config: dict[str, Any] = np.show_config(mode="dicts")  # type: ignore[assignment]
    return str(config["SIMD Extensions"]["found"][-1])


if __name__ == "__main__":
    main()
