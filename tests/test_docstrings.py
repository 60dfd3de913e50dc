"""Docstrings of all that is public: complete, of the names that there are, and with examples that are true."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import raycv
from raycv import analysis, figures
from raycv.run import record, tables
from raycv.run.paths import patches_path
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from tests.support.runs import moments_of, specs, write_networks, write_statistics
from tests.support.small_tables import folds as small
from tests.support.small_tables import tables_of
from tests.support.tables import write_layers

NAMED_AS_THEIR_MODULES = ("partners", "recurrence", "transport", "slopes", "kmeans")
SECTIONS = ["Parameters", "Attributes", "Returns", "Raises", "Examples"]
SHOWN_METHOD_BY_METHOD = (raycv.Comparison, raycv.Moments, raycv.Run)


def public() -> Iterator[tuple[str, Any]]:
    """What has a docstring of its own, by its name: functions, classes, and what classes have."""
    found = {f"raycv.{name}": getattr(raycv, name) for name in raycv.__all__ if name != "__version__"}
    found |= {f"raycv.figures.{name}": getattr(figures, name) for name in figures.__all__}
    found |= {f"raycv.analysis.{name}": getattr(analysis, name) for name in analysis.__all__}
    for name in NAMED_AS_THEIR_MODULES:
        found[f"raycv.analysis.{name}.{name}"] = getattr(import_module(f"raycv.analysis.{name}"), name)
    for name, one in found.items():
        yield name, one
        if isinstance(one, type):
            yield from ((f"{name}.{part}", vars(one)[part]) for part in vars(one) if _is_documented(one, part))


def _is_documented(owner: type, name: str) -> bool:
    kinds = (property, cached_property, classmethod, staticmethod)
    return not name.startswith("_") and (inspect.isfunction(vars(owner)[name]) or isinstance(vars(owner)[name], kinds))


PUBLIC = dict(public())
FUNCTIONS = {name: one for name, one in PUBLIC.items() if inspect.isfunction(getattr(one, "__func__", one))}
CLASSES = {name: one for name, one in PUBLIC.items() if isinstance(one, type)}


def sections(one: Any) -> dict[str, str]:
    """The text under each heading of a docstring; what comes before the first is under no name."""
    parts = re.split(r"^(\w[\w ]*)\n-+$", inspect.getdoc(one) or "", flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entries(text: str) -> list[str]:
    """The names that stand in a section of parameters, attributes or errors."""
    heads = re.findall(r"^(\S.*?)(?: : .*)?$", text.strip("\n"), re.MULTILINE)
    return [name.lstrip("*") for head in heads for name in head.split(", ")]


def parameters(function: Callable[..., Any]) -> list[str]:
    """Those that are given: without what a method is called on."""
    return [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_docstring_begins_with_one_sentence(name: str) -> None:
    first, *rest = (inspect.getdoc(PUBLIC[name]) or "").split("\n")
    assert first.endswith("."), "one line, which ends in a full stop"
    assert not rest or not rest[0], "and an empty line behind it"
    named = [section for section in sections(PUBLIC[name]) if section]
    assert named == [section for section in SECTIONS if section in named]


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_say_what_they_take_and_give(name: str) -> None:
    function = getattr(FUNCTIONS[name], "__func__", FUNCTIONS[name])
    said = sections(function)
    assert entries(said.get("Parameters", "")) == parameters(function)
    assert ("Returns" in said) == (inspect.signature(function).return_annotation not in (None, "None"))
    owner = PUBLIC.get(name.rpartition(".")[0])
    if not isinstance(owner, type) or owner in SHOWN_METHOD_BY_METHOD:
        assert ">>>" in said.get("Examples", "")


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_classes_say_what_they_hold(name: str) -> None:
    said, made = sections(CLASSES[name]), CLASSES[name]
    if is_dataclass(made):
        held = [field.name for field in fields(made)]
    else:
        held = list(getattr(made, "_fields", ())) or list(getattr(made, "model_fields", ()))
    if held:
        assert entries(said.get("Attributes", said.get("Parameters", ""))) == held
    assert ">>>" in said.get("Examples", "")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds ``runs/first``, a run like README's in what examples show of it."""
    folder = tmp_path_factory.mktemp("examples")
    store, layers = RunStore(str(folder / "runs" / "first")), ("conv1", "conv2")
    nets = specs((18, 18), layers)
    write_networks(store, nets)
    samples = np.maximum(np.random.default_rng(0).standard_normal((2, 400, 36)), 0).astype(np.float32)
    folds = {layer: [moments_of(np.split(fold, 2, axis=1)) for fold in samples] for layer in layers}
    write_statistics(store, nets, folds, images=2000)
    for layer in layers:
        kinds = ("value", "image", "position", "label")
        nines = {f"{n}/{what}": np.tile(np.arange(9), (18, 1)) for n in range(2) for what in kinds}
        store.write_arrays(patches_path("statistics/0123456789abcdef", layer), nines)
    of_layers = [tables_of(layer, small(seed)) for seed, layer in enumerate(layers)]
    write_layers(
        store, "clusters", ((layer, found["clusters"]) for layer, found in zip(layers, of_layers, strict=True))
    )
    for name in ("matchings", "alignment", "mappings"):
        frame = pd.concat([found[name] for found in of_layers])
        tables.write(store, name, frame.reindex(columns=BY_NAME[name].schema.names))
    store.write("report.html", b"")
    record.finish(store, "align", "1", {}, {})
    return folder


@pytest.mark.parametrize("name", sorted(name for name in PUBLIC if ">>>" in (inspect.getdoc(PUBLIC[name]) or "")))
def test_examples_are_true(name: str, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    text = inspect.getdoc(PUBLIC[name]) or ""
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.FAIL_FAST)
    said: list[str] = []
    assert runner.run(example, out=said.append).failed == 0, "".join(said)
