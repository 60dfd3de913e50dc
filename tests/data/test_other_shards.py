"""The manual's way from other libraries' shards to Parquet, as images that raycv reads."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from raycv.data.sources import open_source

PAGE = Path(__file__).parents[2] / "docs" / "images.md"


def test_pictures_and_labels_become_images_that_raycv_reads(tmp_path: Path) -> None:
    (code,) = [text for text in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "def write_" in text]
    given: dict[str, Any] = {}
    exec(code, given)
    counts = {"train": 1003, "validation": 1000}  # the last group of rows in part, and empty
    drawn = np.random.default_rng(0)
    pixels = {split: drawn.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8) for split, count in counts.items()}
    for split, of_split in pixels.items():
        pairs = ((Image.fromarray(one), np.int64(n % 7)) for n, one in enumerate(of_split))
        given["write_images"](pairs, tmp_path / "pictures", split)
    for split, of_split in pixels.items():
        source = open_source(str(tmp_path / "pictures"), split)  # type: ignore[arg-type]
        assert (len(source), source.classes) == (len(of_split), 7)
        found = list(source.reader.items(range(len(of_split))))
        files = [item.content for item in found if isinstance(item.content, bytes)]
        np.testing.assert_array_equal([np.asarray(Image.open(io.BytesIO(file))) for file in files], of_split)
        assert [item.label for item in found] == [n % 7 for n in range(len(of_split))]
