"""What an interrupted stage has left damaged is computed again: these are raycv's own files between two steps."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from raycv.cli import main
from raycv.networks import checkpoints
from raycv.networks.models import build
from raycv.run.store import RunStore
from tests.support.here import work_here
from tests.support.runs import spec

LEFT = (
    "partials/pilot.npz",
    "partials/shard-00002.npz",
    "partials/drawn/nets/conv1/0.npz",
    "partials/codes/conv1/1.npz",
    "nets/fc8/fold3-0.npz",
    "nets/conv1/information0-1-0.npz",
)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}


@pytest.fixture(scope="module")
def interrupted(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose pass has ended just before its last file, in whose place a folder stood."""
    run = tmp_path_factory.mktemp("interrupted") / "run"
    for number in (1, 2):
        of_net = spec(number, 4, ("conv1", "fc8"))
        checkpoints.save(RunStore(str(run)), of_net, build(of_net).state_dict())
    (run / "statistics/statistics.json/in the way").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        work_here(patch)
        assert main(["collect", "--run", str(run), "--data", str(images), "--shard-size", "10"]) == 2
    shutil.rmtree(run / "statistics/statistics.json")
    return run


@pytest.fixture
def run(interrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    work_here(monkeypatch)
    return Path(shutil.copytree(interrupted, tmp_path / "run"))


def collect(run: Path, images: Path) -> dict[str, bytes]:
    """The statistics that the pass writes when it goes on."""
    assert main(["collect", "--run", str(run), "--data", str(images), "--shard-size", "10"]) == 0
    return contents(run / "statistics")


@pytest.fixture(scope="module")
def undisturbed(interrupted: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    with pytest.MonkeyPatch.context() as patch:
        work_here(patch)
        return collect(Path(shutil.copytree(interrupted, tmp_path_factory.mktemp("undisturbed") / "run")), images)


def other_arrays(content: bytes) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "form",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-30] + bytes(30),
        lambda content: b"text",
        other_arrays,
    ],
    ids=["empty", "truncated", "its end damaged", "text", "other arrays"],
)
def test_damaged_files_are_computed_again(
    run: Path,
    images: Path,
    undisturbed: dict[str, bytes],
    form: Callable[[bytes], bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder,) = (run / "statistics").iterdir()
    left = LEFT[:4] if form is other_arrays else LEFT  # who reads the statistics looks into them
    for name in left:
        path = folder / name
        path.write_bytes(form(path.read_bytes()))
    for path in folder.glob("n*/*/*.npz"):  # so that all is added up again
        if str(path.relative_to(folder)) not in left:
            path.unlink()
    assert collect(run, images) == undisturbed
    said = next(line for line in capsys.readouterr().out.splitlines() if "left damaged" in line)
    assert all(name in said for name in left)


def test_a_file_in_the_place_of_another_is_computed_again(
    run: Path, images: Path, undisturbed: dict[str, bytes]
) -> None:
    (folder,) = (run / "statistics").iterdir()
    shutil.copy(folder / "partials/shard-00001.npz", folder / "partials/shard-00002.npz")
    for path in folder.glob("n*/*/*.npz"):
        path.unlink()
    shutil.rmtree(folder / "partials/drawn")
    assert collect(run, images) == undisturbed


def test_whole_files_are_not(
    run: Path, images: Path, undisturbed: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    assert collect(run, images) == undisturbed
    said = capsys.readouterr().out
    assert "16 of 16 shards are already done" in said
    assert "damaged" not in said
