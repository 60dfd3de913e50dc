"""What a person gets who damages a run's files, or names the wrong ones: one sentence, exit code 2, nothing changed."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import raycv
from raycv import statistics
from raycv.cli import main
from raycv.distributed import ray_cluster
from raycv.errors import UserError
from raycv.networks.models import build
from raycv.networks.stored import stored
from raycv.run import record, tables
from raycv.run.names import is_ours
from raycv.run.store import RunStore
from tests.support.commands import failing
from tests.support.here import work_here
from tests.support.runs import spec

FIGURE = "figures/filters.png"


@pytest.fixture(scope="module")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two untrained networks with all that the stages without Ray Tune write."""
    folder = tmp_path_factory.mktemp("whole")
    files = [folder / f"{number}.pt" for number in (1, 2)]
    for number, file in enumerate(files, 1):
        torch.save(build(spec(number, 4)).state_dict(), file)
    chosen = (
        "--data",
        str(images),
        "--checkpoints",
        ",".join(map(str, files)),
        "--width",
        "4",
        "--layers",
        "conv1,fc8",
    )
    run = folder / "run"
    with pytest.MonkeyPatch.context() as patch:
        work_here(patch)
        assert main(["train", "--run", str(run), *chosen]) == 0
        for stage, code in (("collect", 0), ("align", 3), ("patches", 0)):  # untrained: the health check fails
            assert main([stage, "--run", str(run)]) == code
    assert all(map(is_ours, RunStore(str(run)).sizes()))
    (run / "figures").mkdir()
    Image.new("RGB", (8, 8)).save(run / FIGURE)
    return run


@pytest.fixture
def run(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to be damaged; what is refused is refused before a cluster is started."""
    monkeypatch.setattr(ray_cluster, "connect", lambda *_given: pytest.fail("Ray was started first"))
    return Path(shutil.copytree(whole, tmp_path / "run"))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(capsys: pytest.CaptureFixture[str], run: Path, command: str, *flags: str) -> str:
    """The sentence with which ``command`` refuses the run, which stays as it was."""
    before = contents(run)
    said = failing(capsys, *command.split(), "--run", str(run), *flags)
    assert "Traceback" not in said
    assert contents(run) == before
    return said


# -- JSON ------------------------------------------------------------------------------------------------------------

STAGES = ("train", "collect", "align", "sweep mapping", "sweep clusters", "patches", "figures", "report")
READERS = {
    "run.json": STAGES,
    "statistics/statistics.json": ("collect", "align", "sweep mapping", "sweep clusters", "patches"),
    "networks/net1/network.json": ("collect", "figures"),
}
NEEDED = {"run.json": "stages", "statistics/statistics.json": "groups", "networks/net1/network.json": "spec"}


def without(path: Path, key: str) -> bytes:
    content = json.loads(path.read_text())
    del content[key]
    return json.dumps(content).encode()


def replaced(path: Path, key: str) -> bytes:
    return json.dumps(json.loads(path.read_text()) | {key: [3]}).encode()


FORMS: dict[str, Callable[[Path, str], bytes]] = {
    "empty": lambda path, key: b"",
    "not JSON": lambda path, key: b"{'stages': }",
    "not UTF-8": lambda path, key: b'{"\xff\xfe": 1}',
    "a list": lambda path, key: b"[1, 2]",
    "a number": lambda path, key: b"3",
    "null": lambda path, key: b"null",
    "nested": lambda path, key: b'{"a": ' * 100_000,
    "a key missing": without,
    "a value of another type": replaced,
}


# Every form for every file, every command for every file it reads: one function reads a file for all commands.
CASES = [
    (path, command, form)
    for path, commands in READERS.items()
    for form, command in zip(FORMS, itertools.cycle(commands), strict=False)
]


@pytest.mark.parametrize(("path", "command", "form"), CASES)
def test_json(run: Path, capsys: pytest.CaptureFixture[str], path: str, command: str, form: str) -> None:
    (run / path).write_bytes(FORMS[form](run / path, NEEDED[path]))
    assert str(run / path) in refused(capsys, run, command)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", READERS)
def test_json_read_from_python(run: Path, path: str, form: str) -> None:
    (run / path).write_bytes(FORMS[form](run / path, NEEDED[path]))
    opened = raycv.open_run(str(run))
    ask = {"networks/net1/network.json": lambda: opened.networks, "run.json": lambda: record.read(RunStore(str(run)))}
    with pytest.raises(UserError, match=path):
        ask.get(path, lambda: opened.layers)()


@pytest.mark.parametrize(
    ("stage", "facts"),
    [
        ("train", {"validation_top1": {"net1": "high"}}),
        ("train", {"seconds": [1, 2]}),
        ("collect", {"images": "many"}),
        ("align", {"health": {"layer": "fc8"}}),
        ("align", {"health": {"layer": "fc8", "broken_pairs": [["net1"]]}}),
        ("align", {"fingerprint": None}),
    ],
)
def test_facts_of_another_kind(
    run: Path, capsys: pytest.CaptureFixture[str], stage: str, facts: dict[str, Any]
) -> None:
    noted = json.loads((run / "run.json").read_text())
    noted["stages"][stage] |= facts
    (run / "run.json").write_text(json.dumps(noted))
    assert f"stages.{stage}.{next(iter(facts))}" in refused(capsys, run, "report")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../net1"},
        {"name": "net2"},
        {"classes": 0},
        {"width": -4},
        {"seed": 2**70},
        {"layers": []},
        {"layers": "conv1"},
        {"preprocessing": {"resize": 0, "crop": 0, "mean": [0, 0, 0], "std": [1, 1, 1]}},
    ],
    ids=str,
)
def test_descriptions_of_no_network(run: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any]) -> None:
    path = run / "networks/net1/network.json"
    content = json.loads(path.read_text())
    content["spec"] |= changes
    path.write_text(json.dumps(content))
    assert "does not describe a network of this run; remove it" in refused(capsys, run, "collect")


def test_networks_that_differ(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "networks/net1/network.json"
    content = json.loads(path.read_text())
    content["spec"]["layers"] = ["conv2", "fc8"]
    path.write_text(json.dumps(content))
    assert "compare networks with the same layers" in refused(capsys, run, "collect")


# -- tables and pictures ---------------------------------------------------------------------------------------------


def of_other_columns() -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame({"a": [1]}).to_parquet(buffer)
    return buffer.getvalue()


def rewritten(change: Callable[[pa.Table], pa.Table]) -> Callable[[bytes], bytes]:
    def write(content: bytes) -> bytes:
        buffer = io.BytesIO()
        pq.write_table(change(pq.read_table(io.BytesIO(content))), buffer)
        return buffer.getvalue()

    return write


def as_text(table: pa.Table) -> pa.Table:
    return table.set_column(table.schema.get_field_index("net"), "net", pa.nulls(len(table), pa.list_(pa.int64())))


def of_another_network(table: pa.Table) -> pa.Table:
    return table.set_column(table.schema.get_field_index("net"), "net", pa.array(["net9"] * len(table)))


TABLES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "its beginning missing": lambda content: content[len(content) // 2 :],
    "text": lambda content: b"net,layer\nnet1,conv1\n",
    "other columns": lambda content: of_other_columns(),
    "a column of another type": rewritten(as_text),
    "a column twice": rewritten(lambda table: table.append_column("net", table["net"])),
    "a column missing": rewritten(lambda table: table.drop_columns(["mean"])),
    "no rows": rewritten(lambda table: table.slice(0, 0)),
    "rows missing": rewritten(lambda table: table.slice(0, 5)),
    "another network": rewritten(of_another_network),
}


@pytest.mark.parametrize(("form", "command"), zip(TABLES, itertools.cycle(["figures", "report"])))
def test_tables(run: Path, capsys: pytest.CaptureFixture[str], form: str, command: str) -> None:
    path = run / "tables/units/units.parquet"
    path.write_bytes(TABLES[form](path.read_bytes()))
    said = refused(capsys, run, command)
    assert "units" in said
    assert "raycv align" in said or "remove it and run its stage again" in said


@pytest.mark.parametrize("name", ["units", "matchings", "alignment"])
def test_tables_that_are_not_there(run: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    shutil.rmtree(run / "tables" / name)
    assert f"has no table {name!r} yet" in refused(capsys, run, "report")


@pytest.mark.parametrize(
    ("name", "stage", "command"),
    [
        ("correlations", "align", "figures"),
        ("correlations", "align", "report"),
        ("patch_pictures", "patches", "report"),
    ],
)
def test_a_table_that_lost_a_layer(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, stage: str, command: str
) -> None:
    """What the sentence says must help."""
    lost = run / f"tables/{name}/layer-conv1"
    shutil.rmtree(lost)
    said = refused(capsys, run, command)
    assert f"The table {name!r} of {run} has lost its file of layer conv1; run `raycv {stage}`" in said
    work_here(monkeypatch)
    assert main([stage, "--run", str(run)]) in (0, 3)
    assert list(lost.iterdir())


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"text", b"GIF89a\x00"], ids=repr)
def test_pictures(run: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    (run / FIGURE).write_bytes(content)
    assert "filters.png is not a readable picture; remove it and run `raycv figures`" in refused(capsys, run, "report")


# -- statistics ------------------------------------------------------------------------------------------------------


def npz(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("moments/widths.npy", "text")
        file.writestr("word/document.xml", "text")
    return buffer.getvalue()


def changed(change: Callable[[np.ndarray], Any]) -> Callable[[bytes], bytes]:
    def write(content: bytes) -> bytes:
        with np.load(io.BytesIO(content)) as file:
            return npz({name: change(file[name]) for name in file.files})

    return write


ARRAYS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "its end damaged": lambda content: content[:-30] + bytes(30),
    "text": lambda content: b"text",
    "one array": lambda content: npy(),
    "another archive": lambda content: archive(),
    "no arrays": lambda content: npz({}),
    "other arrays": lambda content: npz({"a": np.zeros(3)}),
    "arrays of text": changed(lambda array: array.astype(str)),
    "pickled objects": changed(lambda array: np.array([{}], dtype=object)),
    "another shape": changed(lambda array: array[None]),
    "shorter": changed(lambda array: array[:-1] if array.ndim else array),
}
OF_LAYER: dict[str, Callable[[statistics.Statistics], Any]] = {
    "fold0-0": lambda read: read.layer("conv1"),
    "fold7-0": lambda read: read.layer("conv1"),
    "chance1-0": lambda read: read.mixed("conv1"),
    "information0-1-0": lambda read: read.information("conv1", 0, 1),
    "samples0": lambda read: read.samples("conv1"),
    "patches": lambda read: read.patches("conv1"),
}


@pytest.mark.parametrize("form", ARRAYS)
@pytest.mark.parametrize("name", OF_LAYER)
def test_statistics(whole: Path, name: str, form: str) -> None:
    (path,) = whole.glob(f"statistics/*/nets/conv1/{name}.npz")
    kept = path.read_bytes()
    try:
        path.write_bytes(ARRAYS[form](kept))
        with pytest.raises(UserError, match="is damaged.*remove it and run") as refusal:
            OF_LAYER[name](statistics.read(RunStore(str(whole))))
        assert str(path) in str(refusal.value)
    finally:
        path.write_bytes(kept)


@pytest.mark.parametrize(("name", "form"), zip(OF_LAYER, ARRAYS, strict=False))
def test_statistics_that_a_stage_reads(run: Path, capsys: pytest.CaptureFixture[str], name: str, form: str) -> None:
    (path,) = run.glob(f"statistics/*/nets/conv1/{name}.npz")
    path.write_bytes(ARRAYS[form](path.read_bytes()))
    shutil.rmtree(run / "tables")  # so that the stages have something to do
    said = refused(capsys, run, "patches" if name == "patches" else "align")
    assert said.startswith(f"raycv: {path} is damaged")
    assert "remove it and run" in said


def test_statistics_that_were_lost_are_collected_again(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the sentence says must help."""
    before = contents(run / "statistics")
    (path,) = run.glob("statistics/*/nets/conv1/fold3-0.npz")
    path.unlink()
    assert "there is no such file" in refused_or_done(capsys, run)
    work_here(monkeypatch)
    assert main(["collect", "--run", str(run)]) == 0
    assert contents(run / "statistics") == before
    assert main(["collect", "--run", str(run)]) == 0
    assert "already finished" in capsys.readouterr().out


def refused_or_done(capsys: pytest.CaptureFixture[str], run: Path) -> str:
    shutil.rmtree(run / "tables")
    return refused(capsys, run, "align")


@pytest.mark.parametrize("content", [None, b"", b"text"], ids=["lost", "empty", "other"])
def test_weights(run: Path, capsys: pytest.CaptureFixture[str], content: bytes | None) -> None:
    path = run / "networks/net2/weights.safetensors"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    shutil.rmtree(run / "tables/top_patches")  # so that the stage has something to do
    said = refused(capsys, run, "patches")
    (run / "statistics/statistics.json").unlink()
    assert refused(capsys, run, "collect") == said
    assert f"{path} is not the file that training wrote; remove it" in said or f"Could not read {path}" in said


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("run.json", "train"),
        ("run.json", "report"),
        ("networks/net1/network.json", "collect"),
        ("networks/net1/weights.safetensors", "patches"),
        ("statistics/statistics.json", "align"),
        ("statistics/*/nets/conv1/fold0-0.npz", "align"),
        ("statistics/*/nets/conv1/fold3-0.npz", "align"),
        ("statistics/*/nets/conv1/chance1-0.npz", "align"),
        ("tables/units/units.parquet", "figures"),
        ("tables/correlations/layer-conv1/correlations.parquet", "report"),
        (FIGURE, "report"),
    ],
)
def test_pipes_and_devices_in_a_run(run: Path, capsys: pytest.CaptureFixture[str], path: str, command: str) -> None:
    """Reading them would wait, or never end."""
    (place,) = run.glob(path)
    place.unlink()
    if command in ("align", "patches"):  # so that the stage has something to do
        shutil.rmtree(run / "tables")
    for make in (os.mkfifo, partial(os.symlink, "/dev/zero")):
        make(place)
        said = failing(capsys, *command.split(), "--run", str(run))
        assert f"{place} is not a file but a folder, pipe or device" in said
        place.unlink()


# -- what a run is not -----------------------------------------------------------------------------------------------


def test_a_null_character_is_in_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "settings.yaml").write_text('run: "a\\0b"')  # no shell can pass one
    said = failing(capsys, "report", "--config", str(tmp_path / "settings.yaml"))
    assert said.endswith(r"Cannot use 'a\x00b': no name of a file or folder holds a null character.")


@pytest.mark.parametrize("command", ["run", *STAGES])
def test_a_run_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    (tmp_path / "file").write_text("text")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for name in ("file", "pipe", "link"):
        said = failing(capsys, *command.split(), "--run", str(tmp_path / name))
        assert f"{tmp_path / name} is not a folder, and a run is one; name another place with --run" in said
    assert (tmp_path / "file").read_text() == "text"
    with pytest.raises(UserError, match="is not a folder"):
        raycv.open_run(str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--checkpoints", "/dev/zero,/dev/zero"), "/dev/zero is a pipe or device"),
        (("--checkpoints", "{run},{run}"), "is a folder; name a .safetensors file"),
        (("--checkpoints", "{run}/run.json,{run}/run.json"), "neither safetensors nor a PyTorch state dict"),
        (("--seeds", "5"), "--seeds names one; name two or more"),
        (("--seeds", "1,99999999999999999999"), "it should be less than or equal to 4294967295"),
        (("--width", "20000"), "billion weights; with gradients and momentum they take"),
        (("--model", "alexnet,small-alexnet,alexnet,alexnet"), "prepare images differently"),
        (("--data", "{run}/run.json"), "is a file; name a folder"),
        (("--data", "{run}/statistics"), "holds no images"),
        (("--data", "{run}/tables"), "has no train images"),
    ],
)
def test_what_is_named_to_train(
    run: Path, images: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, str], said: str
) -> None:
    (run / "run.json").write_text(json.dumps({"config": {"data": str(images)}, "stages": {}}))
    assert said in refused(capsys, run, "train", flags[0], flags[1].format(run=run))


# -- any damage ------------------------------------------------------------------------------------------------------


def spoilt(content: bytes, draw: st.DataObject) -> bytes:
    """``content`` with a few bytes replaced, left out or put in."""
    for _ in range(draw.draw(st.integers(1, 3))):
        first = draw.draw(st.integers(0, len(content)))
        last = min(len(content), first + draw.draw(st.integers(0, 8)))
        content = content[:first] + draw.draw(st.binary(max_size=8)) + content[last:]
    return content


def read_all(store: RunStore) -> None:
    record.read(store)
    stored(store)
    found = statistics.read(store)
    for layer in found.layers:
        found.layer(layer)


@pytest.mark.parametrize("path", READERS)
@settings(suppress_health_check=list(HealthCheck))
@given(draw=st.data())
def test_spoilt_json_is_read_or_refused(whole: Path, path: str, draw: st.DataObject) -> None:
    file = whole / path
    kept = file.read_bytes()
    try:
        file.write_bytes(spoilt(kept, draw))
        with contextlib.suppress(UserError):
            read_all(RunStore(str(whole)))
    finally:
        file.write_bytes(kept)


@settings(suppress_health_check=list(HealthCheck))
@given(draw=st.data())
def test_a_spoilt_table_is_read_as_it_was_or_refused(whole: Path, draw: st.DataObject) -> None:
    store = RunStore(str(whole))
    file = whole / "tables/units/units.parquet"
    kept, frame = file.read_bytes(), tables.read(store, "units")
    try:
        file.write_bytes(spoilt(kept, draw))
        with contextlib.suppress(UserError):
            pd.testing.assert_frame_equal(tables.read(store, "units"), frame)
    finally:
        file.write_bytes(kept)
