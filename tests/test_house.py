"""The house is laid out as CONTRIBUTING.md says: imports run one way, functions are short, reading a run is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LONGEST = 50  # lines of a function

# What each part of the package may import of the others, beside errors, paper and progress.
BELOW = {
    "analysis": set(),
    "run": {"analysis"},
    "data": {"run", "analysis"},
    "networks": {"data", "run", "analysis"},
    "statistics": {"networks", "data", "run", "analysis"},
    "distributed": {"run", "analysis"},
    "drawing": {"run", "analysis"},
    "cells": set(),
    "config": {"networks", "data", "cells"},
    "settings": {"config", "cells"},
    "flags": {"config", "settings"},
    "stages": {"statistics", "networks", "data", "distributed", "drawing", "run", "analysis", "config", "cells"},
    "api": {"stages", "statistics", "networks", "data", "drawing", "run", "analysis", "config", "settings"},
    "figures": {"stages"},
    "commands": {"stages", "config"},
    "queries": {"api", "data", "networks", "run"},
    "manifests": set(),
    "cli": {"commands", "queries", "manifests", "stages", "networks", "run", "config", "settings", "flags", "stopping"},
    "errors": set(),
    "extras": {"errors"},
    "devices": {"errors"},
    "memory": {"errors"},
    "paper": set(),
    "progress": set(),
    "stopping": set(),
    "telemetry": set(),
}
BASE = {"devices", "errors", "extras", "memory", "paper", "progress", "telemetry"}
# What every stage may import beside its own room: what stages know of one another.
OF_ALL_STAGES = tuple(f"raycv.stages.{name}" for name in ("registry", "intended", "piecewise_stage", "cells"))


def modules() -> Iterator[tuple[str, ast.Module]]:
    """The dotted name and the syntax tree of every module of the package but the package itself."""
    for path in sorted((ROOT / "raycv").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name not in ("raycv", "raycv.__main__"):
            yield name, ast.parse(path.read_text())


def imported(tree: ast.Module) -> Iterator[str]:
    """The dotted names of what a module imports of the package, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("raycv"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_run_one_way() -> None:
    wrong = []
    for name, tree in modules():
        part = name.split(".")[1]
        for target in imported(tree):
            other = target.split(".")[1]
            if other != part and other not in BELOW[part] | (BASE if part not in BASE else set()):
                wrong.append(f"{name} imports {target}")
    assert not wrong


def test_no_stage_imports_another() -> None:
    wrong = []
    for name, tree in modules():
        if name.startswith("raycv.stages."):
            room = name.split(".")[2]
            for target in imported(tree):
                own = not target.startswith("raycv.stages.") or target.split(".")[2] == room
                if not own and not f"{target}.".startswith(tuple(f"{module}." for module in OF_ALL_STAGES)):
                    wrong.append(f"{name} imports {target}")
    assert not wrong


@pytest.mark.parametrize("part", ["analysis", "run", "data", "networks", "statistics", "drawing"])
def test_only_stages_and_distributed_know_ray(part: str) -> None:
    for name, tree in modules():
        if name.split(".")[1] == part:
            found = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
            names = [node.module or "" for node in found if isinstance(node, ast.ImportFrom)]
            names += [alias.name for node in found if isinstance(node, ast.Import) for alias in node.names]
            assert not [imported for imported in names if imported.split(".")[0] == "ray"], name


def test_what_ray_does_not_publish_is_used_in_one_place() -> None:
    known = "raycv.distributed.unpublished_ray"
    inside = ("ray._", "ray.autoscaler", "ray.experimental", "ray.tune.execution", "ray.core", "ray.dashboard")
    for name, tree in modules():
        for node in ast.walk(tree):
            targets = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            targets += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert name == known or not [target for target in targets if target.startswith(inside)], name


def test_no_test_imports_another() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests."):
                assert f"{node.module}.".startswith("tests.support."), path


@pytest.mark.parametrize("folder", ["raycv", "jobs", "benchmarks", "scripts", "tests"])
def test_functions_are_short(folder: str) -> None:
    long = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and _lines(node) >= LONGEST
    ]
    assert not long


def _lines(function: ast.FunctionDef) -> int:
    """How many lines a function has without its docstring, which may explain at length."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and ast.get_docstring(function) is not None
    lines = (function.end_lineno or 0) - function.lineno
    return lines - (1 + (first.end_lineno or 0) - first.lineno if documented else 0)


def test_tests_mirror_the_package() -> None:
    rooms = {
        path.relative_to(ROOT / "raycv") for path in (ROOT / "raycv").rglob("*") if (path / "__init__.py").exists()
    }
    tests = {
        path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("*") if (path / "__init__.py").exists()
    }
    assert tests - {Path("support"), Path("faults")} <= rooms


READING = """
import sys
import raycv
from raycv.cli import main
from raycv.api.run import open_run
from raycv.drawing import montage, portraits, subject
from raycv.stages.registry import STAGES, loaded
[loaded(stage.figures) for stage in STAGES if stage.figures]
print(sorted({name.split(".")[0] for name in sys.modules} & {"ray", "torch", "torchvision"}))
"""


def test_reading_a_run_imports_neither_ray_nor_torch() -> None:
    done = subprocess.run([sys.executable, "-c", READING], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_class_name_means_one_thing() -> None:
    places: dict[str, list[str]] = {}
    for name, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(name)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
