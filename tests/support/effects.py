"""Tables of the stages that come after a run, with values drawn at random, for what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd

ORDERS = ("partner_low", "partner_high", "excess_low", "redundancy", "activation", "weights", "random")
DECAYS = (0.0, 1e-3, 1e-2)


def effect_tables(layers: Sequence[str], nets: Sequence[str]) -> dict[str, pd.DataFrame]:
    """By name the tables that figures, report and notebook read."""
    rng = np.random.default_rng(0)

    def over_networks(keys: list[dict[str, Any]], *values: str) -> pd.DataFrame:
        frame = pd.DataFrame(keys)
        for value in values:
            frame[value] = rng.uniform(-0.5, 0, len(frame))
            frame[f"{value}_low"], frame[f"{value}_high"] = frame[value] - 0.1, frame[value] + 0.1
        return frame

    removed = [
        {"layer": layer, "removal_order": order, "fraction": fraction, "compensated": made_up}
        for layer, order, fraction, made_up in product(layers, ORDERS, (0.25, 0.5), (False, True))
    ]
    quantities = [f"{g}{e}" for g in ("matched", "unmatched", "recurring", "lonely") for e in ("", "_excess", "_even")]
    quantities += [f"unit_loss_by_{name}" for name in ("partner", "partner_given_std", "excess", "mean", "std")]
    groups = [{"layer": layer, "quantity": quantity, "units": 5.0} for layer, quantity in product(layers, quantities)]
    ways: list[tuple[str, float]] = [("mean", np.nan), ("matching", np.nan)]
    ways += [(way, decay) for way in ("mapping", "rescaled") for decay in DECAYS]
    joined = [{"layer": layer, "way": way, "decay": decay} for layer in layers for way, decay in ways]
    sets = [members for size in range(1, len(nets) + 1) for members in combinations(nets, size)]
    ensembles = pd.DataFrame({"nets": [",".join(members) for members in sets], "size": [len(m) for m in sets]})
    for name in ("loss", "top1", "member_loss", "member_top1", "top1_gain", "loss_gain"):
        ensembles[name] = rng.uniform(0, 1, len(sets))
    several = [",".join(members) for members in sets if len(members) > 1]
    agreement = pd.DataFrame(list(product(several, layers)), columns=["nets", "layer"])
    agreement["agreement"], agreement["excess"] = rng.uniform(0.3, 0.6, (2, len(agreement)))
    read = [{"net_a": net, "net_b": net, "way": "alone", "draw": 0, "units": 9} for net in nets]
    for a, b in combinations(nets, 2):
        read += [{"net_a": a, "net_b": b, "way": way, "draw": 0, "units": 18} for way in ("ensemble", "both")]
        kinds = product(("matched", "redundancy", "random"), (9, 14))
        read += [{"net_a": a, "net_b": b, "way": way, "draw": 0, "units": units} for way, units in kinds]
    read_outs = pd.DataFrame(read).assign(layer=layers[-1], penalty=0.01)
    read_outs["loss"], read_outs["top1"] = rng.uniform(0, 1, (2, len(read_outs)))
    return {
        "pruning_by_layer": over_networks(removed, "loss_change", "top1_change"),
        "ablation_by_layer": over_networks(groups, "value"),
        "ensembles": ensembles,
        "ensemble_agreement": agreement,
        "combinations": read_outs,
        "stitching_by_layer": over_networks(joined, "units_used", "prediction_loss", "loss_change", "top1_change"),
    }
