"""A run that names functions, in whichever of its files: no command imports or calls them."""

from __future__ import annotations

import io
import itertools
import json
import pickle
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import raycv
from raycv.cli import main
from raycv.distributed import ray_cluster
from raycv.errors import UserError
from raycv.networks import trust
from raycv.networks.models import build
from raycv.run.store import RunStore
from tests.support.aligned_run import write_aligned_run
from tests.support.commands import failing
from tests.support.here import work_here
from tests.support.runs import spec

MODULE = "raycv_marker_of_a_test"
FUNCTION = f"{MODULE}:build"
BUILDING = ("collect", "patches", "prune", "ablate", "ensemble", "stitch", "merge", "sweep mapping --solvers streamed")
READING = ("status", "figures", "report", "tables")
COMMANDS = ("plan", "run", "train", "study", "attribute", "clean", "sweep clusters", *BUILDING, *READING)


@pytest.fixture(scope="module")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of networks that nobody has trained, up to its tables."""
    store = RunStore(str(tmp_path_factory.mktemp("whole") / "run"))
    return Path(write_aligned_run(store, images, width=4).uri)


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that is there once the module has been imported; nothing is allowed, and no cluster is started."""
    made = tmp_path / "marker"
    (tmp_path / f"{MODULE}.py").write_text(f"open({str(made)!r}, 'w').close()\ndef build(**_):\n    return None\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(trust, "_allowed", set())
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def refuse(*_given: object) -> None:
        raise UserError("No cluster here.")

    monkeypatch.setattr(ray_cluster, "connect", refuse)
    yield made
    sys.modules.pop(MODULE, None)


def altered(run: Path, to: Path) -> Path:
    """A copy of a run in which whatever says what builds a network says the function instead."""
    shutil.copytree(run, to)

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: FUNCTION if name == "model" else named(below) for name, below in value.items()}
        return [named(below) for below in value] if isinstance(value, list) else value

    for path in to.rglob("*.json"):
        content = named(json.loads(path.read_text()))
        for described in [content.get("spec"), *itertools.chain(*content.get("groups", {}).values())]:
            if described:
                described["width"] = None
        if "config" in content:
            content["config"] |= {"model": [FUNCTION], "width": None}
        path.write_text(json.dumps(content))
    return to


def done(capsys: pytest.CaptureFixture[str], run: Path, command: str, *flags: str) -> tuple[int, str]:
    """The exit code of a command, and what it says to the standard error."""
    where = [] if command in ("tables",) else ["--run", str(run)]
    code = main([*command.split(), *where, *flags])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return code, said


@pytest.mark.parametrize("command", [*BUILDING, "plan", "run", "train"])
def test_what_builds_networks_says_which_function_the_run_asks_for(
    whole: Path, tmp_path: Path, marker: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    run = altered(whole, tmp_path / "run")
    if command == "collect":  # of other settings than those it is done with
        command = "collect --shard-size 64"
    code, said = done(capsys, run, command)
    assert code == 2
    assert f"asks for {FUNCTION}, " in said
    assert f"--trust {FUNCTION}" in said
    assert said.count("\n") == 1
    assert not marker.exists()


def test_what_reads_a_run_reads_it(
    whole: Path, tmp_path: Path, marker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = altered(whole, tmp_path / "run")
    for command in ("status", "tables", f"export --to {tmp_path / 'copy'}"):
        assert done(capsys, run, command)[0] == 0, command
    opened = raycv.open_run(str(run))
    assert {network.model for network in opened.networks.values()} == {FUNCTION}
    assert opened.correlation("fc7", "net1", "net2").shape[0] == len(opened.table("units", net="net1", layer="fc7"))
    assert not marker.exists()


@pytest.mark.slow
def test_what_draws_a_run_draws_it(
    images: Path, tmp_path: Path, marker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / f"{number}.pt" for number in (1, 2)]
    for number, file in enumerate(files, 1):
        torch.save(build(spec(number, 4)).state_dict(), file)
    given = ["--data", str(images), "--checkpoints", ",".join(map(str, files)), "--width", "4", "--layers", "conv1,fc8"]
    made = tmp_path / "made"
    with pytest.MonkeyPatch.context() as patch:
        work_here(patch)
        assert main(["train", "--run", str(made), *given]) == 0
        for stage, code in (("collect", 0), ("align", 3), ("patches", 0)):  # untrained: the health check fails
            assert main([stage, "--run", str(made)]) == code
    run = altered(made, tmp_path / "run")
    for command in ("figures", "report"):
        assert done(capsys, run, command)[0] == 0, command
    assert (run / "report.html").exists()
    assert not marker.exists()


def test_the_function_is_called_for_a_user_who_allows_it(
    whole: Path, tmp_path: Path, marker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By --trust, also later; by naming it in the command, the environment or its settings file."""
    run = altered(whole, tmp_path / "run")
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"networks:\n- {{name: net1, model: '{FUNCTION}'}}\n")
    assert "must return a PyTorch module" in failing(capsys, "collect", "--run", str(run), "--config", str(settings))
    assert marker.exists()
    trust._allowed.clear()
    assert FUNCTION in failing(capsys, "prune", "--run", str(run))
    assert "must return a PyTorch module" in failing(capsys, "prune", "--run", str(run), "--trust", f"a:b,{FUNCTION}")
    trust._allowed.clear()
    assert "must return a PyTorch module" in failing(capsys, "prune", "--run", str(run))
    assert MODULE not in "".join(path.read_text() for path in run.rglob("run.json") if "trust" in path.read_text())


def test_the_environment_names_a_function_too(
    whole: Path, tmp_path: Path, marker: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYCV_MODEL", f"small-alexnet,{FUNCTION}")
    assert "must return a PyTorch module" in failing(capsys, "prune", "--run", str(altered(whole, tmp_path / "run")))


STRIDE = 7  # each command takes a tenth of a second


def leaves(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in what a JSON file holds there is something that is neither list nor mapping."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, below in items:
            yield from leaves(below, (*above, name))
    else:
        yield above


def test_no_value_of_any_json_file_is_called(
    whole: Path, tmp_path: Path, marker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Values, one at a time, become the name of the function; each time another command reads the run."""
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    cheap = [command for command in COMMANDS if command not in ("figures", "report", "run", "plan")]
    commands = itertools.cycle(cheap)
    for path in sorted(run.rglob("*.json")):
        before = path.read_bytes()
        for place in list(leaves(json.loads(before)))[::STRIDE]:
            content = json.loads(before)
            value = content
            for name in place[:-1]:
                value = value[name]
            value[place[-1]] = FUNCTION
            path.write_text(json.dumps(content))
            done(capsys, run, next(commands))
            path.write_bytes(before)
    assert not marker.exists()


unpickled: list[str] = []


def note(what: str) -> None:
    unpickled.append(what)


class Evil:
    """What calls a function once it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return note, ("called",)


def pickles(path: Path) -> bytes:
    """A pickle in the form of the file that it replaces."""
    buffer = io.BytesIO()
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            names = list(arrays.files)
        np.savez(buffer, allow_pickle=True, **{name: np.array([Evil()], dtype=object) for name in names})
        return buffer.getvalue()
    return pickle.dumps(Evil())


def test_nothing_in_a_run_is_unpickled(
    whole: Path, tmp_path: Path, marker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pickle.loads(pickle.dumps(Evil()))
    assert unpickled.pop() == "called"  # so a test that finds nothing would have found it
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.suffix != ".json")
    kinds = {path.suffix: path for path in files}
    assert {".npz", ".parquet", ".safetensors"} <= kinds.keys()
    for path in files:
        path.write_bytes(pickles(path))
    for command in COMMANDS:
        if command not in ("tables", "plan", "run"):
            done(capsys, run, command)
    opened = raycv.open_run(str(run))
    for ask in (lambda: opened.correlation("fc7", "net1", "net2"), lambda: opened.table("units")):
        with pytest.raises(UserError, match="is damaged|is not a readable table"):
            ask()
    assert not unpickled
