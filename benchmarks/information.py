"""Mutual information of every pair of units: raycv against one library call per pair, on the same codes.

    python -m benchmarks.information

raycv is timed on all pairs and all cores, for counting and information together. The libraries are timed on a few
pairs on one core, and the time is scaled to all pairs. Each time is the shortest of several rounds in which all
take turns. Core time is what the process used on all cores, so it is meaningful on a busy machine too.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable

import numpy as np
import torch
from sklearn.metrics import mutual_info_score

from raycv.analysis.information import bin_edges, encode, pairwise_information

SAMPLES, BINS, ROUNDS, PAIRS = 60_000, 21, 5, 4


def rectified(units: int) -> np.ndarray:
    """Samples (samples, units) float32 of correlated units, active in 5% to 95% of them."""
    rng = np.random.default_rng(units)
    values = rng.standard_normal((SAMPLES, units), np.float32) + rng.standard_normal((SAMPLES, 1), np.float32)
    values += np.linspace(-2.3, 2.3, units, dtype=np.float32)
    np.maximum(values, 0, out=values)
    return values


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and core seconds of one call."""
    wall, core = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - core


def row(units: int) -> str:
    """One line of the table."""
    samples = rectified(2 * units)
    coding, _ = seconds(lambda: encode(samples, bin_edges(samples)))
    codes = encode(samples, bin_edges(samples))
    codes_a, codes_b = codes[::2], codes[1::2]
    some = [(codes_a[i], codes_b[-1 - i]) for i in range(0, units, units // PAIRS)]
    both = (0, BINS)
    pairwise_information(codes_a[:2], codes_b[:2], BINS)  # compiled or loaded
    works: tuple[tuple[Callable[[], object], float], ...] = (
        (lambda: pairwise_information(codes_a, codes_b, BINS), 1),
        (
            lambda: [np.histogram2d(a, b, bins=BINS, range=(both, both)) for a, b in some],
            units**2 / len(some),
        ),
        (lambda: [mutual_info_score(a, b) for a, b in some], units**2 / len(some)),
    )
    rounds = [[np.array(seconds(work)) * scale for work, scale in works] for _ in range(ROUNDS)]
    wall, core = np.min(rounds, axis=0).T
    raycv, histogram2d, score = core / units**2 / SAMPLES * 1e9
    return (
        f"| {units} | {wall[0]:.2f} | {coding / 2:.2f} | {wall[1] / wall[0]:.0f} x | "
        f"{wall[2] / wall[0]:.0f} x | {raycv:.2f} | {histogram2d:.0f} | {score:.0f} |"
    )


def main() -> None:
    """Print the table."""
    machine = f"{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}"
    print(f"{torch.get_num_threads()} threads of {machine}, {SAMPLES:,} samples\n")
    print(
        "| units | all pairs (s) | codes of a side (s) | vs histogram2d | vs mutual_info_score "
        "| core-ns per sample pair: raycv | histogram2d | mutual_info_score |"
    )
    print("|---" * 8 + "|")
    for units in (96, 256, 384):
        print(row(units), flush=True)


if __name__ == "__main__":
    main()
