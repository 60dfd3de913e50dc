"""Runs whose statistics are written here: no network is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from raycv.analysis.accumulator import Accumulator
from raycv.networks.models import preprocessing_of
from raycv.networks.spec import NetworkSpec
from raycv.run.paths import NETS, Key, moments_path
from raycv.run.store import RunStore

LAYERS = ("conv1", "conv2")
WIDTHS = (14, 16, 14)


def make_run(folder: Path, layers: tuple[str, ...] = LAYERS) -> Path:
    """Three networks whose units follow four hidden causes; unit 0 of net1 is dead."""
    store = RunStore(str(folder))
    specs = [
        NetworkSpec(
            name=f"net{number}",
            model="small-alexnet",
            classes=10,
            seed=number,
            layers=layers,
            preprocessing=preprocessing_of("small-alexnet"),
            width=width,
        )
        for number, width in enumerate(WIDTHS, 1)
    ]
    for seed, layer in enumerate(layers):
        rng = np.random.default_rng(seed)
        causes = rng.standard_normal((4, 800))
        for fold in range(2):
            accumulator = Accumulator(WIDTHS, np.zeros(sum(WIDTHS), np.float32), torch.device("cpu"))
            part = causes[:, 400 * fold : 400 * (fold + 1)].T
            nets = [part[:, np.arange(width) % 4] + 0.9 * rng.standard_normal((400, width)) for width in WIDTHS]
            nets[0][:, 0] = 0.0
            accumulator.add([torch.from_numpy(np.maximum(net, 0).astype(np.float32)) for net in nets])
            store.write_arrays(
                moments_path("statistics/made", Key(NETS, layer), fold), accumulator.moments().arrays("moments")
            )
    store.write_json(
        "statistics/statistics.json",
        {
            "groups": {"nets": [spec.model_dump(mode="json") for spec in specs]},
            "folds": {f"nets/{layer}": 2 for layer in layers},
            "folder": "statistics/made",
            "images": 800,
        },
    )
    return folder
