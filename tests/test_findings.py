"""README and the manual say what the tables say that are kept beside them."""

from __future__ import annotations

import importlib.util
import re
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


def test_the_tables_of_the_pages_follow_from_those_kept() -> None:
    findings = script()
    pages = [page.read_text() for page in findings.PAGES]
    assert set(findings.BLOCKS) == {name for page in pages for name in re.findall(r"<!-- (\w+) -->\n[|`]", page)}
    for page in pages:
        assert findings.filled(page, findings.Tables(findings.COPIES)) == page


def test_the_sentences_of_the_page_follow_from_them_too() -> None:
    findings = script()
    tables = findings.Tables(findings.COPIES)
    said = " ".join((ROOT / "docs" / "findings.md").read_text().split())
    rows = tables("alignment").query("similarity == 'correlation' and method == 'semi'")
    semi = rows.groupby("layer").mean(numeric_only=True)
    convolutional = [f"conv{n}" for n in range(1, 6)]
    assert (semi.loc[convolutional, "untrained_mean"] > semi.loc[convolutional, "mean"]).all()
    assert (
        f"({_short(semi.loc['conv3', 'untrained_mean'])} against {_short(semi.loc['conv3', 'mean'])} in conv3)" in said
    )
    assert semi["untrained_prerelu_excess"].abs().max() < 0.0055
    assert "their excess is within .005 of 0" in said
    order = semi.loc[convolutional, "prerelu_excess"]
    assert order.idxmax() == "conv1"
    assert order.idxmin() == "conv4"
    assert f"In fc7 little is left ({_short(semi.loc['fc7', 'prerelu_excess'], 3)})" in said
    mappings = tables("mappings").query("decay == 0").groupby(["solver", "layer"])["loss"].mean()
    badly = mappings["exact"].loc["conv3":"conv5"] / 0.5
    assert f"{100 * badly.min():.0f} to {badly.max():.0%} of the variance in conv3 to conv5" in said
    left = mappings["sgd"] - mappings["exact"]
    assert [_short(left[layer]) for layer in ("conv3", "conv4", "conv5")] == [".05", ".05", ".02"]
    settled = tables("epochs", "epochs").groupby(["epoch", "layer"])["settled"].mean()
    changing = 1 - settled[8].loc["conv1":"fc7"]
    assert f"{100 * changing.min():.0f} to {changing.max():.0%} of the units of conv1 to fc7 still change" in said


def _short(value: float, digits: int = 2) -> str:
    """0.467 is ".47"."""
    return f"{value:.{digits}f}".removeprefix("0")
