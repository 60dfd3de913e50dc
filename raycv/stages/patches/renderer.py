"""The Ray actors that draw patches and see how units respond to sampled images. Each holds the networks it has used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import ray
import torch

from raycv.analysis.top_patches import peaks
from raycv.data.preprocessing import centre
from raycv.data.sources import Source
from raycv.devices import kind, of_worker, settle
from raycv.networks.checkpoints import weights_of
from raycv.networks.deconvnet import Deconvnet
from raycv.networks.models import load_weights
from raycv.networks.places import activation_at
from raycv.networks.receptive import receptive_fields
from raycv.networks.spec import NetworkSpec
from raycv.networks.stored import StoredNetwork
from raycv.networks.taps import as_samples
from raycv.run import tables
from raycv.run.schema import MOST_SAMPLED
from raycv.run.store import RunStore
from raycv.stages.patches.pictures import BATCH, encoded, shades

BOX = ("y0", "x0", "y1", "x1")
EDGES = {"top_edge": "y0", "left_edge": "x0", "bottom_edge": "y1", "right_edge": "x1"}


@dataclass(frozen=True)
class Chunk:
    """Some units of one layer of one network."""

    network: int
    layer: str
    first: int
    last: int

    table: ClassVar[str] = "patch_pictures"

    @property
    def units(self) -> int:
        """How many."""
        return self.last - self.first

    def path(self, folder: str) -> str:
        """Where the rows are stored until all chunks are done."""
        return f"{folder}/{self.layer}/{self.network}-{self.first:05d}.parquet"


@dataclass(frozen=True)
class SampledLayer:
    """One layer of one network, whose units' activations in sampled images are kept."""

    network: int
    layer: str
    units: int

    table: ClassVar[str] = "sampled_activations"

    def path(self, folder: str) -> str:
        """Where the rows are stored until all layers are done."""
        return f"{folder}/{self.layer}/{self.network}-sampled.parquet"


@dataclass(frozen=True)
class RenderingInputs:
    """What every actor needs to know."""

    store: RunStore
    folder: str
    networks: tuple[StoredNetwork, ...]
    source: Source
    sampled: tuple[int, ...]  # numbers of the sampled images, in the order in which they were drawn
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
        spec = self.drawing.networks[chunk.network].spec
        filters = [
            ("net", "==", spec.name),
            ("layer", "==", chunk.layer),
            ("unit", ">=", chunk.first),
            ("unit", "<", chunk.last),
        ]
        rows = tables.read(self.drawing.store, "top_patches", filters=filters).sort_values(["unit", "rank"])
        frame = self._pictures(self._deconvnet(chunk.network), spec, chunk.layer, rows)
        tables.write_part(self.drawing.store, chunk.path(self.drawing.folder), chunk.table, frame)

    def sample(self, of: SampledLayer) -> None:
        """Store the activations of one layer's units in the sampled images."""
        spec = self.drawing.networks[of.network].spec
        frame = self._activations(self._deconvnet(of.network), spec, of)
        tables.write_part(self.drawing.store, of.path(self.drawing.folder), of.table, frame)

    def _deconvnet(self, number: int) -> Deconvnet:
        if number not in self.deconvnets:
            network = self.drawing.networks[number]
            settle(self.device)
            net = load_weights(network.spec, weights_of(self.drawing.store, network)).to(self.device)
            self.deconvnets[number] = Deconvnet(net, network.spec.output)
        return self.deconvnets[number]

    def _activations(self, deconvnet: Deconvnet, spec: NetworkSpec, of: SampledLayer) -> pd.DataFrame:
        """The rows of a layer, image after image."""
        images = self.drawing.sampled[: MOST_SAMPLED // of.units]
        fields, extent = receptive_fields(spec)[of.layer], spec.preprocessing.crop
        frames = []
        for first in range(0, len(images), BATCH):
            numbers = np.array(images[first : first + BATCH])
            pixels, _ = self.drawing.source.decode(numbers, spec.preprocessing.resizing)
            inputs = spec.preprocessing.evaluation(torch.from_numpy(pixels).to(self.device))
            with torch.no_grad():
                found = activation_at(deconvnet.net, spec.place(of.layer), spec.output, inputs)
            values, position = peaks(as_samples(found), len(numbers))
            boxes = fields.boxes(position.cpu().numpy().ravel().astype(np.int64))
            edges = {name: (boxes[edge] / extent).astype(np.float32) for name, edge in EDGES.items()}
            units = {"unit": np.tile(np.arange(of.units), len(numbers)), "image": np.repeat(numbers, of.units)}
            frames.append(pd.DataFrame({"net": spec.name} | units | {"value": values.cpu().numpy().ravel()} | edges))
        return pd.concat(frames)

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
