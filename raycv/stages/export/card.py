"""Model cards: README.md as the Hugging Face Hub reads it, of a run and of each of its networks.

A card says what the run knows, and where it knows nothing, as of licences, it says that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml

from raycv.data.readers import EMBEDDED
from raycv.networks.spec import NetworkSpec
from raycv.stages.export import hub

TAGS = ["raycv", "convergent-learning"]
OWN_IMAGES = "images of CIFAR-10, the part that comes with raycv (raycv-images)"
LICENCE = """\
## Licence

Not known: raycv is told neither under which licence the weights are given, nor that of the data. Say it here, and in \
the block at the top of this file, before you publish."""
ON_HUB = re.compile(r"hf://datasets/([^/]+/[^/@]+)")


def data_in_words(data: str | None) -> str:
    """The data of a run, as its settings name them."""
    return OWN_IMAGES if data in (None, EMBEDDED) else f"`{data}`"


def of_network(spec: NetworkSpec, written: hub.Written, data: str | None, top1: float | None, trained: bool) -> str:
    """The card of one network; ``{folder}`` in it stands for where its files are."""
    about: dict[str, Any] = {**_about(data)}
    if written.library:
        about["library_name"] = written.library
    if top1 is not None:
        about["pipeline_tag"] = "image-classification"
        about["model-index"] = [_index(spec, data, top1)]
    facts = [
        f"- Model: {hub.origin(spec)}",
        f"- Weights: trained by raycv from seed {spec.seed}"
        if trained
        else "- Weights: given to raycv, not trained by it",
        f"- Data: {data_in_words(data)}",
        f"- Layers that were compared: {', '.join(f'`{layer}`' for layer in spec.layers)}",
    ]
    if top1 is not None:
        facts.append(f"- Top-1 on the validation images: {100 * top1:.1f}%")
    if spec.sees_images:
        facts.append(f"- Images: {_preparation(spec)}")
    loading = written.loading.replace("{folder}", ".")
    return "\n\n".join(
        [
            _block(about) + f"# {spec.name}",
            "One of the networks of a comparison by raycv (Convergent Learning, arXiv:1511.07543).",
            "\n".join(facts),
            f"## Loading\n\nIn this folder:\n\n```python\n{loading}\n```",
            f"{LICENCE}\n",
        ]
    )


def of_run(
    networks: Sequence[tuple[NetworkSpec, str]], data: str | None, top1: Mapping[str, float], shared: Sequence[str]
) -> str:
    """The card of a run. ``networks``: with the folder of each, or empty; ``shared``: rows of what units share."""
    lines = ["| network | model | seed | top-1 | folder |", "| --- | --- | --- | --- | --- |"]
    for spec, folder in networks:
        right = f"{100 * top1[spec.name]:.1f}%" if spec.name in top1 else ""
        where = f"[`{folder}`]({folder}/README.md)" if folder else "recorded activations, no weights"
        lines.append(f"| {spec.name} | {hub.origin(spec)} | {spec.seed} | {right} | {where} |")
    parts = [
        _block(_about(data)) + "# Which units do these networks share?",
        "A run of raycv: networks compared unit by unit (Convergent Learning, arXiv:1511.07543).",
        f"Data: {data_in_words(data)}.",
        "\n".join(lines),
    ]
    if shared:
        parts.append("\n".join(["## What is shared", "", *shared]))
    parts += [
        "## Reading it\n\n`report.html` shows it in a browser. `raycv.open_run(FOLDER)` reads it, and pandas every "
        "table: `pandas.read_parquet(FOLDER + '/tables/alignment')`.",
        f"{LICENCE}\n",
    ]
    return "\n\n".join(parts)


def _about(data: str | None) -> dict[str, Any]:
    named = ON_HUB.match(data or "")
    return {"license": "unknown", "tags": TAGS, **({"datasets": [named[1]]} if named else {})}


def _index(spec: NetworkSpec, data: str | None, top1: float) -> dict[str, Any]:
    name = PurePosixPath(data or EMBEDDED).name
    dataset = {"name": name, "type": name, "split": "validation"}
    metric = {"type": "accuracy", "value": round(float(top1), 4), "name": "top-1"}
    task = {"type": "image-classification"}
    return {"name": spec.name, "results": [{"task": task, "dataset": dataset, "metrics": [metric]}]}


def _preparation(spec: NetworkSpec) -> str:
    seen = spec.preprocessing
    fit = "squashed" if seen.fit == "squash" else "shorter side resized"
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (seen.mean, seen.std))
    return (
        f"{fit} to {seen.resize} pixels ({seen.interpolation}), the middle {seen.crop} x {seen.crop} cut out, less "
        f"{mean}, over {std}, of pixels from 0 to 255"
    )


def _block(about: Mapping[str, Any]) -> str:
    return f"---\n{yaml.safe_dump(dict(about), sort_keys=False, allow_unicode=True)}---\n\n"
