"""Soft matching of units: raycv against POT called directly, and against SciPy's HiGHS on the whole linear program.

OMP_NUM_THREADS=1 python -m benchmarks.transport
"""

from __future__ import annotations

import numpy as np
import ot
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

from benchmarks.machine import best, in_words
from raycv.analysis.transport import uniform_plan

SIZES = ((144, 96), (256, 255), (1024, 1023))
LARGEST_PROGRAM = 256  # units; larger whole programs take minutes


def correlations(m: int, n: int) -> np.ndarray:
    """Between units of two networks, half of which have partners."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2000, m)), rng.standard_normal((2000, n))
    shared = min(m, n) // 2
    y[:, :shared] += x[:, :shared]
    return np.abs(np.corrcoef(x.T, y.T)[:m, m:])


def whole_program(similarity: np.ndarray) -> float:
    """The largest total similarity."""
    m, n = similarity.shape
    edges = np.arange(m * n)
    places = (np.concatenate([edges // n, m + edges % n]), np.concatenate([edges, edges]))
    masses = np.concatenate([np.full(m, 1 / m), np.full(n, 1 / n)])
    sums = coo_matrix((np.ones(2 * m * n), places)).tocsr()
    solved = linprog(-similarity.ravel(), A_eq=sums, b_eq=masses)  # type: ignore[call-overload]
    return float(-solved.fun)


def main() -> None:
    """Print the table."""
    print(in_words())
    print(
        "| units | raycv, ms | over POT | SciPy over raycv | largest difference of the values |\n|---|---|---|---|---|"
    )
    for m, n in SIZES:
        s, rows, columns = correlations(m, n), np.full(m, 1 / m), np.full(n, 1 / n)
        ours, pots = best(lambda s=s: uniform_plan(s), 7), best(lambda g=(rows, columns, -s): ot.emd(*g), 7)  # type: ignore[misc]
        values = [(plan * s).sum() for plan in (uniform_plan(s), ot.emd(rows, columns, -s, numItermax=10**7))]
        ratio = "–"
        if m <= LARGEST_PROGRAM:
            ratio = f"{best(lambda s=s: whole_program(s), 1) / ours:.0f}"  # type: ignore[misc]
            values.append(whole_program(s))
        print(f"| {m} x {n} | {1000 * ours:.1f} | {ours / pots:.2f} | {ratio} | {np.ptp(values):.0e} |", flush=True)


if __name__ == "__main__":
    main()
