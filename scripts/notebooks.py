"""Make pages of the manual of the notebooks, with the outputs stored in them: `python scripts/notebooks.py`.

The pages and their pictures go to docs/notebooks/, which git ignores: the notebooks themselves are what is kept.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def page(path: Path, folder: Path) -> None:
    """Write the page of one notebook into ``folder``, with its pictures beside it."""
    cells = json.loads(path.read_text())["cells"]
    parts: list[str] = []
    for number, cell in enumerate(cells):
        source = "".join(cell["source"]).strip("\n")
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif source:
            parts.append(fenced(source, "python"))
            parts += outputs(cell["outputs"], folder / f"{path.stem}-{number}.png")
    first, *rest = parts
    note = f"*This page is `notebooks/{path.name}` as it was last run.*"
    (folder / f"{path.stem}.md").write_text("\n\n".join([first, note, *rest]) + "\n")


def outputs(of_cell: list[dict[str, Any]], picture: Path) -> Iterator[str]:
    """The outputs of a cell as Markdown; a picture is written to a file, of which a cell has one at most."""
    for output in of_cell:
        data = output.get("data", {})
        if "image/png" in data:
            picture.write_bytes(base64.b64decode(data["image/png"]))
            yield f"![What the cell above draws]({picture.name})"
        else:
            yield fenced("".join(output.get("text") or data["text/plain"]).strip("\n"))


def fenced(text: str, language: str = "") -> str:
    """A block of code."""
    return f"```{language}\n{text}\n```"


def main(folder: Path = ROOT / "docs" / "notebooks") -> None:
    """Write all pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in NOTEBOOKS:
        page(path, folder)


if __name__ == "__main__":
    main()
