"""A run for the tests of the report: three networks, two layers and every table that the page reads."""

from __future__ import annotations

import colorsys
import io

import numpy as np
import pandas as pd
from PIL import Image, PngImagePlugin

from raycv.analysis.matching import bipartite_matching, semi_matching
from raycv.config import ReportConfig
from raycv.run import record, tables
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.stages.report.stage import report
from tests.support.tables import write_layers

NETS = ("net1", "<i>net2</i>", "net3")
WIDTHS = {"conv1": (5, 6, 5), 'fc"2"<b>': (130, 120, 130)}
CONV, FULL = WIDTHS
GROUPS = (2, 4)  # units of every network that are a recurring group
SAMPLED = 40  # images
PAPERS = 10**-2.6
CLASSES = ("cat", "<b>dog", "ship")
DECAYS = (0.0, 0.01, PAPERS)


def random_similarity(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    similarity = rng.uniform(-0.2, 1, (rows, columns)).astype(np.float32).astype(float)
    similarity[0] = np.nan  # unit 0 is dead
    return similarity


def write_matchings(store: RunStore) -> None:
    rng, frames, alignment = np.random.default_rng(0), [], []
    matrices: list[tuple[str, pd.DataFrame]] = []
    for layer, widths in WIDTHS.items():
        for (n, a), (m, b) in ((x, y) for x in enumerate(NETS) for y in enumerate(NETS) if x != y):
            for similarity in ("correlation", "mutual_information"):
                values = random_similarity(rng, widths[n], widths[m])
                if similarity == "correlation" and n < m:
                    rows, columns = np.indices(values.shape).reshape(2, -1)
                    cells = {"net_a": a, "net_b": b, "unit_a": rows, "unit_b": columns, "value": values.ravel()}
                    matrices.append((layer, pd.DataFrame(cells)))
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
                    chance = {
                        "rotated_value": 0.3,
                        "excess": found.values - 0.3,
                        "q_value": np.where(units["unit_a"] % 2, 0.01, 0.2),
                    }
                    frames.append(pd.DataFrame(about | units | (chance if method == "semi" else {})))
                    mean = float(np.nanmean(found.values))
                    of_pair = {"units": 5, "mean": mean, "mean_low": mean - 0.1, "untrained_mean": 0.1234}
                    of_pair |= (
                        {"excess": 0.0567, "untrained_excess": 0.0123, "beyond_chance": 0.5} if method == "semi" else {}
                    )
                    alignment.append(about | of_pair)
    write_layers(store, "correlations", matrices)
    tables.write(store, "matchings", pd.concat(frames).reindex(columns=BY_NAME["matchings"].schema.names))
    frame = pd.DataFrame(alignment).reindex(columns=BY_NAME["alignment"].schema.names)
    tables.write(
        store,
        "alignment",
        frame.assign(mean_high=frame["mean"] + 0.1, best_eight_kept=8).sample(frac=1, random_state=0),
    )


def write_averages(store: RunStore) -> None:
    """Intervals over networks of two of the averages."""
    rows = [
        {"layer": layer, "similarity": "correlation", "method": "semi", "quantity": quantity, "value": 0.05}
        for layer in WIDTHS
        for quantity in ("excess", "beyond_chance")
    ]
    frame = pd.DataFrame(rows).assign(networks_low=0.01, networks_high=0.09)
    tables.write(store, "alignment_by_layer", frame.reindex(columns=BY_NAME["alignment_by_layer"].schema.names))


def write_training(store: RunStore) -> None:
    rows = [{"net": net, "seed": 1, "epoch": epoch} for net in NETS for epoch in (1, 2, 3)]
    tables.write(store, "training", pd.DataFrame(rows).reindex(columns=BY_NAME["training"].schema.names))


def write_units(store: RunStore) -> None:
    rng = np.random.default_rng(1)
    frames = [
        pd.DataFrame(
            {
                "net": net,
                "layer": layer,
                "unit": np.arange(width),
                "unit_name": None,
                "mean": rng.uniform(0, 1, width),
                "std": rng.uniform(0, 2, width),
                "active_fraction": rng.uniform(0, 1, width),
                "kurtosis": 3.0,
                "class_purity": 0.5,
                "is_dead": np.arange(width) == 0,
                "is_rare": np.arange(width) == 1,
                "partner_stability": 0.75,
                "heldout_value": 0.5,
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
    every["recurring_group"] = np.where(every["unit"].isin(GROUPS), every["unit"] - GROUPS[0], -1)
    tables.write(store, "recurrence", every.assign(excess=every["unit"] / 100).fillna({"mutual": 0}))


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
    clusterings: list[dict[str, object]] = []
    nodes: list[tuple[str, pd.DataFrame]] = []
    members: list[tuple[str, pd.DataFrame]] = []
    for layer, widths in WIDTHS.items():
        for n, m in ((0, 1), (0, 2), (1, 2)):
            for k in (2, 3):
                about = {"net_a": NETS[n], "net_b": NETS[m], "threshold": 0.2, "k": k}
                clusterings.append({"layer": layer, **about, "is_default": k == 2, "mixed_modularity": 0.4})
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
    frame = pd.DataFrame(clusterings).reindex(columns=BY_NAME["clusterings"].schema.names)
    counts = {name: 0 for name in frame if frame[name].isna().all()} | {"size_limit": 4.8, "modularity": 0.5}
    tables.write(store, "clusterings", frame.assign(chosen=False).fillna(counts))
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


def label(unit: int, rank: int) -> int:
    """Class of a top patch: six of a unit's nine are of one class."""
    return unit % len(CLASSES) if rank <= 6 else (unit + 1) % len(CLASSES)


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
                found.append((NETS[net], unit, rank, label(unit, rank), "deconvnet", *pictures))
        names = [name for name in BY_NAME["patch_pictures"].schema.names if name != "layer"]
        return pd.DataFrame(found, columns=names)

    parts = ((layer, rows(layer, net)) for layer in WIDTHS for net in range(len(NETS)))
    write_layers(store, "patch_pictures", parts)


def activation(layer: str, net: int, unit: int) -> np.ndarray:
    """(SAMPLED,): the activations of a unit in the sampled images; those of unit 2 are the same in all networks."""
    rng = np.random.default_rng([len(layer), 0 if unit == 2 else net, unit])
    return np.maximum(rng.normal(size=SAMPLED), 0).astype(np.float32)


def write_sample(store: RunStore) -> None:
    images = np.random.default_rng(4).permutation(2000)[:SAMPLED]
    pictures = [png(np.full((32, 32, 3), (n * 6, 255 - n * 6, 128), dtype=np.uint8)) for n in range(SAMPLED)]
    about = {"place": np.arange(SAMPLED), "image": images, "label": np.arange(SAMPLED) % len(CLASSES)}
    tables.write(store, "sampled_images", pd.DataFrame(about | {"picture": pictures}))

    def rows(layer: str, net: int) -> pd.DataFrame:
        frames = []
        for unit in range(WIDTHS[layer][net]):
            end = 0.5 if layer == CONV else 1.0
            top = np.where(np.arange(SAMPLED) % 2, 1 - end, 0)
            edges = {"top_edge": top, "left_edge": 0, "bottom_edge": top + end, "right_edge": end}
            values = {"unit": unit, "image": images, "value": activation(layer, net, unit)}
            frames.append(pd.DataFrame({"net": NETS[net]} | values | edges))
        return pd.concat(frames)

    parts = ((layer, rows(layer, net)) for layer in WIDTHS for net in range(len(NETS)))
    write_layers(store, "sampled_activations", parts)


def write_top(store: RunStore) -> None:
    """The nine images of a unit are UNIT to UNIT + 8, those of net1 one further: eight of them are the same."""
    rows = [
        {"net": name, "layer": layer, "unit": unit, "rank": rank, "image": unit + rank - 1 + (net == 0)}
        for layer, widths in WIDTHS.items()
        for net, name in enumerate(NETS)
        for unit in range(widths[net])
        for rank in range(1, 10)
    ]
    frame = pd.DataFrame(rows).reindex(columns=BY_NAME["top_patches"].schema.names)
    tables.write(store, "top_patches", frame.fillna(0))


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
    write_averages(store)
    write_training(store)
    if optional:
        write_recurrence(store)
        write_mappings(store)
        write_clusters(store)
        write_pictures(store)
        write_top(store)
        write_sample(store)
        write_figures(store)
    accuracies = {net: 0.6065 + n / 100 for n, net in enumerate(NETS)}
    config = {"data": "cifar10-subset", "seeds": [1, 2, 3], "model": ["small-alexnet"], "epochs": 3}
    record.finish(store, "train", "1", config, {"validation_top1": accuracies})
    record.finish(store, "patches", "1", {}, {"class_names": CLASSES} if optional else {})
    record.finish(store, "collect", "1", {}, {"images": 2000})
    record.finish(store, "align", "1", {}, {"health": {"layer": FULL, "broken_pairs": []}})
    return store


def partners(store: RunStore, layer: str, a: str, b: str, kind: str, method: str) -> list[tuple[int, float]]:
    """The partner of every unit of ``a`` in ``b`` and the similarity of the two, as the table says."""
    rows = tables.read(store, "matchings")
    rows = rows[(rows["layer"] == layer) & (rows["net_a"] == a) & (rows["net_b"] == b)]
    rows = rows[(rows["similarity"] == kind) & (rows["method"] == method)].sort_values("unit_a")
    return list(zip(rows["unit_b"].tolist(), rows["value"].tolist(), strict=True))


def write_contexts(store: RunStore) -> None:
    """In the place of pictures what runs of language models have; of unit u the token at rank r is "u.r\\n"."""
    rows = {
        layer: pd.DataFrame([
            {"net": net, "unit": unit, "rank": rank, "document": rank, "place": 3, "value": 10.0 - rank,
             "before": f"<b>{layer} ", "token": f" {unit}.{rank}\n", "after": f" of {net}"}
            for net, width in zip(NETS, widths, strict=True) for unit in range(width) for rank in range(1, 10)
        ])
        for layer, widths in WIDTHS.items()
    }  # fmt: skip
    write_layers(store, "contexts", rows.items())
    record.finish(store, "align", "1", {}, {"health": {"layer": None, "broken_pairs": []}})
