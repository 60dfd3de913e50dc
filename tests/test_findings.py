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


def test_the_sentences_of_the_page_follow_from_them_too() -> None:
    findings = script()
    tables = findings.Tables(findings.COPIES)
    said = " ".join(findings.PAGE.read_text().split())
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
    recurring = tables("recurrence_by_layer").pivot(index="layer", columns="quantity", values="value")
    inner = recurring.loc["conv2":"fc6"]
    low, high = inner["recurring_share"].min(), inner["recurring_share"].max()
    assert f"{100 * low:.0f} to {high:.0%} have one in all three others" in said
    assert f"at most {recurring['group_share'].drop('fc8').max():.0%} of the units" in said
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
