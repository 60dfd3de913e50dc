"""The report, read by a real browser: what it shows must be what the tables say."""

from __future__ import annotations

import colorsys
import io
import re
import uuid
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, PngImagePlugin
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from raycv.analysis.matching import bipartite_matching, semi_matching
from raycv.cli import main
from raycv.config import ReportConfig
from raycv.run import record, tables
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.stages.report.sections import FIGURE_WIDTH
from raycv.stages.report.sprites import pictures_within
from raycv.stages.report.stage import report
from tests.support.browser import MISSING, chromium
from tests.support.s3_server import BUCKET, S3Server
from tests.support.tables import write_layers

NETS = ("net1", "<i>net2</i>", "net3")
WIDTHS = {"conv1": (5, 6, 5), 'fc"2"<b>': (130, 120, 130)}
CONV, FULL = WIDTHS
PAPERS = 10**-2.6
DECAYS = (0.0, 0.01, PAPERS)


class Page:
    """The report in a browser."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, store: RunStore, choice: str = "") -> Page:
        self.driver.get("about:blank")  # or a change of choice alone would not load the page again
        self.errors()  # those of the test before
        self.driver.get(f"file://{store.locate('report.html')}{choice}")
        return self

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def unit(self, unit: int) -> WebElement:
        return self.one(f"#table tbody tr[data-unit='{unit}'] button")

    def order(self) -> list[int]:
        return [int(str(row.get_attribute("data-unit"))) for row in self.all("#table tbody tr")]

    def chosen(self) -> str:
        return self.one("#chosen h5").text

    def turns_to(self, unit: str) -> None:
        """Wait until ``unit`` is chosen: the browser says later, and not at once, that the address changed."""
        # While it changes, an element may be gone between being found and being read.
        waiting = WebDriverWait(self.driver, 10, ignored_exceptions=[StaleElementReferenceException])
        waiting.until(lambda _: self.chosen() == unit, f"{unit} is not chosen")

    def partners(self) -> dict[int, str]:
        """What is said of each unit that a matching chose."""
        cards = self.one("#matches .cards").find_elements(By.CSS_SELECTOR, ".card")
        return {int(str(card.get_attribute("data-unit"))): card.find_element(By.TAG_NAME, "ul").text for card in cards}

    def picture_widths(self) -> list[int]:
        """Of every picture in pixels, once it is decoded; a picture that cannot be is an error."""
        decoded = "await Promise.all(pictures.map(picture => picture.decode()))"
        widths: list[int] = self.script(
            f"const pictures = [...document.images]; {decoded}; return pictures.map(picture => picture.naturalWidth)"
        )
        return widths

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
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
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


def random_similarity(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    similarity = rng.uniform(-0.2, 1, (rows, columns)).astype(np.float32).astype(float)
    similarity[0] = np.nan  # unit 0 is dead
    return similarity


def write_matchings(store: RunStore) -> None:
    rng, frames, alignment = np.random.default_rng(0), [], []
    for layer, widths in WIDTHS.items():
        for (n, a), (m, b) in ((x, y) for x in enumerate(NETS) for y in enumerate(NETS) if x != y):
            for similarity in ("correlation", "mutual_information"):
                values = random_similarity(rng, widths[n], widths[m])
                for method, match in (("semi", semi_matching), ("bipartite", bipartite_matching)):
                    found = match(values)
                    about = {
                        "layer": layer,
                        "net_a": a,
                        "net_b": b,
                        "similarity": similarity,
                        "method": method,
                    }
                    units = {
                        "unit_a": np.arange(len(values)),
                        "unit_b": found.columns,
                        "value": found.values,
                    }
                    frames.append(pd.DataFrame(about | units))
                    mean = float(np.nanmean(found.values))
                    of_pair = {"units": 5, "mean": mean, "mean_low": mean - 0.1, "untrained_mean": 0.1234}
                    of_pair |= {"excess": 0.0567, "untrained_excess": 0.0123} if method == "semi" else {}
                    alignment.append(about | of_pair)
    tables.write(store, "matchings", pd.concat(frames).reindex(columns=BY_NAME["matchings"].schema.names))
    frame = pd.DataFrame(alignment).reindex(columns=BY_NAME["alignment"].schema.names)
    tables.write(
        store,
        "alignment",
        frame.assign(mean_high=frame["mean"] + 0.1, best_eight_kept=8).sample(frac=1, random_state=0),
    )


def write_units(store: RunStore) -> None:
    rng = np.random.default_rng(1)
    frames = [
        pd.DataFrame(
            {
                "net": net,
                "layer": layer,
                "unit": np.arange(width),
                "mean": rng.uniform(0, 1, width),
                "std": rng.uniform(0, 2, width),
                "active_fraction": rng.uniform(0, 1, width),
                "is_dead": np.arange(width) == 0,
                "is_rare": False,
            }
        )
        for layer, widths in WIDTHS.items()
        for net, width in zip(NETS, widths, strict=True)
    ]
    tables.write(store, "units", pd.concat(frames))


def write_recurrence(store: RunStore) -> None:
    """Every third unit has a partner in both other networks, the others in one or none."""
    frames = [
        pd.DataFrame({"layer": layer, "net": net, "unit": np.arange(width), "partners": np.arange(width) % 3})
        for layer, widths in WIDTHS.items()
        for net, width in zip(NETS, widths, strict=True)
    ]
    every = pd.concat(frames).reindex(columns=BY_NAME["recurrence"].schema.names)
    tables.write(store, "recurrence", every.fillna({"mutual": 0, "group": -1}))


def write_mappings(store: RunStore) -> None:
    rng = np.random.default_rng(2)
    weights: list[tuple[str, pd.DataFrame]] = []
    units: list[tuple[str, pd.DataFrame]] = []
    for layer, widths in WIDTHS.items():
        for (n, source), (m, target) in ((x, y) for x in enumerate(NETS) for y in enumerate(NETS) if x != y):
            for decay in DECAYS:
                about = {"source_net": source, "target_net": target, "solver": "exact", "decay": decay}
                matrix = rng.normal(size=(widths[m], widths[n])) * (rng.uniform(size=(widths[m], widths[n])) < 0.4)
                targets, sources = matrix.nonzero()
                found = {"target_unit": targets, "source_unit": sources, "weight": matrix[targets, sources]}
                weights.append((layer, pd.DataFrame(about | found)))
                r2 = rng.uniform(0, 1, widths[m])
                every = {"target_unit": np.arange(widths[m]), "r2": r2 + 0.01, "heldout_r2": r2}
                used = (np.abs(matrix) > 1e-3).sum(1)
                units.append((layer, pd.DataFrame(about | every | {"units_used": used})))
    write_layers(store, "mapping_weights", weights)
    write_layers(store, "mapping_units", units)


def write_clusters(store: RunStore) -> None:
    rng = np.random.default_rng(3)
    nodes: list[tuple[str, pd.DataFrame]] = []
    members: list[tuple[str, pd.DataFrame]] = []
    for layer, widths in WIDTHS.items():
        for n, m in ((0, 1), (0, 2), (1, 2)):
            for k in (2, 3):
                about = {"net_a": NETS[n], "net_b": NETS[m], "threshold": 0.2, "k": k}
                names = np.repeat([NETS[n], NETS[m]], [widths[n], widths[m]])
                unit = np.concatenate([np.arange(widths[n]), np.arange(widths[m])])
                leaf = np.where(unit == 0, -1, rng.integers(0, k, len(unit)))
                columns = {"cluster": leaf, "leaf": leaf, "net": names, "unit": unit}
                members.append((layer, pd.DataFrame(about | columns)))
                tree = {
                    "cluster": np.arange(k),
                    "parent": -1,
                    "is_leaf": True,
                    "units_a": 1,
                    "units_b": 1,
                    "between_net_similarity": rng.uniform(0, 1, k),
                    "within_net_similarity": rng.uniform(0, 1, k),
                }
                nodes.append((layer, pd.DataFrame(about | tree)))
    write_layers(store, "clusters", nodes)
    write_layers(store, "cluster_members", members)


def colour(layer: str, net: int, unit: int, rank: int, drive: bool) -> tuple[int, int, int]:
    """A colour that differs from picture to picture."""
    number = (hash((len(layer), net, unit, rank, drive)) % 997) / 997
    red, green, blue = colorsys.hsv_to_rgb(number, 0.6, 0.4 + 0.5 * drive)
    return int(255 * red), int(255 * green), int(255 * blue)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def write_pictures(store: RunStore) -> None:
    def rows(layer: str, net: int) -> pd.DataFrame:
        size = 6 if layer == CONV else 16
        found = []
        for unit in range(WIDTHS[layer][net]):
            for rank in range(1, 10):
                pictures = [
                    png(np.full((size, size, 3), colour(layer, net, unit, rank, drive), dtype=np.uint8))
                    for drive in (False, True)
                ]
                found.append((NETS[net], unit, rank, "deconvnet", *pictures))
        names = [name for name in BY_NAME["patch_pictures"].schema.names if name != "layer"]
        return pd.DataFrame(found, columns=names)

    parts = ((layer, rows(layer, net)) for layer in WIDTHS for net in range(len(NETS)))
    write_layers(store, "patch_pictures", parts)


def write_figures(store: RunStore) -> None:
    for name, title in (("training", ""), ("figure-10-matchings", ""), ("figure-04-layers", "Averages & <layers>")):
        texts = PngImagePlugin.PngInfo()
        if title:
            texts.add_text("Title", title)
            texts.add_text("Description", "Large marks: means.")
        buffer = io.BytesIO()
        Image.new("RGB", (1600, 400), "white").save(buffer, "png", pnginfo=texts)
        store.write(f"figures/{name}.png", buffer.getvalue())


def written(store: RunStore) -> None:
    report(ReportConfig(), store)


def write_run(store: RunStore, optional: bool = True) -> RunStore:
    write_units(store)
    write_matchings(store)
    if optional:
        write_recurrence(store)
        write_mappings(store)
        write_clusters(store)
        write_pictures(store)
        write_figures(store)
    accuracies = {net: 0.6065 + n / 100 for n, net in enumerate(NETS)}
    record.finish(store, "train", "1", {}, {"validation_top1": accuracies})
    record.finish(store, "collect", "1", {}, {"images": 2000})
    record.finish(store, "align", "1", {}, {"health": {"layer": FULL, "broken_pairs": []}})
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    store = write_run(RunStore(str(tmp_path_factory.mktemp("report") / "a<b>run")))
    written(store)
    return store


def partners(store: RunStore, layer: str, a: str, b: str, kind: str, method: str) -> list[tuple[int, float]]:
    """The partner of every unit of ``a`` in ``b`` and the similarity of the two, as the table says."""
    rows = tables.read(store, "matchings")
    rows = rows[(rows["layer"] == layer) & (rows["net_a"] == a) & (rows["net_b"] == b)]
    rows = rows[(rows["similarity"] == kind) & (rows["method"] == method)].sort_values("unit_a")
    return list(zip(rows["unit_b"].tolist(), rows["value"].tolist(), strict=True))


def test_opens_from_disk_without_a_network_or_an_error(page: Page, store: RunStore) -> None:
    page.open(store)
    assert page.errors() == []
    assert page.script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    assert page.one("h1").text == "a<b>run: which units learned the same?"
    assert len(page.all("figure img")) == 3
    assert page.picture_widths() == [FIGURE_WIDTH] * 3
    assert len(store.read("report.html")) < 15e6
    assert store.read_json("run.json")["stages"]["report"]["bytes"] == len(store.read("report.html"))


def test_the_summary_says_what_the_run_found(page: Page, store: RunStore) -> None:
    page.open(store)
    summary = page.one("#summary").text
    for fact in ("60.65%", "61.65%", "3 networks with 135 units in 2 layers", "2,000", "Health check passed"):
        assert fact in summary
    rows = tables.read(store, "alignment")
    means = rows[rows["similarity"] == "correlation"].groupby(["layer", "method"])["mean"].mean()
    lines = {row.text.split()[0]: row.text for row in page.all("#convergence tbody tr")}
    for layer in WIDTHS:
        for method in ("semi", "bipartite"):
            mean = means[layer, method]
            assert f"{mean:.3f} {mean - 0.1:.3f} to {mean + 0.1:.3f}" in lines[layer]
        assert "0.123" in lines[layer]
        assert "+0.057 +0.012 - -" in " ".join(lines[layer].split())
    titles = [caption.text for caption in page.all("figcaption")]
    assert titles == ["Figure 4: Averages & <layers>. Large marks: means.", "Figure 10: matchings.", "Training."]
    assert [entry.text for entry in page.all("nav ul ul a")] == [title.split(".")[0] for title in titles]


def test_names_from_the_run_are_never_markup(page: Page, store: RunStore) -> None:
    page.open(store, f"#layer={FULL}&b=net3".replace('"', "%22"))
    assert page.script("return document.querySelectorAll('body b, i:not([class]), h1 *').length") == 0
    assert NETS[1] in page.one("#summary").text
    assert FULL in page.one("#table caption").text


def test_a_click_on_a_unit_shows_its_partners(page: Page, store: RunStore) -> None:
    page.open(store)
    for unit in (3, 1):
        page.unit(unit).click()
        assert page.chosen() == f"unit {unit} of net1"
        said = page.partners()
        expected: dict[int, list[str]] = {}
        for kind, name, suffix in (
            ("correlation", "correlation", ""),
            ("mutual_information", "mutual information", " nats"),
        ):
            for method, partner in (("semi", "best"), ("bipartite", "one-to-one")):
                other, value = partners(store, CONV, NETS[0], NETS[1], kind, method)[unit]
                expected.setdefault(other, []).append(f"{partner} partner by {name}: {value:.3f}{suffix}")
        assert said == {partner: "\n".join(facts) for partner, facts in expected.items()}
        assert f"unit={unit}" in page.driver.current_url
    assert page.errors() == []


def test_the_keyboard_does_what_the_mouse_does(page: Page, store: RunStore) -> None:
    page.open(store)
    order = page.order()
    for _ in range(80):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        if page.script("return document.activeElement.closest('tbody') !== null && !!document.activeElement.type"):
            break
    focused = page.driver.switch_to.active_element
    assert focused.text == str(order[0])
    assert page.script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    focused.send_keys(Keys.ARROW_DOWN)
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.chosen() == f"unit {order[1]} of net1"
    partner, value = partners(store, CONV, NETS[0], NETS[1], "correlation", "semi")[order[1]]
    assert f"best partner by correlation: {value:.3f}" in page.partners()[partner]
    assert page.driver.switch_to.active_element.text == str(order[1])


def test_column_heads_sort(page: Page, store: RunStore) -> None:
    page.open(store)
    units = tables.read(store, "units")
    means = units[(units["layer"] == CONV) & (units["net"] == "net1")].set_index("unit")["mean"]
    falling = means.sort_values(ascending=False).index.tolist()
    head = "#table th[data-key='mean']"
    page.one(f"{head} button").click()
    assert (page.order(), page.one(head).get_attribute("aria-sort")) == (falling, "descending")
    page.one(f"{head} button").send_keys(Keys.ENTER)
    assert (page.order(), page.one(head).get_attribute("aria-sort")) == (falling[::-1], "ascending")
    for _ in range(2):  # the dead unit has no correlation and stays last
        page.one("#table th[data-key='correlation semi value'] button").click()
        assert page.order()[-1] == 0


def test_layer_and_networks_are_chosen_and_stay_in_the_address(page: Page, store: RunStore) -> None:
    page.open(store)
    Select(page.one("#layer")).select_by_visible_text(FULL)
    Select(page.one("#net-a")).select_by_visible_text("net3")
    Select(page.one("#net-b")).select_by_visible_text(NETS[1])
    assert page.one("#table caption").text == f"Units of net3 in {FULL}, with their partners in {NETS[1]}"
    page.one("#find").send_keys("117", Keys.ENTER)
    url = page.driver.current_url
    partner, value = partners(store, FULL, "net3", NETS[1], "correlation", "semi")[117]
    said = page.partners()
    assert f"best partner by correlation: {value:.3f}" in said[partner]
    page.driver.get("about:blank")
    page.driver.get(url)
    assert page.chosen() == "unit 117 of net3"
    assert page.partners() == said
    page.one("#matches a").click()  # from the partner's side
    page.turns_to(f"unit {next(iter(said))} of {NETS[1]}")
    assert page.script("return document.activeElement === document.querySelector('#chosen h3')")
    page.driver.back()
    page.turns_to("unit 117 of net3")


def test_a_wide_layer_shows_a_hundred_units_at_a_time(page: Page, store: RunStore) -> None:
    page.open(store, f"#layer={FULL}&unit=5".replace('"', "%22"))
    values = [value for _, value in partners(store, FULL, NETS[0], NETS[1], "correlation", "semi")]
    falling = [*sorted(range(1, 130), key=lambda unit: -values[unit]), 0]
    last = falling[-2]
    page.one("#find").send_keys(str(last), Keys.ENTER)
    assert page.order() == falling[100:]
    assert page.one("#range").text == "rows 101–130 of 130"
    page.one("#previous").click()
    assert page.order() == falling[:100]
    page.one("#find").clear()
    page.one("#find").send_keys("130", Keys.ENTER)
    assert page.one("#status").text == f"There is no such unit; net1 has units 0 to 129 in {FULL}."
    assert page.chosen() == f"unit {last} of net1"


def test_the_mapping_layer_that_predicts_a_unit(page: Page, store: RunStore) -> None:
    page.open(store, "#layer=conv1&b=net3&unit=2")
    weights = tables.read(store, "mapping_weights")
    units = tables.read(store, "mapping_units")
    assert Select(page.one("#decay")).first_selected_option.text == "0.0025 (the paper's)"
    for decay, name in ((PAPERS, "0.0025 (the paper's)"), (0.01, "0.01"), (0.0, "0")):
        Select(page.one("#decay")).select_by_visible_text(name)
        chosen = [
            frame[
                (frame["layer"] == CONV)
                & (frame["target_net"] == "net1")
                & (frame["source_net"] == "net3")
                & (frame["decay"] == decay)
                & (frame["target_unit"] == 2)
            ]
            for frame in (weights, units)
        ]
        row = chosen[1].iloc[0]
        text = page.one("#matches").text
        assert f"R² {row['heldout_r2']:.3f} on images" in text
        assert f"with {row['units_used']:.0f} units" in text
        cards = page.all("#matches .cards")[1].find_elements(By.CSS_SELECTOR, ".card")
        said = [(int(str(card.get_attribute("data-unit"))), card.text.split()[-1]) for card in cards]
        strongest = chosen[0].sort_values("weight", key=abs, ascending=False)
        assert said == [(row.source_unit, f"{row.weight:.3f}") for row in strongest.itertuples()]


def test_the_cluster_of_a_unit_from_either_side(page: Page, store: RunStore) -> None:
    members, nodes = tables.read(store, "cluster_members"), tables.read(store, "clusters")
    for a, b in (("net1", "net3"), ("net3", "net1")):
        page.open(store, f"#layer=conv1&a={a}&b={b}&unit=2&k=2")
        of_pair = (members["layer"] == CONV) & (members["net_a"] == "net1") & (members["net_b"] == "net3")
        rows = members[of_pair & (members["k"] == 2)]
        cluster = rows[(rows["net"] == a) & (rows["unit"] == 2)]["leaf"].item()
        inside = rows[rows["leaf"] == cluster].groupby("net")["unit"].apply(list)
        node = nodes[(nodes["layer"] == CONV) & (nodes["net_a"] == "net1") & (nodes["net_b"] == "net3")]
        node = node[(node["k"] == 2) & (node["cluster"] == cluster)]
        text = page.one("#matches").text
        assert f"Cluster {cluster} has {len(inside[a])} of {a} and {len(inside.get(b, []))} of {b}" in text
        assert f"correlation {node['between_net_similarity'].item():.3f} between" in text
        shown = page.all("#matches .cards")[2].find_elements(By.CSS_SELECTOR, ".card")
        found = {(card.get_attribute("data-net"), int(str(card.get_attribute("data-unit")))) for card in shown}
        assert found == {(net, unit) for net, units in inside.items() for unit in units} - {(a, 2)}


@pytest.mark.parametrize("layer", [CONV, FULL])
def test_every_unit_has_its_own_pictures(page: Page, store: RunStore, layer: str) -> None:
    page.open(store, f"#layer={layer}&b=net3&unit=4".replace('"', "%22"))
    WebDriverWait(page.driver, 10).until(
        lambda _: page.script("return [...document.querySelectorAll('canvas')].every(c => c.dataset.drawn === '18')")
    )
    for card in page.all(".card"):
        net, unit = NETS.index(str(card.get_attribute("data-net"))), int(str(card.get_attribute("data-unit")))
        pixels = page.script(
            "const c = arguments[0].querySelector('canvas').getContext('2d'); return [0, 1].map(row =>"
            "[...Array(9).keys()].map(rank => [...c.getImageData(rank * 50 + 24, row * 50 + 24, 1, 1).data]))",
            card,
        )
        expected = [[colour(layer, net, unit, rank, drive) for rank in range(1, 10)] for drive in (False, True)]
        assert np.abs(np.array(pixels)[..., :3] - np.array(expected)).max() < 12


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone_in_light_and_dark(page: Page, store: RunStore, scheme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    for command, settings in (
        ("Emulation.setEmulatedMedia", {"features": [feature]}),
        ("Emulation.setDeviceMetricsOverride", size),
    ):
        page.driver.execute_cdp_cmd(command, settings)
    page.open(store)
    assert page.script("return document.documentElement.scrollWidth") <= 360
    ground, text = (
        sum(map(int, re.findall(r"\d+", page.script(f"return getComputedStyle(document.body).{what}"))[:3]))
        for what in ("backgroundColor", "color")
    )
    assert (ground > text) == (scheme == "light")
    for command in ("Emulation.clearDeviceMetricsOverride", "Emulation.setEmulatedMedia"):
        page.driver.execute_cdp_cmd(command, {})


def test_units_that_recur_in_all_networks_can_be_picked(page: Page, store: RunStore) -> None:
    page.open(store)
    width = int(page.script("return document.querySelectorAll('#table tbody tr').length"))
    page.one("#recurring").click()
    shown = [int(row.get_attribute("data-unit") or -1) for row in page.all("#table tbody tr")]
    assert sorted(shown) == [unit for unit in range(width) if unit % 3 == 2]
    page.all("#table tbody tr")[0].click()
    assert "a partner beyond chance in 2 of 2 other networks" in page.one("#chosen").text
    page.one("#recurring").click()
    assert len(page.all("#table tbody tr")) == width
    assert page.errors() == []


def test_what_a_run_lacks_is_named_with_its_command(page: Page, tmp_path: Path) -> None:
    bare = write_run(RunStore(str(tmp_path / "bare")), optional=False)
    written(bare)
    page.open(bare)
    summary = page.one("#summary").text
    for stage in ("patches", "sweep mapping", "sweep clusters", "figures"):
        assert f"raycv {stage} --run RUN" in summary
    assert "no pictures of patches yet" in page.one("#pictures").text
    page.unit(3).click()
    partner, value = partners(bare, CONV, NETS[0], NETS[1], "correlation", "semi")[3]
    assert f"best partner by correlation: {value:.3f}" in page.partners()[partner]
    assert page.errors() == []


def test_is_written_again_only_when_another_stage_has_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = write_run(RunStore(str(tmp_path / "bare")), optional=False)
    for stage, written in (("", True), ("", False), ("figures", True)):
        if stage:
            record.finish(bare, stage, "2", {}, {})
        assert main(["report", "--run", bare.uri]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert ("already finished" not in last) == written
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
            (net, unit, rank, "deconvnet", *(png(rng.integers(0, 256, (24, 24, 3), np.uint8)) for _ in range(2)))
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
