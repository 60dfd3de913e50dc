"""The top patches as pictures, packed into sheets: one file for hundreds of them, each stored once."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from raycv.paper import TOP_PATCHES
from raycv.run import tables
from raycv.run.store import RunStore

LARGEST_TILE = 32  # pixels; larger pictures are shrunk to it
LARGEST_SAMPLED = 64  # the same of sampled images
SHEET = 1024  # pixels: no sheet is wider or higher, so that decoding one takes a browser a few milliseconds
LOSSLESS_BELOW = 9  # pixels: lossy compression would mix the colours of neighbouring tiles that small
QUALITY = {"patch": 70, "drive": 50}  # what drives a unit is noisy, and noise takes most of the bytes
LEAST_BYTES_PER_PIXEL = 0.08  # of a sheet at that quality
GREY = (128, 128, 128)


@dataclass(frozen=True)
class Sheets:
    """Distinct tiles in the order of their numbers, row by row, sheet by sheet.

    ``sheets`` are WebP; ``index`` holds for every network the tile's number of each unit and rank (S, ranks), -1
    where there is none.
    """

    columns: int
    per_sheet: int
    sheets: list[bytes]
    index: list[np.ndarray]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(len, self.sheets)) + sum(index.nbytes for index in self.index)


@dataclass(frozen=True)
class Pictures:
    """The pictures of one layer: ``ranks`` patches of every unit and what drives the unit in them (``method``)."""

    tile: int
    ranks: int
    method: str
    patches: Sheets
    drives: Sheets

    @property
    def size(self) -> int:
        """Bytes."""
        return self.patches.size + self.drives.size


def pictures_within(
    store: RunStore, nets: Sequence[str], widths: dict[str, list[int]], budget: float
) -> Iterator[tuple[str, Pictures | None]]:
    """The pictures of every layer, all in ``budget`` bytes; None for a layer of which not even one rank fits.

    ``widths``: units of each of ``nets``, by layer. What a narrow layer leaves of its equal share goes to the wider
    ones, so the widest layers are the first that have fewer than nine patches per unit.
    """
    for place, layer in enumerate(sorted(widths, key=lambda layer: sum(widths[layer]))):
        share = budget / (len(widths) - place)
        found = _pictures_of(store, layer, nets, widths[layer], share)
        budget -= found.size if found else 0
        yield layer, found


def _pictures_of(
    store: RunStore, layer: str, nets: Sequence[str], widths: Sequence[int], budget: float
) -> Pictures | None:
    first = tables.read(
        store, "patch_pictures", filters=[("layer", "==", layer), ("net", "==", nets[0]), ("rank", "==", 1)]
    )
    if first.empty:
        return None
    extent = max(max(_opened(content).size) for content in first["patch"])
    tile = min(LARGEST_TILE, extent)
    least = 2 * sum(widths) * tile**2 * LEAST_BYTES_PER_PIXEL
    ranks = min(TOP_PATCHES, int(budget / least))
    while ranks > 0:
        packing = {kind: Packing(tile, tile / extent, quality) for kind, quality in QUALITY.items()}
        for net, width in zip(nets, widths, strict=True):
            rows = tables.read(
                store,
                "patch_pictures",
                columns=["unit", "rank", *packing],
                filters=[("layer", "==", layer), ("net", "==", net), ("rank", "<=", ranks)],
            )
            places = rows["unit"].to_numpy(), rows["rank"].to_numpy() - 1
            for column, pack in packing.items():
                pack.add(rows[column].tolist(), places, (width, ranks))
        result = Pictures(tile, ranks, str(first["method"].iloc[0]), *(pack.sheets() for pack in packing.values()))
        if result.size <= budget:
            return result
        ranks = min(ranks - 1, int(ranks * budget / result.size))
    return None


def sampled(pictures: Sequence[bytes]) -> tuple[int, Sheets]:
    """The sampled images in their order, as the only tiles of sheets, and the side of a tile in pixels."""
    extent = max(max(_opened(content).size) for content in pictures)
    tile = min(LARGEST_SAMPLED, extent)
    packing = Packing(tile, tile / extent, QUALITY["patch"])
    packing.add(pictures, (np.arange(len(pictures)), np.zeros(len(pictures), dtype=int)), (len(pictures), 1))
    return tile, packing.sheets()


class Packing:
    """Collects the pictures of one kind and layer, network after network.

    ``tile``: pixels of a tile's side; ``scale``: by which every picture is shrunk; a smaller one stands in the middle.
    ``quality``: of WebP.
    """

    def __init__(self, tile: int, scale: float, quality: int) -> None:
        self.tile, self.scale, self.quality = tile, scale, quality
        self._numbers: dict[bytes, int] = {}  # a tile's number by its pixels
        self._index: list[np.ndarray] = []

    def add(self, pictures: Sequence[bytes], places: tuple[np.ndarray, np.ndarray], shape: tuple[int, int]) -> None:
        """PNG ``pictures`` of one network's (units, ranks - 1) ``places``; ``shape`` is (S, ranks)."""
        tiles: dict[bytes, bytes] = {}  # many units share an image: each is decoded once
        index = np.full(shape, -1, dtype=np.int32)
        for content, unit, rank in zip(pictures, *places, strict=True):
            if content not in tiles:
                tiles[content] = self._tile_of(content)
            index[unit, rank] = self._numbers.setdefault(tiles[content], len(self._numbers))
        self._index.append(index)

    def sheets(self) -> Sheets:
        """All that was added."""
        columns = SHEET // self.tile
        per_sheet = columns**2
        tiles = list(self._numbers)
        parts = [tiles[start : start + per_sheet] for start in range(0, len(tiles), per_sheet)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow encodes without the interpreter's lock
            sheets = list(pool.map(lambda part: self._sheet(part, columns), parts))
        return Sheets(columns, per_sheet, sheets, self._index)

    def _tile_of(self, content: bytes) -> bytes:
        picture = _opened(content).convert("RGB")
        if self.scale < 1:
            size = (max(1, round(picture.width * self.scale)), max(1, round(picture.height * self.scale)))
            picture = picture.resize(size, Image.Resampling.BOX)
        tile = Image.new("RGB", (self.tile, self.tile), GREY)
        tile.paste(picture, ((self.tile - picture.width) // 2, (self.tile - picture.height) // 2))
        return tile.tobytes()

    def _sheet(self, tiles: Sequence[bytes], columns: int) -> bytes:
        sheet = Image.new("RGB", (columns * self.tile, -(-len(tiles) // columns) * self.tile), GREY)
        for tile, (left, top) in zip(tiles, self._corners(columns), strict=False):
            sheet.paste(Image.frombytes("RGB", (self.tile, self.tile), tile), (left, top))
        buffer = io.BytesIO()
        sheet.save(buffer, "webp", quality=self.quality, lossless=self.tile < LOSSLESS_BELOW)
        return buffer.getvalue()

    def _corners(self, columns: int) -> Iterator[tuple[int, int]]:
        for number in range(columns**2):
            yield number % columns * self.tile, number // columns * self.tile


def _opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))
