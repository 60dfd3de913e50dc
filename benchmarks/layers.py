"""Do layers find their own kind in another network? `python -m benchmarks.layers runs/first docs/findings/first`.

The test of layer identification (Kornblith et al., 2019, section 6.1) between the networks of a run, all validation
images, one sample an image, all pairs of layers: trained networks, and the same ones before training. Writes the table
``layers_found.parquet``: networks (trained or untrained), by (the measure), net_a, net_b, layers, accuracy.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import raycv
from raycv.data.preprocessing import Resize
from raycv.data.readers import own_images
from raycv.data.sources import open_source
from raycv.networks.checkpoints import weights_of
from raycv.networks.models import load_weights, untrained
from raycv.networks.stored import stored
from raycv.run.store import RunStore

MEASURES = ("unbiased_cka", "mean")  # of the space; of units, the correlation with the best partner


def main() -> None:
    """Write and print the table."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    store = RunStore(given.run)
    networks = stored(store)
    images = list(_images(networks[0].spec.preprocessing))
    groups = {
        "trained": {one.spec.name: load_weights(one.spec, weights_of(store, one)) for one in networks},
        "untrained": {one.spec.name: untrained(one.spec) for one in networks},
    }
    rows = []
    for which, nets in groups.items():
        layers = list(networks[0].spec.layers)
        found = raycv.compare(nets, images, layers=layers, compare="all", positions="mean")
        for measure in MEASURES:
            rows.append(found.layer_identification(measure).assign(networks=which, by=measure))
    table = pd.concat(rows)
    table.to_parquet(given.folder / "layers_found.parquet", compression="zstd", index=False)
    print(table.groupby(["networks", "by"])["accuracy"].agg(["mean", "min", "max"]).round(3))


def _images(preprocessing: raycv.Preprocessing) -> Iterator[Tensor]:
    """What the networks see of the shipped validation images."""
    source = open_source(str(own_images()), "validation")
    for first in range(0, len(source), 256):
        pixels, _ = source.decode(np.arange(first, min(first + 256, len(source))), Resize(preprocessing.crop))
        yield preprocessing.evaluation(torch.from_numpy(pixels))


if __name__ == "__main__":
    main()
