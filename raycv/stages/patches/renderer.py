"""The Ray actors that draw patches. Each holds the networks it has drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import ray
import torch

from raycv.data.preprocessing import centre
from raycv.data.sources import Source
from raycv.devices import kind, of_worker, settle
from raycv.networks.checkpoints import weights_of
from raycv.networks.deconvnet import Deconvnet
from raycv.networks.models import load_weights
from raycv.networks.spec import NetworkSpec
from raycv.networks.stored import StoredNetwork
from raycv.run import tables
from raycv.run.store import RunStore
from raycv.stages.patches.pictures import BATCH, encoded, shades

BOX = ("y0", "x0", "y1", "x1")


@dataclass(frozen=True)
class Chunk:
    """Some units of one layer of one network."""

    network: int
    layer: str
    first: int
    last: int

    @property
    def units(self) -> int:
        """How many."""
        return self.last - self.first

    def path(self, folder: str) -> str:
        """Where the rows are stored until all chunks are done."""
        return f"{folder}/{self.layer}/{self.network}-{self.first:05d}.parquet"


@dataclass(frozen=True)
class RenderingInputs:
    """What every actor needs to know."""

    store: RunStore
    folder: str
    networks: tuple[StoredNetwork, ...]
    source: Source
    use_gpu: bool


@ray.remote(max_restarts=-1, max_task_retries=0)
class PatchRenderer:
    """Holds the networks drawn last and draws what drives their units."""

    def __init__(self, drawing: RenderingInputs) -> None:
        self.drawing = drawing
        self.deconvnets: dict[int, Deconvnet] = {}

    def __repr__(self) -> str:
        return f"PatchRenderer({len(self.drawing.networks)} networks)"

    def ready(self) -> str:
        """Return, once the actor can work, the kind of device on which it does."""
        return kind(self.device)

    @property
    def device(self) -> torch.device:
        """Where networks run."""
        return of_worker(use_gpu=self.drawing.use_gpu)

    def draw(self, chunk: Chunk) -> None:
        """Store the rows of one chunk."""
        network = self.drawing.networks[chunk.network]
        if chunk.network not in self.deconvnets:
            settle(self.device)
            net = load_weights(network.spec, weights_of(self.drawing.store, network)).to(self.device)
            self.deconvnets[chunk.network] = Deconvnet(net, network.spec.output)
        filters = [
            ("net", "==", network.spec.name),
            ("layer", "==", chunk.layer),
            ("unit", ">=", chunk.first),
            ("unit", "<", chunk.last),
        ]
        rows = tables.read(self.drawing.store, "top_patches", filters=filters).sort_values(["unit", "rank"])
        frame = self._pictures(self.deconvnets[chunk.network], network.spec, chunk.layer, rows)
        tables.write_part(self.drawing.store, chunk.path(self.drawing.folder), "patch_pictures", frame)

    def _pictures(self, deconvnet: Deconvnet, spec: NetworkSpec, layer: str, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of some units of ``layer``; ``rows`` of top_patches, the nine of a unit together."""
        preprocessing = spec.preprocessing
        numbers, place = np.unique(rows["image"], return_inverse=True)
        pixels, labels = self.drawing.source.decode(numbers, preprocessing.resizing)
        inputs = preprocessing.evaluation(torch.from_numpy(pixels).to(self.device))
        start = centre(preprocessing.resize, preprocessing.crop, preprocessing.middle)
        pixels = pixels[:, start : start + preprocessing.crop, start : start + preprocessing.crop]
        units, at_row, at_column = (torch.tensor(rows[name].to_numpy()) for name in ("unit", "row", "col"))
        boxes = [(slice(t, b), slice(left, r)) for t, left, b, r in rows[list(BOX)].itertuples(index=False)]
        seen, signals = [pixels[n][box] for n, box in zip(place, boxes, strict=True)], []
        for first in range(0, len(rows), BATCH):
            part = slice(first, first + BATCH)
            given = (t[part].to(self.device) for t in (units, at_row, at_column))
            drives = deconvnet(spec.place(layer), inputs[place[part]], *given).permute(0, 2, 3, 1).cpu().numpy()
            signals += [signal[box] for signal, box in zip(drives, boxes[part], strict=True)]
        return pd.DataFrame(
            {
                "net": rows["net"],
                "unit": rows["unit"],
                "rank": rows["rank"],
                "label": labels[place],
                "method": deconvnet.method,
                "patch": [encoded(picture) for picture in seen],
                "drive": [
                    encoded(picture)
                    for unit in rows.groupby("unit", sort=False).indices.values()
                    for picture in shades([signals[n] * preprocessing.std for n in unit])
                ],
            }
        )
