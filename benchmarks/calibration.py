"""Whether the test of single units keeps its rate: `python -m benchmarks.calibration`, some ten minutes of one core.

Pairs of networks that share nothing are compared by `raycv.compare`: in how many repetitions is any unit said to have a
partner at a false discovery rate of 5%, and how many units. Beside it, how many of planted copies (correlated by .95)
are found among as many units that have none, and how many of all units found are no copies.
"""

from __future__ import annotations

import argparse
import logging

import numpy as np

import raycv
from raycv.analysis.significance import FALSE_DISCOVERIES
from tests.support.unlike import NULLS, with_copies

COPIES = 24


def found(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(S,): which units of a have a partner in b."""
    rows = raycv.compare({"a": a.astype(np.float32), "b": b.astype(np.float32)}).matching().query("net_a == 'a'")
    return (rows["q_value"] <= FALSE_DISCOVERIES).to_numpy()


def main() -> None:
    """Print the table."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=100)
    repetitions = parser.parse_args().repetitions
    logging.info("| units | repetitions with a discovery | units, share | copies found | of all found, no copies |")
    logging.info("|---|---|---|---|---|")
    for name, generator in NULLS.items():
        nulls = [found(generator(rng), generator(rng)) for rng in map(np.random.default_rng, range(repetitions))]
        rngs = map(np.random.default_rng, range(repetitions, repetitions + max(1, repetitions // 5)))
        copies = [found(*with_copies(generator, rng, COPIES)) for rng in rngs]
        power = np.mean([one[:COPIES].mean() for one in copies])
        false = np.mean([one[COPIES:].sum() / max(1, one.sum()) for one in copies])
        any_found = np.mean([one.any() for one in nulls])
        logging.info(f"| {name} | {any_found:.2f} | {np.mean(nulls):.4f} | {power:.3f} | {false:.3f} |")


if __name__ == "__main__":
    main()
