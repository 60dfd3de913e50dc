"""The page of an attribution, from the kept tables, in a browser."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from raycv.stages.attribute.page import html
from tests.support.browser import chromium

KEPT = Path(__file__).parents[3] / "docs/findings/attribution-eight"

ROWS = (
    "const rows = table => [...table.rows].map(row => [...row.cells].map(cell => cell.innerText));"
    "return [...document.querySelectorAll('table')].map(rows)"
)


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    cells, contrasts = (pd.read_parquet(KEPT / f"{name}.parquet") for name in ("attribution_cells", "attribution"))
    return cells, contrasts


def test_the_page_shows_every_value_in_its_row_and_column(
    tables: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    cells, contrasts = tables
    file = tmp_path / "report.html"
    file.write_bytes(
        html("<i>mine</i>", cells, contrasts, {"All differences": (KEPT / "attribution.png").read_bytes()})
    )
    browser, driver = chromium()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(flag)
    with webdriver.Chrome(options=options, service=Service(driver)) as page:
        page.get(file.as_uri())
        assert page.find_element(By.TAG_NAME, "h1").text.endswith("<i>mine</i>")
        assert page.execute_script("return document.images[0].naturalWidth") > 100
        shown = page.execute_script(ROWS)
        assert not page.get_log("browser")  # type: ignore[no-untyped-call]
    first, excess, differences = shown[:3]
    assert [row[0] for row in first[1:]] == list(dict.fromkeys(cells["cell"]))
    rows = cells[cells["measure"] == "prerelu_excess"].set_index(["cell", "layer"])
    for name, *values in excess[1:]:
        for layer, text in zip(excess[0][1:], values, strict=True):
            row = rows.loc[(name, layer)]
            value, half = (float(part) for part in text.replace("−", "-").split("±"))
            assert value == pytest.approx(row["value"], abs=0.0006)
            assert half == pytest.approx((row["high"] - row["low"]) / 2, abs=0.0006)
    kept = contrasts[contrasts["measure"] == "prerelu_excess"].set_index(["cell", "against", "layer"])
    for name, *values in differences[1:]:
        for layer, text in zip(differences[0][1:], values, strict=True):
            row = kept.loc[(*name.split(" − "), layer)]
            assert text.replace("−", "-").split()[0] == f"{row['difference']:+z.3f}"


def test_found_differences_alone_are_bold_and_nothing_is_loaded(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    cells, contrasts = tables
    content = html("mine", cells, contrasts.assign(q_value=0.2), {}).decode()
    assert "<b>" not in content
    assert html("mine", cells, contrasts.assign(q_value=0.01), {}).decode().count("<b>") == len(contrasts)
    assert "http:" not in content.replace("http-equiv", "")
    assert "https:" not in content
    assert "<script" not in content
    assert html("mine", cells, contrasts.iloc[:0], {}).decode().count("<table>") == content.count("<table>") - 5
