"""`raycv report`: one HTML file to explore a run's units, their partners and its figures, which opens from disk."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from raycv import memory
from raycv.analysis.significance import FALSE_DISCOVERIES
from raycv.config import ReportConfig
from raycv.memory import Need
from raycv.paper import SPARSE_DECAY, TOP_PATCHES
from raycv.progress import Progress, say
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.stages.registry import STAGES
from raycv.stages.report import about, appendix, effects, overview, page, payload
from raycv.stages.report.memory import REMEDY, command_bytes
from raycv.stages.report.opening import show
from raycv.stages.report.sprites import Pictures, Sheets, pictures_within, sampled

PATH = "report.html"
LARGEST = 19_700_000  # bytes of the file, where the numbers leave enough for the pictures
MOST = 29_500_000  # bytes of the file, with at least some pictures of every layer ...
LEAST_PICTURES = 5_300_000  # ... which are these, if they fit
OPTIONAL = {table: what for stage in STAGES for table, what in stage.reported.items()}  # tables that a run may lack

IMAGES_ALONE = ("patch_pictures", "sampled_activations")  # of these, what runs of language models have not


def report(config: ReportConfig, store: RunStore) -> None:
    """Write ``report.html`` of a run. Does nothing where it is there and no other stage has finished since."""
    began = time.time()
    files = page.files()
    before = record.read(store)["stages"]
    identity = _identity(before, files)
    if is_done(config, store):
        say(f"report: already finished, nothing to do; open {store.locate(PATH)}")
        show(store.locate(PATH), asked=config.open)
        return
    memory.check_command("report", _need(store))
    content = html(store, before, files)
    uri = store.write(PATH, content)
    facts = {"seconds": {"report": round(time.time() - began, 1)}, "bytes": len(content)}
    record.finish(store, "report", identity, {}, facts)
    say(f"report: {len(content) / 1e6:.1f} MB; open {uri}")
    show(uri, asked=config.open)


def _need(store: RunStore) -> Need:
    """What the layer with most weights that are read at once needs."""
    most, of_all = 0, _widths(tables.read(store, "units", columns=["net", "layer"]))
    whole = payload.with_matrices(_shown(of_all))
    for layer, rows in tables.rows_of(store, "mapping_weights").items():
        if layer not in whole:  # one mapping layer after the other is read
            most = max(most, max(of_all[str(layer)]) ** 2)
            continue
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
    widths = _shown(_widths(units))
    everyone, nets = nets, nets[: len(widths[layers[0]])]
    shown = payload.with_matrices(widths)
    sample = _sampled(store, widths) if has["sampled_activations"] else None
    images = [] if sample is None else sample.images
    of_texts = tables.exists(store, "contexts")
    contexts = payload.contexts_shown(widths) if of_texts else 0
    numbers: dict[str, dict[str, Any]] = {}
    pictures: dict[str, Pictures | None] = {}
    with Progress("report", 2 * len(layers), "layers") as progress:
        for layer in layers:
            of_units, of_pairs = units[units["layer"] == layer], matchings[matchings["layer"] == layer]
            numbers[layer] = _numbers(store, layer, nets, of_units, of_pairs, has, images, shown=layer in shown)
            if contexts:
                rows = tables.read(store, "contexts", filters=[("layer", "==", layer), ("rank", "<=", contexts)])
                numbers[layer]["contexts"] = payload.context_columns(rows, nets, widths[layer])
            progress.advance(1, f"numbers of {layer}")
        figures = _figures(store)
        left_out = [layer for layer in layers if layer not in shown]
        run: dict[str, Any] = {
            "nets": nets,
            "everyone": everyone,
            "layers": layers,
            "title": title,
            "left_out": left_out,
        }
        run |= _facts(store, stages, units, has, bool(figures))
        run["of_texts"] = of_texts
        run["sample"] = None if sample is None else sample.described
        if has["patch_pictures"]:
            without = page.filled(files, title, figures, _data(run, numbers, {}, sample))
            free = max(LARGEST - len(without), min(LEAST_PICTURES, MOST - len(without)))
            for layer, found in pictures_within(store, nets, widths, free * 3 / 4):  # base64 makes four bytes of three
                pictures[layer] = found
                progress.advance(1, f"pictures of {layer}")
        progress.update(2 * len(layers))
    return page.filled(files, title, figures, _data(run, numbers, pictures, sample))


def _widths(units: pd.DataFrame) -> dict[str, list[int]]:
    """The number of units of every network by layer, both in the order of the table ``units``."""
    nets, layers = (dict.fromkeys(units[column].astype(str)) for column in ("net", "layer"))
    counts = units.groupby(["layer", "net"]).size()
    return {layer: [int(counts[layer, net]) for net in nets] for layer in layers}


def _shown(widths: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """The same of the networks whose units are shown."""
    count = payload.networks_shown(widths)
    return {layer: of_nets[:count] for layer, of_nets in widths.items()}


@dataclass(frozen=True)
class _Sample:
    """The sampled images that the page shows: their numbers, classes and pictures, in the order of their places."""

    images: list[int]
    labels: list[int]
    tile: int
    sheets: Sheets

    @property
    def described(self) -> dict[str, Any]:
        """What the page knows of them."""
        about = {"images": payload.packed(self.images), "labels": payload.packed(self.labels), "tile": self.tile}
        index = payload.packed(self.sheets.index[0])
        return about | {"columns": self.sheets.columns, "per_sheet": self.sheets.per_sheet, "index": index}


def _sampled(store: RunStore, widths: Mapping[str, Sequence[int]]) -> _Sample | None:
    """The sampled images that the page has room for; None where those are too few."""
    rows = tables.read(store, "sampled_images").sort_values("place")
    rows = rows.head(payload.sampled_images(widths, len(rows)))
    if rows.empty:
        return None
    return _Sample(rows["image"].tolist(), rows["label"].tolist(), *sampled(rows["picture"].tolist()))


def _data(
    run: Mapping[str, Any],
    numbers: Mapping[str, dict[str, Any]],
    pictures: Mapping[str, Pictures | None],
    sample: _Sample | None,
) -> list[str]:
    """The elements with all of the page's data: ``numbers`` and ``pictures`` by layer."""
    elements = [page.embedded("run", run)]
    if sample:
        elements += [page.sheet(f"sample-0-{n}", content) for n, content in enumerate(sample.sheets.sheets)]
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
    images: Sequence[int],
    *,
    shown: bool,
) -> dict[str, Any]:
    """All that the page knows of a layer but its pictures. ``units`` and ``matchings``: rows of the layer.

    With the activations in the sampled ``images``, and with its matrices where they are ``shown``.
    """

    def rows(name: str, *conditions: tables.Filter, **choice: Any) -> pd.DataFrame:
        return tables.read(store, name, filters=[("layer", "==", layer), *conditions], **choice)

    among = ("source_net", "in", list(nets)), ("target_net", "in", list(nets))

    found: dict[str, Any] = {
        "units": payload.unit_columns(units, nets),
        "partners": payload.partner_columns(matchings, nets),
    }
    widths = [column["width"] for column in found["units"]]
    if shown and tables.exists(store, "correlations"):
        found["correlations"] = payload.correlation_matrices(rows("correlations"), nets, widths)
    if has["recurrence"]:
        found["recurrence"] = payload.recurrence_columns(rows("recurrence"), nets)
    if has["mapping_units"]:
        of_units = payload.units_shown(rows("mapping_units", *among))
        if shown:
            # Of a list of decays pyarrow would pass over 0, of which a file says that it is at least -0.
            decays = ("decay", ">=", of_units["decay"].min()), ("decay", "<=", of_units["decay"].max())
            weights = rows("mapping_weights", ("solver", "in", sorted(set(of_units["solver"]))), *decays, *among)
        else:
            weights = strongest_weights(store, layer, of_units)
        found["predictors"] = payload.predictor_columns(weights, of_units, nets)
        if shown:
            found["weights"] = payload.weight_matrices(weights, nets, widths)
    if has["cluster_members"]:
        clusterings = rows("clusterings")
        found["clusters"] = payload.cluster_columns(clusterings, rows("clusters"), rows("cluster_members"), nets)
    if has["patch_pictures"]:
        labels = rows("patch_pictures", columns=["net", "unit", "rank", "label"])
        found["labels"] = payload.label_columns(labels, nets, widths)
        top = tables.read(store, "top_patches", filters=[("layer", "==", layer)])
        found["images"] = payload.image_columns(top, nets, widths)
    if images:
        wanted = ("net", "in", list(nets)), ("image", "in", list(images))
        sampled_rows = rows("sampled_activations", *wanted)
        found["sample"] = payload.sample_columns(sampled_rows, images, nets, widths)
    return found


def strongest_weights(store: RunStore, layer: str, units: pd.DataFrame) -> pd.DataFrame:
    """Rows of the table mapping_weights of a layer of any width: every target unit's strongest of each mapping layer.

    ``units``: the layer's rows of mapping_units. One mapping layer is read at a time: at decay 0 all weights of a layer
    of 4,096 units are 16.8 million.
    """
    keys = ["source_net", "target_net", "solver", "decay"]
    found = []
    for values in units[keys].drop_duplicates().itertuples(index=False, name=None):
        of_layer = dict(zip(keys, values, strict=True))
        rows = tables.read(
            store,
            "mapping_weights",
            columns=["target_unit", "source_unit", "weight"],
            filters=[("layer", "==", layer), *((key, "==", value) for key, value in of_layer.items())],
        )
        found.append(payload.strongest(rows, ["target_unit"]).assign(**of_layer))
    return pd.concat(found, ignore_index=True)


def _facts(
    store: RunStore, stages: Mapping[str, Any], units: pd.DataFrame, has: Mapping[str, bool], drawn: bool
) -> dict[str, Any]:
    """What the page knows of the run as a whole."""
    of_images = IMAGES_ALONE if tables.exists(store, "contexts") else ()
    missing = {
        what: _command(BY_NAME[name].stage)
        for name, what in OPTIONAL.items()
        if not has[name] and name not in of_images
    }
    if not drawn:
        missing["the figures"] = _command("figures")
    training = tables.read(store, "training") if tables.exists(store, "training") else None
    health = stages.get("align", {}).get("health")
    alignment = tables.read(store, "alignment")
    by_layer = tables.read(store, "alignment_by_layer") if tables.exists(store, "alignment_by_layer") else None
    rows = overview.averages(alignment, by_layer)
    output = health["layer"] if health else None
    broken = health["broken_pairs"] if health else []
    return {
        "answer": overview.answer(rows, output, broken),
        "origin": overview.origin(alignment, output),
        "averages": rows,
        "health": health,
        "accuracies": stages.get("train", {}).get("validation_top1") or {},
        "about": about.about(record.read(store), training),
        "classes": stages.get("patches", {}).get("class_names"),
        "units": len(units),
        "ranks": TOP_PATCHES,
        "false_discoveries": FALSE_DISCOVERIES,
        "sparse_decay": SPARSE_DECAY,
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

    def shown(number: int, path: str) -> str:
        return appendix.figure(number, store.locate(path), store.read(path))

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow encodes without the interpreter's lock
        return "".join(pool.map(shown, range(len(paths)), paths))


def _ordered(paths: Sequence[str]) -> list[str]:
    """Numbered figures first, in their order."""

    def key(path: str) -> tuple[bool, int, str]:
        number = re.search(r"/figure-(\d+)", path)
        return number is None, int(number[1]) if number else 0, path

    return sorted(paths, key=key)


def _command(stage: str) -> str:
    return f"raycv {stage} --run RUN"
