"""The report, read by a real browser: what it shows must be what the tables say."""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from raycv.cli import main
from raycv.run import record, tables
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.stages.report import payload
from raycv.stages.report.appendix import FIGURE_WIDTH
from raycv.stages.report.sprites import pictures_within
from tests.support.browser import MISSING, chromium
from tests.support.report_run import (
    CLASSES,
    CONV,
    DECAYS,
    FULL,
    GROUPS,
    NETS,
    PAPERS,
    SAMPLED,
    WIDTHS,
    activation,
    colour,
    partners,
    png,
    write_contexts,
    write_run,
    written,
)
from tests.support.s3_server import BUCKET, S3Server
from tests.support.tables import write_layers

AXE = Path(__file__).parents[2] / "assets/axe-core/axe.min.js"
DESK, PHONE = (1440, 900), (390, 844)


def place(layer: str, *parts: object, **options: str) -> str:
    """The part of the address that says what is in view."""
    query = "&".join(f"{name}={quote(value)}" for name, value in options.items())
    return (
        "#/" + "/".join(quote(str(part), safe="") for part in ("layer", layer, *parts)) + (f"?{query}" if query else "")
    )


class Page:
    """The report in a browser."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, store: RunStore, choice: str = "", size: tuple[int, int] = DESK, scheme: str = "light") -> Page:
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        self.driver.get("about:blank")  # or a change of choice alone would not load the page again
        self.errors()  # those of the test before
        self.driver.get(f"file://{store.locate('report.html')}{choice}")
        return self

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def tile(self, unit: int, net: int = 0) -> WebElement:
        return self.one(f"#wall .tile[data-unit='{unit}'][data-net='{net}']")

    def order(self) -> list[int]:
        """Units on the wall, as they stand."""
        units: list[int] = self.script("return [...document.querySelectorAll('#wall .tile')].map(t => +t.dataset.unit)")
        return units

    def select(self, name: str, text: str, within: str = "section:not([hidden])") -> None:
        Select(self.one(f"{within} select[name='{name}']")).select_by_visible_text(text)

    def chosen(self) -> str:
        """The chosen unit and where it is."""
        return self.one("#panel .head > div").text.replace("\n", ": ")

    def turns_to(self, unit: str) -> None:
        """Wait until ``unit`` is chosen: the browser says later, and not at once, that the address changed."""
        WebDriverWait(self.driver, 10).until(
            lambda _: self.script("return document.querySelector('#panel h2')?.textContent === arguments[0]", unit),
            f"{unit} is not chosen",
        )

    def partners(self) -> dict[str, tuple[int, str]]:
        """By network the partner of the chosen unit and what is said of it."""
        cards = self.all("#panel .partner[data-unit]")
        return {
            str(card.get_attribute("data-net")): (
                int(str(card.get_attribute("data-unit"))),
                " ".join(card.find_element(By.TAG_NAME, "dl").text.split()),
            )
            for card in cards
        }

    def in_sight(self, selector: str) -> bool:
        """Whether an element stands in the window without scrolling, top to bottom."""
        found: bool = self.script(
            "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return box.height > 0 && box.top >= 0 && box.bottom <= innerHeight && box.right <= innerWidth",
            selector,
        )
        return found

    def violations(self) -> list[str]:
        """What axe finds against the rules of accessibility of WCAG 2.2 AA, and against good practice."""
        self.script(AXE.read_text())
        found: list[str] = self.driver.execute_async_script(
            "const done = arguments[0];"
            "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],"
            "rules: {'label-content-name-mismatch': {enabled: true}}})"
            ".then(r => done(r.violations.flatMap(v => v.nodes.map(n => `${v.id}: ${n.html.slice(0, 120)}`))))"
        )
        return found

    def errors(self) -> list[Any]:
        """What the browser complained of since it was last asked."""
        found: list[Any] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return found

    def script(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    browser, driver = chromium()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1440,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    yield Page(chrome)
    chrome.quit()


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_without_a_browser_the_report_is_not_tested_but_in_ci_that_fails(
    ci: str, outcome: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match=MISSING):
        chromium()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    store = write_run(RunStore(str(tmp_path_factory.mktemp("report") / "a<b>run")))
    written(store)
    return store


def test_opens_from_disk_without_a_network_or_an_error(page: Page, store: RunStore) -> None:
    page.open(store)
    assert page.errors() == []
    assert page.script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    assert page.one("h1").text == "raycv a<b>run"
    assert len(store.read("report.html")) < 20e6
    assert store.read_json("run.json")["stages"]["report"]["bytes"] == len(store.read("report.html"))


def test_the_first_screen_says_what_the_run_found(page: Page, store: RunStore) -> None:
    page.open(store)
    first = page.one("#overview").text
    for fact in ("3 networks", "396 units in 2 layers", "2,000", "60.65%", "61.65%", "Health check passed"):
        assert fact in first
    said = "In conv1 units of two networks correlate with their best partner by 0.057 more than with units mixed after"
    assert page.one("#answer").text.startswith(said)
    about = page.one("#about").text
    for fact in ("data cifar10-subset", "model small-alexnet", "seeds 1, 2, 3", "3 epochs", "2,000 validation images"):
        assert fact in about
    assert "raycv run --run RUN --seeds 1,2,3 --epochs 3" in about
    for selector in ("#answer", ".chart", ".health", ".accuracies", ".next"):
        assert page.in_sight(selector), selector
    page.one("#overview summary").click()
    rows = tables.read(store, "alignment")
    semi = rows[(rows["similarity"] == "correlation") & (rows["method"] == "semi")]
    lines = {row.text.split()[0]: row.text for row in page.all(".numbers tbody tr")}
    for layer, of_layer in semi.groupby("layer"):
        assert f"{of_layer['mean'].mean():.3f} 0.123 – – +0.057 +0.012 50%" in lines[str(layer)].removeprefix("fc")


def test_a_layer_of_the_chart_leads_to_its_units(page: Page, store: RunStore) -> None:
    page.open(store)
    page.one(f".chart a.layer[data-layer='{CONV}']").send_keys(Keys.ENTER)
    WebDriverWait(page.driver, 10).until(lambda _: page.all("#wall .tile"))
    assert len(page.order()) == WIDTHS[CONV][0]
    assert "/layer/conv1/units/net1" in page.driver.current_url
    assert page.errors() == []


def test_names_from_the_run_are_never_markup(page: Page, store: RunStore) -> None:
    for view in ("", place(FULL, "units", "all"), place(FULL, "unit", "net1", 4), place(FULL, "clusters", *NETS[:2])):
        page.open(store, view)
        assert page.script("return document.querySelectorAll('i b, b b, h1 i, th i, h2 b, p b, option *').length") == 0
        assert page.errors() == []
    page.open(store)
    assert NETS[1] in page.one("#overview").text


def test_a_click_on_a_unit_shows_it_and_its_partners_in_sight(page: Page, store: RunStore) -> None:
    page.open(store, place(CONV, "units", "net1"))
    for unit in (3, 2):
        page.tile(unit).click()
        assert page.chosen() == f"In net1, conv1: unit {unit}"
        assert page.in_sight("#panel h2")
        assert all(page.in_sight(f"#panel .partner:nth-of-type({n})") for n in (1, 2))
        for net in NETS[1:]:
            other, value = partners(store, CONV, NETS[0], net, "correlation", "semi")[unit]
            back = partners(store, CONV, net, NETS[0], "correlation", "semi")[other][0] == unit
            excess, q = f"{value - 0.3:+.3f}".replace("-", "−"), "0.010" if unit % 2 else "0.200"
            chance = f"by chance 0.300 excess, mixed after {excess} q {q}"
            facts = f"correlation {value:.3f} {chance} mutual {'yes' if back else 'no'}"
            assert page.partners()[net] == (other, facts)
        assert page.driver.current_url.endswith(f"/layer/conv1/unit/net1/{unit}")
    page.select("matched", "by mutual information", "#panel")
    other, value = partners(store, CONV, NETS[0], NETS[2], "mutual_information", "semi")[2]
    assert page.partners()[NETS[2]][0] == other
    assert f"nats {value:.3f}" in page.partners()[NETS[2]][1]
    assert page.errors() == []


def test_the_address_keeps_the_choice_and_back_takes_it_back(page: Page, store: RunStore) -> None:
    page.open(store, place(FULL, "unit", "net3", 117))
    assert page.chosen() == f"In net3, {FULL}: unit 117"
    said = page.partners()
    assert said[NETS[1]][0] == partners(store, FULL, "net3", NETS[1], "correlation", "semi")[117][0]
    page.one("#panel .partner a").click()  # from the partner's side
    page.turns_to(f"unit {said['net1'][0]}")
    page.driver.back()
    page.turns_to("unit 117")
    assert page.partners() == said
    assert page.one("#wrong").text == ""


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "#/layer/nonsense/unit/nobody/99999?show=x&sort=y",
            "there is no layer “nonsense”; there is no network “nobody”",
        ),
        (place(CONV, "unit", "net1", 99), "conv1 of net1 has units 0 to 4, not “99”. Shown instead: Units of conv1."),
        (place(CONV, "pairs", "net1", "net9", 1, 1), "there is no network “net9”"),
        ("#/nowhere", "there is no view “nowhere”. Shown instead: Overview."),
        ("#/figures/17", "it has 3 figures, numbered from 0, not “17”"),
    ],
)
def test_an_address_that_does_not_fit_the_run_says_so(page: Page, store: RunStore, address: str, said: str) -> None:
    page.open(store, address)
    assert said in page.one("#wrong").text
    assert page.errors() == []
    page.one("#views a").click()
    WebDriverWait(page.driver, 10).until(lambda _: page.one("#wrong").text == "")


def test_every_view_has_a_title(page: Page, store: RunStore) -> None:
    titles = []
    there = [view for name, view in VIEWS.items() if not name.endswith("there is not")]
    for view in (*there, place(CONV, "unit", "net1", 3)):
        page.open(store, view)
        titles.append(page.driver.title)
    assert len(set(titles)) == len(titles)
    assert "unit 3 of net1 in conv1 – a<b>run – raycv" in titles


def test_keys_search_move_and_close(page: Page, store: RunStore) -> None:
    page.open(store, place(CONV, "units", "net1", sort="number"))
    assert page.order() == [0, 1, 2, 3, 4]
    body = page.one("body")
    body.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert page.chosen() == "In net1, conv1: unit 1"
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not page.one("#panel").is_displayed()
    page.driver.switch_to.active_element.send_keys("/")
    assert page.driver.switch_to.active_element.get_attribute("id") == "search"
    page.driver.switch_to.active_element.send_keys("4")
    assert page.order() == [4]
    assert page.driver.switch_to.active_element.get_attribute("id") == "search"
    page.one("#search").clear()
    page.one("#search").send_keys(Keys.BACKSPACE, "cat")  # most top patches of units 0 and 3 show class 0
    assert page.order() == [0, 3]


def test_units_are_sorted_and_filtered(page: Page, store: RunStore) -> None:
    page.open(store, place(FULL, "units", "net1"))
    assert page.order() == list(range(WIDTHS[FULL][0]))[::-1]  # excess rises with the number
    units = tables.read(store, "units")
    means = units[(units["layer"] == FULL) & (units["net"] == "net1")].set_index("unit")["mean"]
    page.select("Sort by", "mean activation")
    assert page.order() == means.sort_values(ascending=False).index.tolist()
    page.select("Show", "partner in every other network")
    assert sorted(page.order()) == [unit for unit in range(WIDTHS[FULL][0]) if unit % 3 == 2]
    page.select("Show", "rare or dead")
    assert sorted(page.order()) == [0, 1]
    page.select("Network", "all networks")
    assert len(page.order()) == 6
    page.tile(1, 2).click()
    assert page.chosen() == f"In net3, {FULL}: {CLASSES[1]}"
    assert "rare" in page.one("#panel .note").text
    assert len(page.order()) == 6
    url = page.driver.current_url
    page.open(store, url[url.index("#") :])
    assert len(page.order()) == 6


def test_of_too_many_networks_the_first_are_shown(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose units say in how many of all networks they recur."""
    monkeypatch.setattr(payload, "MOST_NUMBER_BYTES", 100_000)
    few = write_run(RunStore(str(tmp_path / "few")))
    written(few)
    page.open(few)
    first = page.one("#overview").text
    for fact in ("3 networks", "396 units", f"room for the units of 2 of them, {NETS[0]} to {NETS[1]};", "62.65%"):
        assert fact in first
    page.open(few, place(FULL, "unit", "net1", 5))
    assert list(page.partners()) == [NETS[1]]
    assert "recurs in 2 of 2" in " ".join(page.one("#panel").text.split())
    assert page.errors() == []
    page.open(few, place(CONV, "matrix", "net1", NETS[1]))
    assert page.errors() == []


def test_all_networks_are_shown_where_there_is_room() -> None:
    papers = {"conv": 1376, "fc6": 4096, "fc7": 4096, "fc8": 1000}
    for networks, shown in ((1, 2), (2, 2), (4, 4), (10, 4), (16, 4)):
        assert payload.networks_shown({layer: [width] * networks for layer, width in papers.items()}) == shown
    assert payload.networks_shown({"conv1": [6] * 16, "fc6": [304] * 16}) == 16
    assert payload.networks_shown({"wide": [100_000] * 3}) == 2


def test_logits_are_called_by_their_class(page: Page, store: RunStore) -> None:
    page.open(store, place(FULL, "unit", "net1", 1))
    assert page.chosen() == f"In net1, {FULL}: {CLASSES[1]}"
    assert page.one("#panel .classes").text == f"Top patches 6 {CLASSES[1]}, 3 {CLASSES[2]}"


def test_a_click_on_a_cell_of_the_map_opens_its_two_units(page: Page, store: RunStore) -> None:
    page.open(store, place(CONV, "matrix", "net1", "net3"))
    page.select("Order", "unit number")
    rows = tables.read(store, "correlations")
    rows = rows[(rows["layer"] == CONV) & (rows["net_a"] == "net1") & (rows["net_b"] == "net3")]
    value = rows[(rows["unit_a"] == 2) & (rows["unit_b"] == 3)]["value"].item()
    canvas = page.one("#map canvas")
    side, margin = canvas.size["width"], 44
    cell = (side - margin) / 5
    across, down = (margin + (n + 0.5) * cell - side / 2 for n in (3, 2))
    mouse = ActionChains(page.driver).move_to_element_with_offset(canvas, int(across), int(down))
    mouse.perform()
    said = page.one("#map-said").text
    assert said.startswith("unit 2 of net1 and unit 3 of net3: correlation ")
    assert abs(float(said.split()[-1].replace("−", "-")) - value) < 0.01
    mouse.click().perform()
    shown = [(card.get_attribute("data-net"), card.get_attribute("data-unit")) for card in page.all("#cell .partner")]
    assert shown == [("net1", "2"), ("net3", "3")]
    assert page.in_sight("#cell h2")
    assert page.driver.current_url.endswith("/matrix/net1/net3/2/3?order=number")
    page.one("#map canvas").send_keys(Keys.ARROW_DOWN, Keys.ENTER)
    assert page.driver.current_url.endswith("/matrix/net1/net3/3/3?order=number")
    page.select("Matrix", "mapping layer")
    assert page.one("#strongest h3").text == "Largest weights"
    weights = tables.read(store, "mapping_weights")
    weights = weights[
        (weights["layer"] == CONV) & (weights["target_net"] == "net1") & (weights["source_net"] == "net3")
    ]
    largest = weights[weights["decay"] == PAPERS].sort_values("weight", key=abs).iloc[-1]
    assert page.all(".pair")[0].text.split()[:3] == [str(largest["target_unit"]), "–", str(largest["source_unit"])]
    assert page.errors() == []


def test_all_pairs_are_listed_and_sorted(page: Page, store: RunStore) -> None:
    page.open(store, place(CONV, "pairs", "net1", "net3"))
    expected = dict(enumerate(partners(store, CONV, "net1", "net3", "correlation", "semi")))
    there = {unit: (other, value) for unit, (other, value) in expected.items() if other >= 0}

    def order() -> list[int]:
        return [int(str(row.get_attribute("data-unit"))) for row in page.all("#pair-list tbody tr")]

    falling = sorted(there, key=lambda unit: -there[unit][1])
    assert order() == falling
    page.one("#pair-list [name='sort-excess']").click()
    assert order() == falling  # by chance all have the same
    page.one("#pair-list [name='sort-excess']").click()
    assert order() == falling[::-1]
    assert page.one("#pair-list th[aria-sort]").get_attribute("aria-sort") == "ascending"
    page.select("Show", "above chance")
    assert sorted(order()) == [unit for unit in there if unit % 2]
    sheet = page.script("return pairsSheet()")
    assert [(row[3], row[4]) for row in sheet[1:]] == [(unit, there[unit][0]) for unit in order()]
    assert page.errors() == []


def test_a_pair_is_shown_in_the_same_images(page: Page, store: RunStore) -> None:
    """Unit 2 has the same activations in all networks."""
    page.open(store, place(CONV, "pairs", "net1", "net3", 2, 2))
    values = activation(CONV, 0, 2)
    images = tables.read(store, "sampled_images").sort_values("place")["image"].to_numpy()
    code = (
        "return [...document.querySelectorAll('.scatter circle')].map(d => ['cx', 'cy'].map(c => +d.getAttribute(c)))"
    )
    dots = np.array(page.script(code))
    assert len(dots) == SAMPLED
    assert np.corrcoef(dots[:, 0], values)[0, 1] > 0.999
    assert np.corrcoef(dots[:, 1], values)[0, 1] < -0.999  # upwards
    both, first, second = page.all(".together > div:not(.row, .plot)")
    strongest = images[np.argsort(-values, kind="stable")[:6]].tolist()
    shown = [int(str(one.get_attribute("data-image"))) for one in both.find_elements(By.TAG_NAME, "li")]
    assert shown == strongest
    assert "none of these images" in first.text
    assert "none of these images" in second.text
    text = page.one("#pair").text
    assert (
        "Of the 2 images that drive the first most, 2 are among the 2 that drive the second most; by chance 0.1" in text
    )
    assert "Of all images, the two have 8 of their 9 strongest in common, framed." in text
    assert "unit 2 of net1 0.300" in " ".join(page.one("#pair .numbers").text.split())


def test_images_that_drive_one_unit_alone(page: Page, store: RunStore) -> None:
    page.open(store, place(CONV, "pairs", "net1", "net3", 2, 3))
    images = tables.read(store, "sampled_images").sort_values("place")["image"].to_numpy()
    a, b = activation(CONV, 0, 2), activation(CONV, 2, 3)
    u, v = (np.array([(of < value).mean() for value in of]) for of in (a, b))
    _, first, _ = page.all(".together > div:not(.row, .plot)")
    shown = [int(str(one.get_attribute("data-image"))) for one in first.find_elements(By.TAG_NAME, "li")]
    assert (u - v)[np.isin(images, shown)].min() >= np.sort(u - v)[-6] - 1e-9


def test_a_unit_has_images_at_its_quantiles(page: Page, store: RunStore) -> None:
    page.open(store, place(CONV, "unit", "net1", 3))
    values = activation(CONV, 0, 3)
    images = tables.read(store, "sampled_images").sort_values("place")["image"].to_numpy()
    shown = [int(str(one.get_attribute("data-image"))) for one in page.all(".responses li")]
    of = [float(values[images == image][0]) for image in shown]
    assert of[0] == values.max()
    assert of == sorted(of, reverse=True)
    assert of[4] == pytest.approx(np.quantile(values, 0.5), abs=np.ptp(np.sort(values)[18:22]))
    heights = [float(str(bar.get_attribute("height"))) for bar in page.all(".histogram rect")]
    assert len(heights) > 5


def test_groups_are_sorted_by_their_weakest_link(page: Page, store: RunStore) -> None:
    page.open(store, place(CONV, "groups"))
    pairs = list(itertools.combinations(NETS, 2))
    links = {
        unit - GROUPS[0]: min(partners(store, CONV, a, b, "correlation", "semi")[unit][1] for a, b in pairs)
        for unit in GROUPS
    }
    shown = [int(str(card.get_attribute("data-group"))) for card in page.all(".group[data-group]")]
    assert shown == sorted(links, key=lambda group: -links[group])
    for card in page.all(".group[data-group]"):
        group = int(str(card.get_attribute("data-group")))
        assert f"weakest link {links[group]:.2f} (" in card.text
        assert [one.get_attribute("data-net") for one in card.find_elements(By.TAG_NAME, "li")] == list(NETS)
    alone = [unit for unit in range(WIDTHS[CONV][0]) if unit % 3 == 0 and unit > 1]
    of_net1 = page.all("#alone .side")[0]
    assert [one.get_attribute("data-unit") for one in of_net1.find_elements(By.TAG_NAME, "li")] == list(map(str, alone))


def test_what_is_shown_can_be_saved(page: Page, store: RunStore, tmp_path: Path) -> None:
    to = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", to)
    page.open(store, place(CONV, "units", "net1", sort="number"))
    page.one("#actions [name='csv']").click()
    page.open(store, "#/figures")
    page.all("#figures .buttons button")[1].click()
    names = {"a-b-run-conv1-units.csv", "a-b-run-figure-04-layers.png"}
    WebDriverWait(page.driver, 20).until(lambda _: names <= {path.name for path in tmp_path.iterdir()})
    saved = pd.read_csv(tmp_path / "a-b-run-conv1-units.csv")
    units = tables.read(store, "units")
    units = units[(units["layer"] == CONV) & (units["net"] == "net1")].sort_values("unit")
    assert saved["unit"].tolist() == units["unit"].tolist()
    np.testing.assert_allclose(saved["mean"], units["mean"], rtol=1e-6)
    with Image.open(tmp_path / "a-b-run-figure-04-layers.png") as picture:
        assert picture.size[0] == FIGURE_WIDTH


def test_a_matrix_in_the_order_of_clusters(page: Page, store: RunStore) -> None:
    page.open(store, place(CONV, "matrix", "net1", "net3", order="cluster"))
    sheet = page.script("return matrixSheet()")
    members = tables.read(store, "cluster_members")
    rows = members[(members["layer"] == CONV) & (members["net_a"] == "net1") & (members["net_b"] == "net3")]
    leaf = rows[rows["k"] == 2].set_index(["net", "unit"])["leaf"]
    for net, order in (("net1", [row[0] for row in sheet[1:]]), ("net3", sheet[0][1:])):
        labels = [leaf[net, unit] for unit in order]
        assert len(order) == len(set(order)) == WIDTHS[CONV][NETS.index(net)]
        assert labels[-1] == -1  # units in no cluster are last
        assert sum(x != y for x, y in itertools.pairwise(labels)) == len(set(labels)) - 1


def test_the_view_of_clusters_explains_k(page: Page, store: RunStore) -> None:
    page.open(store, place(CONV, "clusters", "net1", "net3"))
    said = page.one("#cluster-k").text
    assert said.startswith("k = 2, the default: 40 clusters for every 192 units that have an edge")
    assert "Modularity 0.50 (0.40 by chance, with one network’s units mixed: above chance)." in said


def test_clusters_of_both_networks_come_first(page: Page, store: RunStore) -> None:
    members = tables.read(store, "cluster_members")
    for a, b in (("net1", "net3"), ("net3", "net1")):
        page.open(store, place(CONV, "clusters", a, b, k="3"))
        rows = members[(members["layer"] == CONV) & (members["net_a"] == "net1") & (members["net_b"] == "net3")]
        rows = rows[(rows["k"] == 3) & (rows["leaf"] >= 0)]
        expected = {
            str(label): {(str(net), int(unit)) for net, unit in of[["net", "unit"]].itertuples(index=False)}
            for label, of in rows.groupby("leaf")
        }
        found = {
            str(group.get_attribute("data-cluster")): {
                (str(one.get_attribute("data-net")), int(str(one.get_attribute("data-unit"))))
                for one in group.find_elements(By.CSS_SELECTOR, ".members li")
            }
            for group in page.all(".group")
        }
        assert found == expected
        both = [len({net for net, _ in of}) == 2 for of in found.values()]
        assert both == sorted(both, reverse=True)


def test_the_mapping_layer_that_predicts_a_unit(page: Page, store: RunStore) -> None:
    page.open(store, place(CONV, "unit", "net1", 2, **{"with": "net3"}))
    every = {name: tables.read(store, name) for name in ("mapping_weights", "mapping_units")}
    for decay, name in zip(sorted(DECAYS), ("0", "0.0025 (the paper’s)", "0.01"), strict=True):
        page.select("decay", name, "#panel")
        weights, units = (
            rows[(rows["layer"] == CONV) & (rows["target_net"] == "net1") & (rows["source_net"] == "net3")
                 & (rows["decay"] == decay) & (rows["target_unit"] == 2)]
            for rows in every.values()
        )  # fmt: skip
        row = units.iloc[0]
        details = page.one("#panel details")
        assert (
            f"R² {row['heldout_r2']:.3f} on images not used to find the weights, with {row['units_used']:.0f} unit"
            in details.text
        )
        strongest = weights.sort_values("weight", key=abs, ascending=False)["source_unit"].tolist()[:5]
        found = details.find_elements(By.CSS_SELECTOR, ".members li")
        assert [int(str(one.get_attribute("data-unit"))) for one in found] == strongest


@pytest.mark.parametrize("layer", [CONV, FULL])
def test_every_unit_has_its_own_pictures(page: Page, store: RunStore, layer: str) -> None:
    page.open(store, place(layer, "unit", "net1", 4))
    WebDriverWait(page.driver, 10).until(
        lambda _: page.script("return document.querySelector('#panel > canvas').dataset.drawn === '18'")
    )
    pixels = page.script(
        "const c = document.querySelector('#panel > canvas'); const d = c.getContext('2d'); return [0, 1].map(row =>"
        "[...Array(9).keys()].map(rank => [...d.getImageData(rank * 58 + 28, row * 58 + 28, 1, 1).data]))"
    )
    expected = [[colour(layer, 0, 4, rank, drive) for rank in range(1, 10)] for drive in (False, True)]
    assert np.abs(np.array(pixels)[..., :3] - np.array(expected)).max() < 12


VIEWS = {
    "overview": "#/",
    "units": place(CONV, "units", "all"),
    "unit": place(FULL, "unit", "net1", 4, **{"with": "net3"}),
    "pairs": place(CONV, "pairs", "net1", "net3"),
    "pair": place(CONV, "pairs", "net1", "net3", 2, 2),
    "groups": place(CONV, "groups"),
    "matrix": place(CONV, "matrix", "net1", "net3", 2, 3),
    "clusters": place(CONV, "clusters", "net1", "net3"),
    "figures": "#/figures",
    "words": "#/words",
    "a layer that there is not": place("conv9", "units", "all"),
    "a unit that there is not": place(FULL, "unit", "net1", 4000),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_every_view_fits_and_is_accessible(page: Page, store: RunStore, size: tuple[int, int], scheme: str) -> None:
    for name, view in VIEWS.items():
        page.open(store, view, size, scheme)
        assert page.script("return document.documentElement.scrollWidth") <= size[0], name
        assert page.violations() == [], name
        assert page.errors() == [], name
    ground, text = (
        sum(map(int, re.findall(r"\d+", page.script(f"return getComputedStyle(document.body).{what}"))[:3]))
        for what in ("backgroundColor", "color")
    )
    assert (ground > text) == (scheme == "light")


def test_on_a_phone_the_unit_is_a_sheet_that_can_be_closed(page: Page, store: RunStore) -> None:
    page.open(store, place(CONV, "units", "net1"), PHONE)
    assert not page.one("#panel").is_displayed()
    page.tile(3).click()
    assert page.in_sight("#panel h2")
    assert page.script("return getComputedStyle(document.querySelector('#panel')).position") == "fixed"
    page.one("#panel .close").click()
    assert not page.one("#panel").is_displayed()
    page.driver.back()
    page.turns_to("unit 3")


def test_on_paper_a_unit_is_light_whole_and_alone(page: Page, store: RunStore) -> None:
    page.open(store, place(CONV, "unit", "net1", 3), scheme="dark")
    page.script("dispatchEvent(new Event('beforeprint'))")
    WebDriverWait(page.driver, 30).until(
        lambda _: page.script("return [...document.querySelectorAll('canvas')].every(c => c.dataset.drawn > 0)"),
        "not every picture is drawn",
    )
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": [dark]})
    try:
        look = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
        assert page.script(look, "body", "backgroundColor") == "rgb(255, 255, 255)"
        assert page.script(look, "#panel", "position") == "static"
        assert page.script(look, "#panel", "maxHeight") == "none"
        assert not page.one("#wall").is_displayed()
        assert page.one("#panel .partner canvas").is_displayed()
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_matrices_that_are_left_out_are_named_with_their_table(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = write_run(RunStore(str(tmp_path / "wide")))
    monkeypatch.setattr(payload, "MOST_CELLS", 10)
    written(wide)
    for options, table in (({}, "correlations"), ({"of": "weights"}, "mapping_weights")):
        page.open(wide, place(CONV, "matrix", "net1", "net3", **options))
        said = page.one("#map").text
        assert f"of this wide layer are left out: they stand in the run's table {table}, layer {CONV}" in said
    assert page.errors() == []


def test_the_appendix_lists_every_figure_of_the_run(page: Page, store: RunStore) -> None:
    page.open(store, "#/figures")
    titles = [caption.text for caption in page.all("figcaption")]
    assert titles == ["Figure 4: Averages & <layers>", "Figure 10: matchings", "Training"]
    assert [entry.text for entry in page.all("#contents a")] == titles
    widths = page.script(
        "const pictures = [...document.querySelectorAll('#figures img')]; pictures.forEach(p => (p.loading = 'eager'));"
        "await Promise.all(pictures.map(p => p.decode())); return pictures.map(p => p.naturalWidth)"
    )
    assert widths == [FIGURE_WIDTH] * 3
    assert page.one("figure img").get_attribute("alt") == "Figure 4: Averages & <layers>. Large marks: means."


def test_what_a_run_lacks_is_named_with_its_command(page: Page, tmp_path: Path) -> None:
    bare = write_run(RunStore(str(tmp_path / "bare")), optional=False)
    written(bare)
    page.open(bare)
    for stage in ("patches", "sweep mapping", "sweep clusters", "figures"):
        assert f"raycv {stage} --run RUN" in page.one("#overview").text
    for view in VIEWS.values():
        page.open(bare, view)
        assert page.errors() == []
    page.open(bare, place(CONV, "unit", "net1", 3))
    assert "no pictures of patches yet" in page.one("#panel").text
    other, _ = partners(bare, CONV, NETS[0], NETS[1], "correlation", "semi")[3]
    assert page.partners()[NETS[1]][0] == other


def test_is_written_again_only_when_another_stage_has_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = write_run(RunStore(str(tmp_path / "bare")), optional=False)
    for stage, anew in (("", True), ("", False), ("figures", True)):
        if stage:
            record.finish(bare, stage, "2", {}, {})
        assert main(["report", "--run", bare.uri]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert ("already finished" not in last) == anew
        assert last.endswith(f"open {bare.locate('report.html')}")


def test_on_s3_it_is_the_same_file(s3_server: S3Server, store: RunStore) -> None:
    remote = RunStore(f"s3://{BUCKET}/{uuid.uuid4().hex}/a<b>run")
    for path in store.list(""):
        if path != "report.html":
            remote.write(path, store.read(path))
    stages = remote.read_json("run.json")
    del stages["stages"]["report"]
    remote.write_json("run.json", stages)
    written(remote)
    assert remote.read("report.html") == store.read("report.html")


def test_a_run_without_tables_is_refused_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--run", str(tmp_path)]) == 2
    assert "has no table 'units' yet; run the stage that writes it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("budget", "narrow", "wide"),
    [(2_000_000, {9}, {9}), (300_000, {9}, range(2, 9)), (60_000, range(2, 9), {0}), (100, {0}, {0})],
)
def test_pictures_never_exceed_their_budget(
    tmp_path: Path, budget: int, narrow: Container[int], wide: Container[int]
) -> None:
    """Noise cannot be compressed: the widest layer is the first to show fewer patches."""
    store = RunStore(str(tmp_path))
    rng = np.random.default_rng(0)
    widths = {"wide": [40, 30], "narrow": [4, 4]}

    def rows(layer: str) -> pd.DataFrame:
        found = [
            (net, unit, rank, 0, "deconvnet", *(png(rng.integers(0, 256, (24, 24, 3), np.uint8)) for _ in range(2)))
            for net, width in zip(NETS[:2], widths[layer], strict=True)
            for unit in range(width)
            for rank in range(1, 10)
        ]
        names = [name for name in BY_NAME["patch_pictures"].schema.names if name != "layer"]
        return pd.DataFrame(found, columns=names)

    write_layers(store, "patch_pictures", ((layer, rows(layer)) for layer in widths))
    found = dict(pictures_within(store, NETS[:2], widths, budget))
    assert sum(pictures.size for pictures in found.values() if pictures) <= budget
    ranks = {layer: pictures.ranks if pictures else 0 for layer, pictures in found.items()}
    assert ranks["narrow"] in narrow
    assert ranks["wide"] in wide


def test_units_of_language_models_are_shown_by_their_contexts(page: Page, tmp_path: Path) -> None:
    store = write_run(RunStore(str(tmp_path / "run")), optional=False)
    write_contexts(store)
    written(store)
    page.open(store)
    first = page.one("#overview").text
    assert "No health check" in first
    assert "2,000 documents passed" in first
    assert "patches" not in first  # of which none are missing
    page.open(store, "#/layer/conv1/unit/net1/3")
    tiles = page.script("return [...document.querySelectorAll('#wall .tokens')].map((tile) => tile.textContent)")
    assert sorted(tiles) == [f"␣{unit}.1⏎␣{unit}.2⏎␣{unit}.3⏎" for unit in range(5)]
    lines = page.script("return [...document.querySelectorAll('#panel > .contexts li')].map((li) => li.textContent)")
    assert lines == [f"<b>conv1 ␣3.{rank}⏎ of net1" for rank in range(1, 10)]
    assert "with the text around" in page.one("#panel").text
    assert page.errors() == []


def test_of_many_units_the_report_shows_fewer_contexts() -> None:
    assert [payload.contexts_shown({"a": [units, units]}) for units in (10, 5_000, 50_000, 60_000)] == [9, 4, 1, 0]
