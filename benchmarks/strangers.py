"""Excess of networks that share nothing over units mixed before the non-linearity: `python -m benchmarks.strangers`.

Some minutes of one core. Layers of 48 units on the same 2,000 samples, with weights of several kinds
(`tests.support.strangers`): the mean excess and its standard error. Where the null is exact it is 0.
"""

from __future__ import annotations

import argparse
import logging

import numpy as np
import torch
from torch import nn

from tests.support.strangers import KINDS, pairs

FUNCTIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh)


def main() -> None:
    """Print the table."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=24)
    repetitions = parser.parse_args().repetitions
    torch.set_num_threads(1)
    logging.info(f"| weights | {' | '.join(function.__name__ for function in FUNCTIONS)} |")
    logging.info(f"|---|{'---|' * len(FUNCTIONS)}")
    for normalised in (False, True):
        for kind in KINDS:
            found = [pairs(kind, function, repetitions, normalised=normalised) for function in FUNCTIONS]
            cells = [f"{np.mean(one):+.3f} ± {np.std(one, ddof=1) / np.sqrt(len(one)):.3f}" for one in found]
            name = f"{kind}, then a batch normalisation" if normalised else kind
            logging.info(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
