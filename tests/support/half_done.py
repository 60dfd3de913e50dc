"""A run in which training has finished, the pass has failed, and several stages have left something."""

from __future__ import annotations

import numpy as np
import pandas as pd

from raycv.run import record, tables
from raycv.run.store import RunStore
from tests.support.runs import moments_of, specs, write_statistics

KEPT = {
    "networks/net1/weights.safetensors": 4000,
    "networks/net1/network.json": 30,
    "figures/training.png": 90,
    "report.html": 70,
}
LEFT = {
    "networks/training/0123456789abcdef/saved/net1/00001.safetensors": 8000,
    "statistics/0123456789abcdef/partials/shard-00000.npz": 200,
    "statistics/fedcba9876543210/nets/conv1/fold0-0.npz": 300,
    "sweeps/mapping-0123456789abcdef/conv1/net1-net2/done.json": 20,
    "patches-0123456789abcdef/conv1/0-00000.parquet": 60,
    "parts/prune-0123456789abcdef/conv1/net1/done.json": 50,
    "tables/.matchings/layer-conv1/matchings.parquet": 40,
}


def half_done(store: RunStore) -> dict[str, int]:
    """Write the run; returns the bytes of all files."""
    record.begin(store)
    for path, size in (KEPT | LEFT).items():
        store.write(path, b"x" * size)
    rows = {"net": ["net1"] * 3, "seed": 1, "epoch": [1, 2, 3], "train_loss": 1.0, "validation_loss": 1.0}
    rows |= {"validation_top1": 0.5, "seconds": 2.0}
    tables.write(store, "training", pd.DataFrame(rows))
    units = np.random.default_rng(0).random((50, 6))
    write_statistics(store, specs((3, 3), ("conv1",)), {"conv1": [moments_of([units[:, :3], units[:, 3:]])]})
    record.finish(store, "train", "0", {"seeds": [1, 2]}, {"seconds": {"start-up": 10.0, "training": 1190.5}})
    record.fail(store, "collect", "The bucket does not exist; create it.")
    return store.sizes()
