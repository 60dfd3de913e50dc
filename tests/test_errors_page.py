"""The page of errors quotes sentences that the code can say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "errors.md").read_text()
QUOTED = [line.removeprefix("> ") for line in PAGE.splitlines() if line.startswith("> ")]
VALUE = "…"  # what is put into a sentence


def template(node: ast.expr) -> str | None:
    """A text of the source with `VALUE` for all that it is filled with; None for what is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) or VALUE for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = template(node.left), template(node.right)
        return "".join(side or VALUE for side in sides) if any(sides) else None
    return None


def templates() -> Iterator[str]:
    """All texts of the package."""
    for path in (ROOT / "raycv").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            said = template(node) if isinstance(node, ast.expr) else None
            if said:
                yield said


SAID = set(templates())


def test_the_page_has_what_people_meet() -> None:
    assert len(QUOTED) > 70
    assert len(set(QUOTED)) == len(QUOTED)


@pytest.mark.parametrize("sentence", QUOTED)
def test_what_it_quotes_is_said(sentence: str) -> None:
    assert re.search(r"\w{3,}.*\w{3,}", sentence)
    assert any(sentence in said for said in SAID)


def test_every_error_has_an_anchor_of_its_own() -> None:
    heads = re.findall(r"^### (.+)$", PAGE, re.MULTILINE)
    assert len(set(heads)) == len(heads) > 40
    parts = re.split(r"^### .+$", PAGE, flags=re.MULTILINE)[1:]
    assert all(re.search(r"^> ", part, re.MULTILINE) for part in parts)
