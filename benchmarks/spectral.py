"""Spectral clustering against what a user would do instead, in ratios measured in one run.

``python -m benchmarks.spectral`` prints a Markdown table. Every figure is the least of its repeats.
"""

from __future__ import annotations

import os
import platform
import time
import tracemalloc
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
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
    return np.corrcoef((np.repeat(signals, 8, axis=1) + 1.5 * rng.standard_normal((600, units))).T)


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The least wall time of ``repeats`` calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def row(work: str, other: str, ours_s: float, other_s: float) -> None:
    """Print one line of the table."""
    print(
        f"| {work} | {other} | {ours_s:.3g} | {other_s:.3g} | {ours_s / other_s:.2f} | {other_s / ours_s:.1f} |"
    )


def main() -> None:
    """Measure and print."""
    warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
    print(f"{os.cpu_count()} cores, {platform.machine()}, vectors by numpy: {simd()}\n")
    print("| what raycv does | beside | raycv, s | beside, s | raycv / beside | beside / raycv |")
    print("|---|---|---|---|---|---|")

    correlation = correlations(768)
    weights = similarity_graph(correlation, THRESHOLD)
    spectrum = spectral.sweep_clusters(correlation, 384, [200], threshold=THRESHOLD)[0].spectrum
    embedding = spectrum.embedding

    def only_kmeans() -> None:
        for k in KS:
            kmeans(embedding[:, :k], k, restarts=RESTARTS, rng=np.random.default_rng([0, k]))

    def sklearn_each_k() -> None:
        for k in KS:
            SpectralClustering(k, affinity="precomputed", n_init=RESTARTS, random_state=0).fit(weights)

    sweep = seconds(lambda: spectral.sweep_clusters(correlation, 384, KS, threshold=THRESHOLD))
    row("sweep k = 2…200, 768 nodes", "its k-means alone", sweep, seconds(only_kmeans))
    row("the same sweep", "SpectralClustering for every k", sweep, seconds(sklearn_each_k, 1))
    for k in (40, 100, 200):
        points = np.ascontiguousarray(embedding[:, :k])
        ours = kmeans(points, k, restarts=RESTARTS, rng=np.random.default_rng(0)).inertia.min()
        theirs = KMeans(k, n_init=RESTARTS, random_state=0).fit(points).inertia_
        row(
            f"k-means, k = {k}, 768 nodes (inertia {ours / theirs:.3f} of the other's)",
            "sklearn KMeans",
            seconds(lambda p=points, k=k: kmeans(p, k, restarts=RESTARTS, rng=np.random.default_rng(0))),  # type: ignore[misc]
            seconds(lambda p=points, k=k: KMeans(k, n_init=RESTARTS, random_state=0).fit(p)),  # type: ignore[misc]
        )

    for units in (4096, 8192):
        correlation = correlations(units)
        find = lambda c=correlation: spectral.spectral_clusters(c, len(c) // 2, 100, threshold=THRESHOLD)  # noqa: E731
        spectral.DENSE_UP_TO = 0
        tracemalloc.start()
        find()
        peak = tracemalloc.get_traced_memory()[1] / correlation.nbytes
        tracemalloc.stop()
        iterative = seconds(find, 1)
        spectral.DENSE_UP_TO = units
        work = f"k = 100, {units} nodes, iterative (peak memory {peak:.1f} matrices beside the input)"
        row(work, "the same, dense eigh", iterative, seconds(find, 1))


def simd() -> str:
    """The widest instruction set that numpy's dispatcher found on this machine."""
    found: list[str] = np.show_config(mode="dicts")["SIMD Extensions"]["found"]  # type: ignore[call-overload]
    return found[-1]


if __name__ == "__main__":
    main()
