"""docs/findings.md says what its tables say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parent.parent


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("findings", ROOT / "scripts" / "findings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_page_follow_from_those_beside_it() -> None:
    findings = script()
    page = findings.PAGE.read_text()
    assert set(findings.BLOCKS) == {name for name in findings.BLOCKS if f"<!-- {name} -->\n|" in page}
    assert findings.filled(page, findings.Tables(findings.COPIES)) == page
