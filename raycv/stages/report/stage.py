"""`raycv report`: one HTML file with the run's figures and every unit's partners, which opens from disk."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

import pandas as pd

from raycv.config import ReportConfig
from raycv.progress import Progress, say
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.stages.report import payload, sections
from raycv.stages.report.sprites import Pictures, pictures_within

PATH = "report.html"
LARGEST = 14_500_000  # bytes of the file, 15 MB with room to spare, where the numbers leave enough for the pictures
LEAST_PICTURES = 4e6  # bytes that the pictures may have in any case
PAGE = ("page.html", "page.css", "page.js")
OPTIONAL = {  # tables that a run may lack, by what the report then leaves out
    "patch_pictures": "the patches that drive each unit",
    "mapping_units": "what predicts each unit (mapping layers)",
    "cluster_members": "the clusters of each unit",
    "recurrence": "in how many networks each unit recurs",
}


def report(config: ReportConfig, store: RunStore) -> None:
    """Write ``report.html`` of a run. Does nothing where it is there and no other stage has finished since."""
    began = time.time()
    page = {name: resources.files("raycv.stages.report").joinpath(name).read_text("utf-8") for name in PAGE}
    before = record.read(store)["stages"]
    identity = fingerprint({name: done for name, done in before.items() if name != "report"}, page)
    if record.finished(store, "report", identity) and store.exists(PATH):
        say(f"report: already finished, nothing to do; open {store.locate(PATH)}")
        return
    content = html(store, before, page)
    uri = store.write(PATH, content)
    facts = {"seconds": {"report": round(time.time() - began, 1)}, "bytes": len(content)}
    record.finish(store, "report", identity, {}, facts)
    say(f"report: {len(content) / 1e6:.1f} MB; open {uri}")


def html(store: RunStore, stages: Mapping[str, Any], page: Mapping[str, str]) -> bytes:
    """The page, from the run's tables and what run.json says of its ``stages``; ``page`` holds the files PAGE."""
    units, matchings = tables.units_and_matchings(store)
    nets, layers = ([str(name) for name in dict.fromkeys(units[column])] for column in ("net", "layer"))
    has = {name: tables.exists(store, name) for name in OPTIONAL}
    numbers: dict[str, dict[str, Any]] = {}
    pictures: dict[str, Pictures | None] = {}
    with Progress("report", 2 * len(layers), "layers") as progress:
        for layer in layers:
            of_units, of_pairs = units[units["layer"] == layer], matchings[matchings["layer"] == layer]
            numbers[layer] = _numbers(store, layer, nets, of_units, of_pairs, has)
            progress.advance(1, f"numbers of {layer}")
        still = _still(store, stages, page, nets, units, has)
        run = {"nets": nets, "layers": layers, "pictured": has["patch_pictures"]}
        if has["patch_pictures"]:
            widths = {layer: [column["width"] for column in numbers[layer]["units"]] for layer in layers}
            without = _filled(page["page.html"], still, run, numbers, {})
            free = (LARGEST - len(without)) * 3 / 4  # base64 makes four bytes of three
            for layer, found in pictures_within(store, nets, widths, max(free, LEAST_PICTURES)):
                pictures[layer] = found
                progress.advance(1, f"pictures of {layer}")
        progress.update(2 * len(layers))
    return _filled(page["page.html"], still, run, numbers, pictures)


def _filled(
    template: str,
    still: Mapping[str, str],
    run: Mapping[str, Any],
    numbers: Mapping[str, dict[str, Any]],
    pictures: Mapping[str, Pictures | None],
) -> bytes:
    """The page with all its data: ``numbers`` and ``pictures`` by layer."""
    elements = [_json("run", run)]
    for place, (layer, described) in enumerate(numbers.items()):
        found = pictures.get(layer)
        columns = payload.picture_columns(found) if found else None
        elements.append(_json(f"layer-{place}", {**described, "pictures": columns}))
        elements += _sheets(place, found) if found else []
    return Template(template).substitute(still, data="\n".join(elements)).encode()


def _numbers(
    store: RunStore,
    layer: str,
    nets: Sequence[str],
    units: pd.DataFrame,
    matchings: pd.DataFrame,
    has: Mapping[str, bool],
) -> dict[str, Any]:
    """All that the page knows of a layer but its pictures. ``units`` and ``matchings``: rows of the layer."""

    def rows(name: str) -> pd.DataFrame:
        return tables.read(store, name, filters=[("layer", "==", layer)])

    found = {"units": payload.unit_columns(units, nets), "partners": payload.partner_columns(matchings, nets)}
    if has["recurrence"]:
        found["recurrence"] = payload.recurrence_columns(rows("recurrence"), nets)
    if has["mapping_units"]:
        found["predictors"] = payload.predictor_columns(rows("mapping_weights"), rows("mapping_units"), nets)
    if has["cluster_members"]:
        found["clusters"] = payload.cluster_columns(rows("clusters"), rows("cluster_members"), nets)
    return found


def _still(
    store: RunStore,
    stages: Mapping[str, Any],
    page: Mapping[str, str],
    nets: Sequence[str],
    units: pd.DataFrame,
    has: Mapping[str, bool],
) -> dict[str, str]:
    """What stands in the page's places but the data of the layers."""
    paths = [path for path in _ordered(store.list("figures")) if path.endswith(".png")]
    figures = [sections.figure(number, store.locate(path), store.read(path)) for number, path in enumerate(paths)]
    missing = {what: _command(BY_NAME[name].stage) for name, what in OPTIONAL.items() if not has[name]}
    if not figures:
        missing["the figures"] = _command("figures")
    accuracies = stages.get("train", {}).get("validation_top1") or {}
    return {
        "title": escape(store.uri.rsplit("/", 1)[-1]),
        "style": page["page.css"],
        "script": page["page.js"],
        "policy": _policy(page["page.css"], page["page.js"]),
        "size": escape(_size(nets, units, stages.get("collect", {}).get("images"))),
        "networks": sections.networks({net: accuracies.get(net) for net in nets}),
        "health": sections.health(stages.get("align", {}).get("health")),
        "left_out": sections.left_out(missing),
        "convergence": sections.convergence(tables.read(store, "alignment")),
        "contents": "".join(entry for entry, _ in figures),
        "figures": "".join(picture for _, picture in figures),
    }


def _ordered(paths: Sequence[str]) -> list[str]:
    """Numbered figures first, in their order."""

    def key(path: str) -> tuple[bool, int, str]:
        number = re.search(r"/figure-(\d+)", path)
        return number is None, int(number[1]) if number else 0, path

    return sorted(paths, key=key)


def _command(stage: str) -> str:
    return f"raycv {stage} --run RUN"


def _size(nets: Sequence[str], units: pd.DataFrame, images: int | None) -> str:
    of_first = units.loc[units["net"] == nets[0], "layer"]
    layers = list(dict.fromkeys(of_first))
    shown = f" {images:,} validation images passed through all of them at once." if images else ""
    return f"{len(nets)} networks with {len(of_first):,} units in {len(layers)} layers ({', '.join(layers)}).{shown}"


def _policy(style: str, script: str) -> str:
    """A content security policy: nothing is loaded from anywhere, and no other script runs."""

    def hashed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return f"default-src 'none'; img-src data:; style-src {hashed(style)}; script-src {hashed(script)}"


def _json(name: str, content: Any) -> str:
    # Inside a script element only "<" could end it or open a comment.
    text = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _sheets(number: int, pictures: Pictures) -> list[str]:
    return [
        f'<script type="text/plain" id="{kind}-{number}-{place}">{base64.b64encode(content).decode()}</script>'
        for kind, sheets in (("patches", pictures.patches), ("drives", pictures.drives))
        for place, content in enumerate(sheets.sheets)
    ]
