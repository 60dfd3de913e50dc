"""README and the manual say what the tables say that are kept beside them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

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


def test_the_sentences_of_readme_and_manual_follow_from_the_first_run() -> None:
    findings = script()
    tables = findings.Tables(findings.COPIES)
    pages = {path.stem: " ".join(path.read_text().split()) for path in (*findings.PAGES, ROOT / "docs" / "method.md")}
    last = tables("training", "first").sort_values("epoch").groupby("net")["validation_top1"].last()
    assert f"validation top-1 {100 * last.min():.1f} to {last.max():.1%}" in pages["README"]
    rows = tables("alignment_by_layer", "first").query(findings.SEMI).set_index(["quantity", "layer"])
    inner = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]
    excess = rows.loc["prerelu_excess"].loc[inner]
    assert (excess["networks_low"] > excess["untrained"]).all()
    assert set(excess.index[excess["value"] < 0.03]) == {"conv4", "fc6", "fc7"}
    assert rows.loc["estimated_share"].loc[inner, "value"].round(1).between(0.3, 0.7).all()
    named = rows.loc["beyond_chance"]["value"]
    assert named["conv2"] == pytest.approx(1 / 5, abs=0.02)
    assert named["conv1"] == pytest.approx(1 / 8, abs=0.005)
    assert named[["fc6", "fc7"]].max() < 0.005
    convolutional = inner[:5]
    mean = rows.loc["mean"].loc[convolutional]
    assert (mean["untrained"] > mean["value"]).all()
    losses = (
        tables("mappings", "first").query("decay == 0 and sought == ''").groupby(["solver", "layer"])["loss"].mean()
    )
    left = losses["exact"][convolutional[2:]] / 0.5
    assert (
        f"leaves {100 * left.min():.0f} to {left.max():.0%} of the other's variance in conv3 to conv5"
        in pages["mapping"]
    )
    most = (losses["sgd"] - losses["exact"])[convolutional].max()
    assert f"the optimiser adds at most {most:.3f}" in pages["mapping"]
    conv1 = tables("alignment", "first").query(f"{findings.SEMI} and layer == 'conv1'")
    half, spread = (conv1["mean_high"] - conv1["mean_low"]).mean() / 2, conv1["mean"].std()
    assert f"±{_short(half, 3)}, and the standard deviation between pairs" in pages["method"]
    assert f"between pairs of networks is {_short(spread, 3)}" in pages["method"]


def _short(value: float, digits: int = 2) -> str:
    """0.467 is ".47"."""
    return f"{value:.{digits}f}".removeprefix("0")
