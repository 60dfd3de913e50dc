"""The networks of a run as folders for the Hub, with cards, and a card of the run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from raycv.networks.stored import stored
from raycv.run import record, tables
from raycv.run.store import RunStore
from raycv.stages.export import card, hub

CARD = "README.md"
FOLDER = "hub"  # of the export, with a folder for each network


def write_cards(store: RunStore, folder: Path) -> None:
    """Write README.md, and hub/NET/ for every network with weights, into a local folder.

    Raises UserError where the run has no two networks, or a library can no longer build one of them.
    """
    found = record.read(store)
    data = found["config"].get("data")
    top1 = found["stages"].get("train", {}).get("validation_top1", {})
    given = any(found["config"].get(name) for name in ("checkpoints", "networks"))
    listed = []
    for network in stored(store):
        spec = network.spec
        listed.append((spec, "" if spec.is_recorded else f"{FOLDER}/{spec.name}"))
        if spec.is_recorded:
            continue
        place = folder / FOLDER / spec.name
        place.mkdir(parents=True)
        written = hub.write(store, network, place)
        told = card.of_network(spec, written, data, top1.get(spec.name), trained=not (given or spec.as_built))
        (place / CARD).write_text(told)
    (folder / CARD).write_text(card.of_run(listed, data, top1, _shared(store)))


def _shared(store: RunStore) -> list[str]:
    """Averages over pairs of networks, a row of Markdown for each layer; none before `raycv align`."""
    if "align" not in record.read(store)["stages"]:
        return []
    rows = tables.read(store, "alignment_by_layer")
    best = rows[(rows["similarity"] == "correlation") & (rows["method"] == "semi")]
    lines = [
        "Averages over pairs of networks of each unit's correlation with its best partner, and by how much that is "
        "more than with random mixtures of the other network's units (excess); its intervals are over networks.",
        "",
        "| layer | correlation | excess | 95% interval |",
        "| --- | --- | --- | --- |",
    ]
    means, excesses = (best[best["quantity"] == quantity] for quantity in ("mean", "excess"))
    both = means[["layer", "value"]].merge(excesses, on="layer", suffixes=("_mean", ""))
    for row in both.to_dict("records"):
        interval = "" if pd.isna(row["networks_low"]) else f"{row['networks_low']:.3f} to {row['networks_high']:.3f}"
        lines.append(f"| {row['layer']} | {row['value_mean']:.3f} | {row['value']:.3f} | {interval} |")
    return lines
