"""`raycv patches`: cut the top patches out of the images and draw what in them drives each unit."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import ray
import torch
from PIL import Image

from raycv import checkpoints, cluster, record, statistics, tables
from raycv.collect.pool import Pool
from raycv.config import PatchesConfig
from raycv.data import Source
from raycv.deconvnet import Deconvnet
from raycv.errors import UserError
from raycv.networks import load_weights
from raycv.progress import Progress, say
from raycv.store import RunStore

FORMAT = 1  # of the pictures; part of their identity
UNITS = 64  # drawn by an actor at once
BATCH = 128  # patches led back together
LARGEST = 96  # pixels; larger pictures are made smaller
LOSSLESS = 24  # pixels up to which a picture keeps every value
QUALITY = 90  # of larger pictures, in WebP
BOX = ("top", "left", "bottom", "right")
BRIGHTEST = 99.5  # percentile of a unit's signal that is drawn with full contrast


@dataclass(frozen=True)
class Chunk:
    """Some units of one layer of one network."""

    network: int
    layer: str
    first: int
    last: int

    def path(self, folder: str) -> str:
        """Where their rows stand until all are there."""
        return f"{folder}/{self.layer}/{self.network}-{self.first:05d}.parquet"


@dataclass(frozen=True)
class Drawing:
    """What every actor is told."""

    store: RunStore
    folder: str
    networks: tuple[checkpoints.StoredNetwork, ...]
    source: Source
    use_gpu: bool


def patches(config: PatchesConfig, store: RunStore) -> None:
    """Write the table patch_pictures from the table top_patches; only the images that stand in it are read again.

    Does nothing where the run already has these pictures; takes up what an interrupted run of the stage has drawn.
    Raises UserError where there are no top patches, or the images are not those of the pass.
    """
    began = time.time()
    if not store.exists("tables/top_patches"):
        raise UserError(f"The run {store.uri} has no top patches yet; run `raycv align` first.")
    found = statistics.read(store)
    identity = record.fingerprint(FORMAT, found.folder)
    if record.finished(store, "patches", identity):
        say(f"patches: already finished, nothing to do; see {store.locate('tables/patch_pictures')}")
        return
    rows = store.read_table("top_patches", columns=["net", "layer", "unit"])
    names = [spec.name for spec in found.groups["nets"]]
    units = rows.groupby(["net", "layer"], observed=True)["unit"].max() + 1
    chunks = [
        Chunk(network, layer, first, min(first + UNITS, units[name, layer]))
        for layer in found.layers
        for network, name in enumerate(names)
        for first in range(0, units[name, layer], UNITS)
    ]
    cluster.connect(store.uri)
    use_gpu = config.device == "gpu" or (config.device == "auto" and cluster.amount("GPU") > 0)
    folder = f"patches-{identity}"
    drawing = Drawing(store, folder, tuple(checkpoints.stored(store)), found.source(), use_gpu)
    there = set(store.list(folder))
    missing = [chunk for chunk in chunks if chunk.path(folder) not in there]
    actors = min(int(cluster.amount("GPU" if use_gpu else "CPU")) or 1, len(missing))
    pool = Pool(lambda: Artist.options(num_cpus=1, num_gpus=int(use_gpu)).remote(drawing), actors)  # type: ignore[attr-defined]
    with Progress("patches", int(units.sum()), "units") as progress:
        progress.resume_at(sum(c.last - c.first for c in chunks) - sum(c.last - c.first for c in missing))

        def count(chunk: Chunk, _result: None) -> None:
            progress.update(progress.done + chunk.last - chunk.first, chunk.layer)

        try:
            pool.run(missing, lambda actor, chunk: actor.draw.remote(chunk), count)
        finally:
            pool.close()

    def files() -> Iterator[tuple[str, pa.Table]]:
        for chunk in chunks:
            rows = tables.read_part(store, chunk.path(folder))
            yield f"layer={chunk.layer}/{names[chunk.network]}-{chunk.first:05d}", rows

    where = store.write_table("patch_pictures", files())
    facts = {"seconds": {"patches": round(time.time() - began, 1)}, "units": int(units.sum())}
    record.finish(store, "patches", identity, config.model_dump(mode="json"), facts)
    store.remove(folder)
    say(f"patches: {where}")


@ray.remote(max_restarts=-1, max_task_retries=0)
class Artist:
    """Holds the networks drawn last and draws what drives their units."""

    def __init__(self, drawing: Drawing) -> None:
        self.drawing = drawing
        self.device = torch.device("cuda" if drawing.use_gpu else "cpu")
        self.deconvnets: dict[int, Deconvnet] = {}

    def __repr__(self) -> str:
        return f"Artist({len(self.drawing.networks)} networks)"

    def ready(self) -> None:
        """Returns when it can work."""
        if not self.drawing.use_gpu:
            torch.set_num_threads(1)

    def draw(self, chunk: Chunk) -> None:
        """Store the rows of one chunk."""
        network = self.drawing.networks[chunk.network]
        if chunk.network not in self.deconvnets:
            net = load_weights(network.spec, checkpoints.weights_of(self.drawing.store, network)).to(self.device)
            self.deconvnets[chunk.network] = Deconvnet(net, network.spec.output)
        filters = [
            ("net", "==", network.spec.name),
            ("layer", "==", chunk.layer),
            ("unit", ">=", chunk.first),
            ("unit", "<", chunk.last),
        ]
        rows = self.drawing.store.read_table("top_patches", filters=filters).sort_values(["unit", "rank"])
        frame = self._pictures(self.deconvnets[chunk.network], chunk.layer, rows)
        tables.write_part(self.drawing.store, chunk.path(self.drawing.folder), "patch_pictures", frame)

    def _pictures(self, deconvnet: Deconvnet, layer: str, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of some units of ``layer``; ``rows`` of top_patches, the nine of a unit together."""
        preprocessing = self.drawing.networks[0].spec.preprocessing
        numbers, place = np.unique(rows["image"], return_inverse=True)
        pixels, _ = self.drawing.source.decode(numbers, preprocessing.resize)
        inputs = preprocessing.evaluation(torch.from_numpy(pixels).to(self.device))
        start = (preprocessing.resize - preprocessing.crop) // 2
        pixels = pixels[:, start : start + preprocessing.crop, start : start + preprocessing.crop]
        units, at_row, at_column = (torch.tensor(rows[name].to_numpy()) for name in ("unit", "row", "column"))
        boxes = [(slice(t, b), slice(left, r)) for t, left, b, r in rows[list(BOX)].itertuples(index=False)]
        seen, signals = [pixels[n][box] for n, box in zip(place, boxes, strict=True)], []
        for first in range(0, len(rows), BATCH):
            part = slice(first, first + BATCH)
            given = (t[part].to(self.device) for t in (units, at_row, at_column))
            drives = deconvnet(layer, inputs[place[part]], *given).permute(0, 2, 3, 1).cpu().numpy()
            signals += [signal[box] for signal, box in zip(drives, boxes[part], strict=True)]
        return pd.DataFrame(
            {
                "net": rows["net"],
                "unit": rows["unit"],
                "rank": rows["rank"],
                "method": deconvnet.method,
                "patch": [encoded(picture) for picture in seen],
                "drive": [
                    encoded(picture)
                    for unit in rows.groupby("unit", sort=False).indices.values()
                    for picture in shades([signals[n] * preprocessing.std for n in unit])
                ],
            }
        )


def shades(signals: list[np.ndarray]) -> list[np.ndarray]:
    """A unit's signals (h, w, 3) as pictures uint8: 128 where there is none, one contrast for all of them."""
    strength = np.concatenate([np.abs(signal).ravel() for signal in signals])
    brightest = np.percentile(strength[strength > 0], BRIGHTEST) if strength.any() else 1.0
    return [(128 + 127 * np.clip(signal / brightest, -1, 1)).astype(np.uint8) for signal in signals]


def encoded(picture: np.ndarray) -> bytes:
    """A picture (h, w, 3) uint8 as WebP, every value kept in small ones, made smaller where it is large."""
    image, buffer = Image.fromarray(picture), io.BytesIO()
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    image.save(buffer, "WEBP", lossless=max(image.size) <= LOSSLESS, quality=QUALITY, method=0)
    return buffer.getvalue()
