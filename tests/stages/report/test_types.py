"""The page's data are what the script's types say, by which `.ci/run` checks it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from raycv.run.store import RunStore
from tests.support.report_run import write_run, written

TYPES = (Path(__file__).parents[3] / "raycv/stages/report/page/payload.d.ts").read_text()


def fields(name: str) -> set[str]:
    """Those of an interface."""
    found = re.search(rf"^interface {name} \{{([^\n]+\}}$|.*?^\}})", TYPES, re.MULTILINE | re.DOTALL)
    assert found, name
    flat = re.sub(r"\{[^{}]*\}", "", re.sub(r"//.*", "", found[1]))
    return set(re.findall(r"(\w+)\??:", flat))


def averages() -> set[str]:
    union = re.search(r"^type Average =(.*?);", TYPES, re.MULTILINE | re.DOTALL)
    assert union
    return set(re.findall(r'"(\w+)"', union[1])) | {"layer", "before_range", "after_range", "intervals"}


def test_the_page_holds_what_its_types_say(tmp_path: Path) -> None:
    store = write_run(RunStore(str(tmp_path / "run")))
    written(store)
    elements = re.findall(
        r'<script type="application/json" id="([^"]+)">(.*?)</script>', store.read("report.html").decode()
    )
    held: dict[str, Any] = {name: json.loads(text) for name, text in elements}
    run, layer = held["run"], held["layer-0"]
    assert set(run) == fields("Run")
    assert [set(row) for row in run["averages"]] == [averages()] * len(run["layers"])
    assert set(layer) == fields("LayerData") - {"contexts"}  # which language models have
    assert {name for match in layer["partners"][0][1].values() for name in match} == fields("Match")
    assert set(layer["correlations"][0][1]) == set(layer["weights"][0][1]) == fields("Packed")
    assert set(layer["clusters"][0][1][0]) == fields("Clustering")
    assert set(layer["pictures"]) == fields("Pictures")
    assert set(layer["pictures"]["patches"]) == fields("Sheets")
    assert set(run["about"]) == fields("About")
    assert set(layer["sample"]) == {"images", "boxes", "nets"}
    assert set(layer["sample"]["nets"][0]) == {"low", "high", "values", "box"}
    assert "box" not in held["layer-1"]["sample"]["nets"][0]  # its units see everything
