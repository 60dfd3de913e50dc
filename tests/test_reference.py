"""The manual's pages of tables and flags say what schema and commands say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("page", ["tables.md", "flags.md"])
def test_the_pages_are_those_that_are_made(page: str) -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "reference" / page).read_text() == module.PAGES[page](), "run python scripts/reference.py"
