"""Rows of the table mappings: two layers, both solvers, both directions of one pair of networks."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from raycv.paper import SPARSE_DECAY

DECAYS = (0.0, 1e-3, SPARSE_DECAY, 0.1)
LOSSES = {  # of net1 -> net2; those of net2 -> net1 are 0.02 higher
    ("conv1", "exact"): (0.10, 0.11, 0.21, 0.50),
    ("conv1", "sgd"): (0.20, 0.21, 0.24, 0.50),
    ("fc6", "exact"): (0.20, 0.25, 0.30, 0.50),
    ("fc6", "sgd"): (0.40, 0.38, 0.29, 0.50),
}
UNITS = (128.0, 9.0, 2.5, 0.0)


def mappings() -> pd.DataFrame:
    rows = []
    for (layer, solver), (pair, higher) in product(LOSSES, (((1, 2), 0.0), ((2, 1), 0.02))):
        for decay, loss, units in zip(DECAYS, LOSSES[layer, solver], UNITS, strict=True):
            held = loss + higher + (6.0 if layer == "fc6" and decay == 0 else 0.01)
            width = 0.03 if solver == "exact" else np.nan
            rows.append(
                {
                    "layer": layer,
                    "source_net": f"net{pair[0]}",
                    "target_net": f"net{pair[1]}",
                    "solver": solver,
                    "decay": decay,
                    "sought": "",
                    "loss": loss + higher,
                    "heldout_loss": held,
                    "heldout_loss_low": held - width,
                    "heldout_loss_high": held + width,
                    "units_used": units,
                    "rotated_loss": loss + higher + 0.05 if solver == "exact" else np.nan,
                    "prerelu_loss": loss + higher + 0.03 if solver == "exact" and layer != "fc6" else np.nan,
                }
            )
    sought = rows[1] | {"decay": 0.0017, "sought": "units_used=4.7", "units_used": 4.7}
    return pd.DataFrame([*rows, sought])
