"""The notebooks run from top to bottom on a small run, and say what its tables say."""

from __future__ import annotations

import ast
import base64
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

import raycv
from raycv.cli import main
from raycv.networks import checkpoints
from raycv.networks.models import build
from raycv.run import record, tables
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.stages.mapping.figures.table1 import optimiser_shares
from tests.support.effects import effect_tables
from tests.support.here import work_here
from tests.support.runs import specs, write_statistics
from tests.support.small_tables import NETS, WIDTH, folds, tables_of
from tests.support.tables import write_layers

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
READERS = [path for path in NOTEBOOKS if "raycv.open_run" in path.read_text()]
LAYERS = ("conv1", "conv3")


@pytest.fixture(scope="module")
def small_run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    store = RunStore(str(tmp_path_factory.mktemp("notebooks") / "run"))
    statistics = {layer: folds(seed) for seed, layer in enumerate(LAYERS)}
    nets = specs([WIDTH] * len(NETS), LAYERS)
    for stage in ("train", "collect", "align"):
        record.finish(store, stage, stage, {"data": str(images)}, {})
    for net in nets:
        checkpoints.save(store, net, build(net).state_dict())
    write_statistics(store, nets, {layer: moments.folds for layer, moments in statistics.items()}, images=160)
    of_layers = [tables_of(layer, moments) for layer, moments in statistics.items()]
    for name in of_layers[0]:
        # Columns that no notebook reads are left empty.
        frames = [found[name] for found in of_layers]
        if BY_NAME[name].partition:
            write_layers(store, name, zip(LAYERS, frames, strict=True))
        else:
            tables.write(store, name, pd.concat(frames).reindex(columns=BY_NAME[name].schema.names))
    for name, frame in effect_tables(LAYERS, NETS).items():
        tables.write(store, name, frame.reindex(columns=BY_NAME[name].schema.names))
    with pytest.MonkeyPatch.context() as patch:
        work_here(patch)
        assert main(["merge", "--run", store.uri, "--matching", "weights", "--alphas", "0,0.5,1"]) == 0
    return store.uri


def executed(cells: list[Any], run: str, *, allow_errors: bool = False) -> list[Any]:
    """The cells after one kernel has executed them in the notebooks' folder."""
    together: Any = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    environment = os.environ | {
        "RAYCV_RUN": run,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    resources = {"metadata": {"path": NOTEBOOKS[0].parent}}
    client = NotebookClient(
        together,
        startup_timeout=300,
        timeout=600,
        kernel_name="python3",
        resources=resources,
        allow_errors=allow_errors,
    )
    client.execute(env=environment)
    return list(together.cells)


@pytest.fixture(scope="module")
def outputs(small_run: str) -> dict[str, list[Any]]:
    """What each notebook puts out, executed from top to bottom where it stands.

    One kernel runs them one after the other, each with an empty namespace: most of the time goes to imports.
    """
    cells: list[Any] = []
    where = {}
    for path in NOTEBOOKS:
        found = nbformat.read(path, as_version=4).cells  # type: ignore[no-untyped-call]
        where[path.stem] = slice(len(cells), len(cells) + len(found))
        cells += [*found, nbformat.v4.new_code_cell("%reset -f")]  # type: ignore[no-untyped-call]
    cells = executed(cells, small_run)
    return {
        name: [output for cell in cells[part] for output in cell.get("outputs", [])] for name, part in where.items()
    }


def texts(outputs: list[Any]) -> str:
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def test_the_mapping_notebook_answers_from_the_tables(small_run: str, outputs: dict[str, list[Any]]) -> None:
    said = texts(outputs["mapping"])
    shares = optimiser_shares(pd.read_parquet(f"{small_run}/tables/mappings")).query("layer == 'conv3'")
    dense, sparse = shares.to_dict("records")
    penalty = sparse["heldout"] - dense["heldout"]
    assert f"conv3 without a penalty: {dense['heldout']:.3f} real + {dense['optimiser']:.3f} optimiser" in said
    assert f"{dense['heldout']:.3f} real + {penalty:.3f} penalty + {sparse['optimiser']:.3f} optimiser." in said
    assert f"{dense['share']:.0%} to {dense['share']:.0%} of the dense loss of conv3" in said
    assert "of 9 units" in said


def test_the_first_notebook_shows_matches_and_averages(small_run: str, outputs: dict[str, list[Any]]) -> None:
    said = texts(outputs["quickstart"])
    matchings = pd.read_parquet(f"{small_run}/tables/matchings")
    one = matchings.query("layer == 'conv1' and method == 'bipartite' and net_a == 'net1'")
    assert f"{one['value'].max():.3f}" in said
    between = raycv.open_run(small_run).correlation("conv1", "net1", "net2")
    assert " ".join(f"{value:.2f}" for value in between[0, :6]) in " ".join(said.split())
    assert "untrained_excess" in said


def test_the_cluster_notebook_names_members_at_a_cut(outputs: dict[str, list[Any]]) -> None:
    said = texts(outputs["clusters"])
    assert "restart_stability" in said
    assert "clusters" in said.splitlines()[-2]
    assert any("image/png" in output.get("data", {}) for output in outputs["clusters"])


def test_the_notebook_of_matched_units_shows_what_the_tables_say(small_run: str, outputs: dict[str, list[Any]]) -> None:
    said = " ".join(texts(outputs["matched_units"]).split())
    pruned = pd.read_parquet(f"{small_run}/tables/pruning_by_layer")
    half = pruned.query("fraction == 0.5 and removal_order == 'random' and layer == 'conv1' and not compensated")
    one = half["top1_change"].item()
    assert f"{100 * one:.1f}" in said
    ensembles = pd.read_parquet(f"{small_run}/tables/ensembles").query("size == 2")
    assert f"net1,net2 {ensembles['top1'].item():.3f}" in said
    assert sum("image/png" in output.get("data", {}) for output in outputs["matched_units"]) == 2


def test_the_notebook_of_merging_finds_the_barriers_of_the_table(outputs: dict[str, list[Any]]) -> None:
    said = texts(outputs["merging"])
    assert float(re.findall(r"largest difference: (\S+) nats", said)[0]) < 1e-5
    barriers = re.findall(r"^(?:naive|permuted) +(\S+) +(\S+) +(\S+)$", said, re.MULTILINE)
    assert len(barriers) == 2
    assert all(by_hand == in_table == barrier for by_hand, in_table, barrier in barriers)
    assert sum("image/png" in output.get("data", {}) for output in outputs["merging"]) == 1


def test_the_notebook_of_an_attribution_says_what_the_kept_tables_say(outputs: dict[str, list[Any]]) -> None:
    said = texts(outputs["attribution"])
    kept = ROOT / "docs/findings/attribution-eight"
    rows = pd.read_parquet(kept / "attribution.parquet").query("measure == 'prerelu_excess'")
    for row in rows.itertuples():
        (line,) = re.findall(rf"^{row.cell} - {row.against}: .*$", said, re.MULTILINE)
        sentence = f"{row.layer} {row.difference:+.3f} ({row.low:+.3f} to {row.high:+.3f})"
        assert (sentence in line) == (float(str(row.q_value)) <= 0.05)
    assert sum("image/png" in output.get("data", {}) for output in outputs["attribution"]) == 1


def test_any_networks_are_compared_without_a_run(outputs: dict[str, list[Any]]) -> None:
    said = texts(outputs["any_network"])
    top1 = [int(found) for found in re.findall(r"top-1 (\d+)%", said)]
    assert len(top1) == 2
    assert min(top1) > 15  # of 800 images; chance gets 10%
    for trained, untrained in re.findall(r"([\d.]+) nats per character, untrained ([\d.]+)", said):
        assert float(trained) < 0.7 * float(untrained)
    trained, untrained = map(int, re.findall(r"(\d+) mutual best partners.*\((\d+) before training\)", said)[0])
    assert trained > 0 < untrained
    assert sum("image/png" in output.get("data", {}) for output in outputs["any_network"]) == 2


def test_without_a_variable_they_read_the_run_that_the_readme_makes() -> None:
    assert "raycv run --run runs/first\n" in (ROOT / "README.md").read_text()
    for path in READERS:
        first = next(cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")  # type: ignore[no-untyped-call]
        assert 'raycv.open_run(os.environ.get("RAYCV_RUN", "../runs/first"))' in first.source


def test_without_a_run_they_say_how_to_make_one(tmp_path: Path) -> None:
    first = [
        next(cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")  # type: ignore[no-untyped-call]
        for path in READERS
    ]
    said = [error for cell in executed(first, str(tmp_path / "none"), allow_errors=True) for error in cell.outputs]
    sentence = (
        f"There is no run in {tmp_path}/none: it has no run.json. Make one with `raycv run --run {tmp_path}/none`."
    )
    assert [(error.ename, error.traceback) for error in said] == [("UserError", [sentence])] * len(READERS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_need_nothing_beside_raycv(path: Path) -> None:
    code = "\n".join(
        re.sub("^%", "# %", cell.source, flags=re.MULTILINE)
        for cell in nbformat.read(path, as_version=4).cells  # type: ignore[no-untyped-call]
        if cell.cell_type == "code"
    )
    imports = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {node.module or "" for node in imports if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = (
        project["dependencies"] + project["optional-dependencies"]["analysis"] + project["optional-dependencies"]["run"]
    )
    given = {re.split(r"[\[><=]", name)[0] for name in needed} | {"raycv"} | sys.stdlib_module_names
    assert {name.split(".")[0] for name in names} <= given


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_there_whole_and_light(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert any(cell.outputs for cell in cells)
    for output in (output for cell in cells for output in cell.outputs):
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        assert not re.search(r"(?<![\w.:/])/(home|root|tmp|Users)/", texts([output]))  # whose machine made it
        assert len(base64.b64decode(output.get("data", {}).get("image/png", ""))) < 50_000
    assert len(path.read_bytes()) < 120_000
