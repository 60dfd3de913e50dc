"""Correlations of sparse features: raycv against the dense product of the same activations, and against SciPy's.

    python -m benchmarks.dictionaries

The others are timed for a part of the features of one dictionary, and the time is scaled to all of them.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from benchmarks.machine import best, in_words
from raycv.analysis.dictionaries import _Search

FEATURES, ACTIVE, SAMPLES, PART = 16_384, 64, (20_000, 200_000), 128
DENSE_SAMPLES = 4096  # of the dense product that is timed


def activations(samples: int, seed: int) -> csr_array:
    """(samples, features), of which some are active in each sample."""
    rng = np.random.default_rng(seed)
    numbers = (rng.random((samples, ACTIVE)) ** 2 * FEATURES).astype(np.int32)  # features of unequal rates
    values = rng.lognormal(0, 1, samples * ACTIVE)
    return csr_array((values, numbers.ravel(), np.arange(0, samples * ACTIVE + 1, ACTIVE)), (samples, FEATURES))


def row(samples: int) -> str:
    """One line of the table."""
    a, b = activations(samples, 0), activations(samples, 1)
    search, order = _Search(a, b), np.arange(samples)
    ours = best(lambda: search.best(order), 2)
    columns = np.random.default_rng(0).choice(FEATURES, PART, replace=False)
    some = a.tocsc()[:, columns]
    scipys = best(lambda: some.T @ b, 1) * a.nnz / some.nnz
    part = slice(0, min(samples, DENSE_SAMPLES))
    left, right = some[part].toarray().astype(np.float32), b[part].toarray().astype(np.float32)
    dense = best(lambda: left.T @ right, 1) * FEATURES / PART * samples / len(left)
    kept = (2 * (a.data.nbytes + a.indices.nbytes) + b.data.nbytes + b.indices.nbytes) / 2**20
    return f"| {samples:,} | {ours:.1f} | {dense / ours:,.0f} | {scipys / ours:.1f} | {kept:,.0f} |"


def main() -> None:
    """Print the table."""
    print(in_words())
    print("| samples | seconds | dense over raycv | SciPy over raycv | activations, MiB |")
    print("|---|---|---|---|---|")
    for samples in SAMPLES:
        print(row(samples), flush=True)


if __name__ == "__main__":
    main()
