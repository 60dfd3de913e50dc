"""Reading images as a network wants them, against what one would write instead: `python -m benchmarks.ingest PHOTOS`.

PHOTOS is a folder of JPEG photographs. Images of each kind of source are decoded in a random order by one thread;
images per second of processor time. Then the same by two threads, wall time, which an idle machine is needed for.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import CenterCrop, Compose, PILToTensor
from torchvision.transforms.v2 import Resize as TorchResize

from benchmarks.machine import best, in_words
from raycv.config import PrepareConfig
from raycv.data.decoder import Decoder
from raycv.data.preprocessing import Encoding, Resize
from raycv.data.sources import Source, open_source
from raycv.run.store import RunStore
from raycv.stages.prepare.files import Folder, Maker, portions
from raycv.stages.prepare.stage import prepare

SIZE = 256
TIMES = 6  # how often each photograph is in the set


def tree(photos: Path, place: Path) -> Path:
    """The photographs as an ImageFolder tree of ten classes."""
    for n, photo in enumerate(sorted(path for path in photos.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))):
        for split, copies in (("train", TIMES), ("val", 1)):
            for copy in range(copies):
                to = place / split / f"class{n % 10}" / f"{n}-{copy}.jpg"
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(photo, to)
    return place


def prepared(data: Path, to: Path, encoding: Encoding) -> tuple[Path, float]:
    """Where the images are prepared, and how many a thread prepares in a second."""
    config = PrepareConfig(data=str(data), to=str(to), size=SIZE, format=encoding)
    store = RunStore(str(to))
    maker = Maker({"train": open_source(str(data), "train")}, Resize(SIZE, config.fit), encoding)
    validation = Maker({"validation": open_source(str(data), "validation")}, Resize(SIZE, config.fit), encoding)
    folder, began = Folder(store), time.process_time()
    for of in (maker, validation):
        for split, source in of.sources.items():
            for portion in portions(split, source, config):
                folder.keep(portion.name, of(portion))
        if of is maker:
            rate = len(source) / (time.process_time() - began)
    prepare(config, store)
    return to, rate


def parquet(data: Path, to: Path) -> Path:
    """JPEGs of `SIZE` pixels in Parquet as on the Hub, a hundred in a row group."""
    for split in ("train", "validation"):
        source = open_source(str(data), split)
        items = list(source.reader.items(np.arange(len(source))))
        stored = [{"bytes": item.content, "path": None} for item in items]
        table = pa.table({"image": stored, "label": [item.label for item in items]})
        to.mkdir(exist_ok=True)
        pq.write_table(table, to / f"{split}.parquet", row_group_size=100)
    return to


def by_pillow(data: Path) -> Callable[[], object]:
    """As one would write it with Pillow."""
    files = sorted((data / "train").rglob("*.jpg"))

    def work() -> None:
        for n in order(len(files)):
            np.asarray(Image.open(files[n]).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))

    return work


def by_torchvision(data: Path) -> Callable[[], object]:
    """torchvision's ImageFolder in a DataLoader, in this process."""
    transform = Compose([TorchResize(SIZE), CenterCrop(SIZE), PILToTensor()])
    images = torchvision.datasets.ImageFolder(str(data / "train"), transform)
    loader = DataLoader(images, batch_size=64, shuffle=True)
    return lambda: [len(batch) for batch in loader]


def by_raycv(data: Path, resize: Resize, *, exact: bool) -> Callable[[], object]:
    """As a training (not exact) or the pass reads images."""
    source = open_source(str(data), "train")

    def work() -> None:
        numbers = order(len(source))
        for start in range(0, len(numbers), 64):
            source.decode(numbers[start : start + 64], resize, exact=exact)

    return work


def by_ray_data(data: Path) -> float:
    """Images per second of wall time, by all cores, an epoch after the first."""
    ray.init(log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    images, rates = ray.data.read_images(str(data / "train"), size=(SIZE, SIZE), mode="RGB"), []
    for _ in range(3):
        began = time.perf_counter()
        count = sum(len(batch["image"]) for batch in images.iter_batches(batch_size=64))
        rates.append(count / (time.perf_counter() - began))
    ray.shutdown()
    return max(rates)


def order(images: int) -> np.ndarray:
    """A random one."""
    return np.random.default_rng(0).permutation(images)


def in_threads(source: Source, resize: Resize, threads: int) -> float:
    """Images per second."""
    decoder = Decoder(source, threads)
    rates = []
    for _ in range(4):
        began = time.perf_counter()
        for part in decoder.begin(order(len(source)), resize, exact=False):
            part.result()
        rates.append(len(source) / (time.perf_counter() - began))
    decoder.close()
    return max(rates)


def measure(photos: Path, place: Path) -> dict[str, Any]:
    """All tables."""
    data = tree(photos, place / "tree")
    jpeg, rate = prepared(data, place / "jpeg", "jpeg95")
    raw, rate_raw = prepared(data, place / "raw", "raw")
    images = len(open_source(str(data), "train"))
    squash, short = Resize(SIZE), Resize(SIZE, "short-side")
    ways = {
        "photographs, Pillow": by_pillow(data),
        "photographs, torchvision's ImageFolder and DataLoader": by_torchvision(data),
        "photographs, the pass (squashed)": by_raycv(data, squash, exact=True),
        "photographs, the pass (short side)": by_raycv(data, short, exact=True),
        "photographs, training (short side)": by_raycv(data, short, exact=False),
        "256-pixel JPEG, Parquet": by_raycv(parquet(jpeg, place / "parquet"), squash, exact=False),
        "256-pixel JPEG, prepared": by_raycv(jpeg, squash, exact=False),
        "256-pixel raw, prepared": by_raycv(raw, squash, exact=False),
    }
    found: dict[str, Any] = {"machine": in_words(), "images": images}
    found["images/s of one core"] = {name: round(images / best(work)) for name, work in ways.items()}
    found["prepare, images/s of one core"] = {"jpeg95": round(rate), "raw": round(rate_raw)}
    found["threads 1, 2: images/s"] = {
        name: [round(in_threads(open_source(str(where), "train"), resize, threads)) for threads in (1, 2)]
        for name, where, resize in (("photographs", data, short), ("jpeg", jpeg, squash), ("raw", raw, squash))
    }
    found["Ray Data, all cores: images/s"] = round(by_ray_data(data))
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(sys.argv[1]), Path(folder)), indent=2))
