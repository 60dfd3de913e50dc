"""`raycv report`: one HTML file to explore a run's units, their partners and its figures, which opens from disk."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from raycv import memory
from raycv.config import ReportConfig
from raycv.memory import Need
from raycv.progress import Progress, say
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.stages.report import appendix, effects, overview, page, payload
from raycv.stages.report.memory import REMEDY, command_bytes
from raycv.stages.report.sprites import Pictures, pictures_within

PATH = "report.html"
LARGEST = 19_700_000  # bytes of the file, where the numbers leave enough for the pictures
LEAST_PICTURES = 4e6  # bytes that the pictures may have in any case
OPTIONAL = {  # tables that a run may lack, by what the report then leaves out
    "patch_pictures": "the patches that drive each unit",
    "mapping_units": "what predicts each unit (mapping layers)",
    "cluster_members": "clusters of units",
    "recurrence": "in how many networks each unit recurs",
}


def report(config: ReportConfig, store: RunStore) -> None:
    """Write ``report.html`` of a run. Does nothing where it is there and no other stage has finished since."""
    began = time.time()
    files = page.files()
    before = record.read(store)["stages"]
    identity = _identity(before, files)
    if is_done(config, store):
        say(f"report: already finished, nothing to do; open {store.locate(PATH)}")
        return
    memory.check_command("report", _need(store))
    content = html(store, before, files)
    uri = store.write(PATH, content)
    facts = {"seconds": {"report": round(time.time() - began, 1)}, "bytes": len(content)}
    record.finish(store, "report", identity, {}, facts)
    say(f"report: {len(content) / 1e6:.1f} MB; open {uri}")


def _need(store: RunStore) -> Need:
    """What the layer with most weights that are shown needs."""
    most = 0
    for layer, rows in tables.rows_of(store, "mapping_weights").items():
        units = tables.read(store, "mapping_units", filters=[("layer", "==", layer)])
        shown = payload.units_shown(units)
        used = 2 * int(np.nan_to_num(shown["units_used"]).sum())  # weights, also those too small to count as used
        most = max(most, rows if len(shown) == len(units) else min(rows, used))
    return Need.of(command_bytes(most), REMEDY)


def is_done(_config: ReportConfig, store: RunStore) -> bool:
    """Whether the run has its report, and no other stage has finished since."""
    identity = _identity(record.read(store)["stages"], page.files())
    return record.finished(store, "report", identity) and store.exists(PATH)


def _identity(stages: Mapping[str, Any], files: Mapping[str, str]) -> str:
    return fingerprint({name: done for name, done in stages.items() if name != "report"}, files)


def html(store: RunStore, stages: Mapping[str, Any], files: Mapping[str, str]) -> bytes:
    """The page, from the run's tables and what run.json says of its ``stages``; ``files``: of `page.files`."""
    units, matchings = tables.units_and_matchings(store)
    nets, layers = ([str(name) for name in dict.fromkeys(units[column])] for column in ("net", "layer"))
    has = {name: tables.exists(store, name) for name in OPTIONAL}
    title = store.uri.rsplit("/", 1)[-1]
    numbers: dict[str, dict[str, Any]] = {}
    pictures: dict[str, Pictures | None] = {}
    with Progress("report", 2 * len(layers), "layers") as progress:
        for layer in layers:
            of_units, of_pairs = units[units["layer"] == layer], matchings[matchings["layer"] == layer]
            numbers[layer] = _numbers(store, layer, nets, of_units, of_pairs, has)
            progress.advance(1, f"numbers of {layer}")
        figures = _figures(store)
        widths = {layer: [column["width"] for column in numbers[layer]["units"]] for layer in layers}
        left_out = [layer for layer in layers if not payload.fits(widths[layer])]
        run = {"nets": nets, "layers": layers, "title": title, "left_out": left_out}
        run |= _facts(store, stages, units, has, bool(figures))
        if has["patch_pictures"]:
            without = page.filled(files, title, figures, _data(run, numbers, {}))
            free = (LARGEST - len(without)) * 3 / 4  # base64 makes four bytes of three
            for layer, found in pictures_within(store, nets, widths, max(free, LEAST_PICTURES)):
                pictures[layer] = found
                progress.advance(1, f"pictures of {layer}")
        progress.update(2 * len(layers))
    return page.filled(files, title, figures, _data(run, numbers, pictures))


def _data(
    run: Mapping[str, Any], numbers: Mapping[str, dict[str, Any]], pictures: Mapping[str, Pictures | None]
) -> list[str]:
    """The elements with all of the page's data: ``numbers`` and ``pictures`` by layer."""
    elements = [page.embedded("run", run)]
    for place, (layer, described) in enumerate(numbers.items()):
        found = pictures.get(layer)
        columns = payload.picture_columns(found) if found else None
        elements.append(page.embedded(f"layer-{place}", {**described, "pictures": columns}))
        if found:
            for kind, sheets in (("patches", found.patches), ("drives", found.drives)):
                elements += [page.sheet(f"{kind}-{place}-{n}", content) for n, content in enumerate(sheets.sheets)]
    return elements


def _numbers(
    store: RunStore,
    layer: str,
    nets: Sequence[str],
    units: pd.DataFrame,
    matchings: pd.DataFrame,
    has: Mapping[str, bool],
) -> dict[str, Any]:
    """All that the page knows of a layer but its pictures. ``units`` and ``matchings``: rows of the layer."""

    def rows(name: str, *conditions: tables.Filter, **choice: Any) -> pd.DataFrame:
        return tables.read(store, name, filters=[("layer", "==", layer), *conditions], **choice)

    found: dict[str, Any] = {
        "units": payload.unit_columns(units, nets),
        "partners": payload.partner_columns(matchings, nets),
    }
    widths = [column["width"] for column in found["units"]]
    shown = payload.fits(widths)
    if shown and tables.exists(store, "correlations"):
        found["correlations"] = payload.correlation_matrices(rows("correlations"), nets, widths)
    if has["recurrence"]:
        found["recurrence"] = payload.recurrence_columns(rows("recurrence"), nets)
    if has["mapping_units"]:
        units = payload.units_shown(rows("mapping_units"))
        # Of a list of decays pyarrow would pass over 0, of which a file says that it is at least -0.
        decays = ("decay", ">=", units["decay"].min()), ("decay", "<=", units["decay"].max())
        weights = rows("mapping_weights", ("solver", "in", sorted(set(units["solver"]))), *decays)
        found["predictors"] = payload.predictor_columns(weights, units, nets)
        if shown:
            found["weights"] = payload.weight_matrices(weights, nets, widths)
    if has["cluster_members"]:
        clusterings = rows("clusterings")
        found["clusters"] = payload.cluster_columns(clusterings, rows("clusters"), rows("cluster_members"), nets)
    if has["patch_pictures"]:
        labels = rows("patch_pictures", columns=["net", "unit", "rank", "label"])
        found["labels"] = payload.label_columns(labels, nets, widths)
    return found


def _facts(
    store: RunStore, stages: Mapping[str, Any], units: pd.DataFrame, has: Mapping[str, bool], drawn: bool
) -> dict[str, Any]:
    """What the page knows of the run as a whole."""
    missing = {what: _command(BY_NAME[name].stage) for name, what in OPTIONAL.items() if not has[name]}
    if not drawn:
        missing["the figures"] = _command("figures")
    health = stages.get("align", {}).get("health")
    rows = overview.averages(tables.read(store, "alignment"))
    output = health["layer"] if health else None
    broken = health["broken_pairs"] if health else []
    return {
        "answer": overview.answer(rows, output, broken),
        "averages": rows,
        "health": health,
        "accuracies": stages.get("train", {}).get("validation_top1") or {},
        "images": stages.get("collect", {}).get("images"),
        "classes": stages.get("patches", {}).get("class_names"),
        "units": len(units),
        "pictured": has["patch_pictures"],
        "missing": missing,
        "recurring": _recurring(store) if has["recurrence"] else {},
        "effects": effects.sentences(store),
    }


def _recurring(store: RunStore) -> dict[str, int]:
    """By layer how many units have a partner in all other networks."""
    rows = tables.read(store, "recurrence")
    everywhere = rows["partners"] == rows["net"].nunique() - 1
    return {str(layer): int(count) for layer, count in everywhere.groupby(rows["layer"], sort=False).sum().items()}


def _figures(store: RunStore) -> str:
    """The appendix: every picture that the run has."""
    paths = [path for path in _ordered(store.list("figures")) if path.endswith(".png")]
    return "".join(appendix.figure(number, store.locate(path), store.read(path)) for number, path in enumerate(paths))


def _ordered(paths: Sequence[str]) -> list[str]:
    """Numbered figures first, in their order."""

    def key(path: str) -> tuple[bool, int, str]:
        number = re.search(r"/figure-(\d+)", path)
        return number is None, int(number[1]) if number else 0, path

    return sorted(paths, key=key)


def _command(stage: str) -> str:
    return f"raycv {stage} --run RUN"
