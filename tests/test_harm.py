"""What a user has put into a run, or into a folder named as a destination, is there afterwards, byte for byte."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import fsspec
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from raycv.cli import main
from raycv.commands import COMMANDS
from raycv.config import CleanConfig, ExportConfig, PrepareConfig
from raycv.errors import UserError
from raycv.networks.models import build
from raycv.progress import QUIET, speak
from raycv.run import names, record, tables
from raycv.run.lease import path_of
from raycv.run.places import overlap
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.run.trial_results import TrialResults
from raycv.stages.clean.stage import clean
from raycv.stages.export.stage import export
from raycv.stages.prepare.stage import prepare
from tests.support.commands import failing
from tests.support.half_done import KEPT, LEFT, half_done
from tests.support.here import work_here
from tests.support.runs import spec
from tests.support.s3_server import BUCKET

ID = "0123456789abcdef"
FOLDERS = (
    "",
    "leases",
    "networks",
    "networks/net1",
    "networks/mine",
    f"networks/training/{ID}/saved/net1",
    "statistics",
    f"statistics/{ID}/nets/conv1",
    f"statistics/{ID}/partials",
    "statistics/mine",
    "tables",
    "tables/training",
    "tables/alignment/layer=conv1",
    "tables/.matchings",
    "figures",
    "sweeps",
    f"sweeps/mapping-{ID}/conv1",
    "parts",
    f"parts/prune-{ID}",
    "merges/net1-net2/correlation/weights",
    f"patches-{ID}/conv1",
    "patches-mine",
    "runs",
    "train",
    "train/class0",
    "validation",
    "somewhere/else",
)
LINKED = (  # folders of a run in whose place there may be a link
    "networks",
    "networks/net1",
    f"networks/training/{ID}/saved",
    f"statistics/{ID}/partials",
    "tables",
    "tables/training",
    "tables/.matchings",
    "figures",
    "sweeps",
    f"parts/prune-{ID}",
    f"patches-{ID}",
    "leases",
)
CHOSEN = (  # close to the names of raycv's own files
    "notes.txt",
    "weights.safetensors.bak",
    "network.json~",
    "run (copy).json",
    "training.png.part",
    ".1234.part",
    "mine.png",
    "figure-05-mine.png",
    "mine.parquet",
    "index.parquet.old",
    "00000-0123456789abcdef.images.gz",
    "*",
    "[0-9]",
    "?",
    ".DS_Store",
    "train.images",
)
FILES = st.one_of(
    st.sampled_from(CHOSEN),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20).map(
        lambda text: f"{text} mine"
    ),
)
PATHS = st.lists(st.tuples(st.sampled_from(FOLDERS), FILES), min_size=1, max_size=6, unique=True)
KINDS = st.sampled_from(["file", "link to a file", "link to a folder", "dangling link"])
EXAMPLES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def content_of(folder: Path) -> dict[str, bytes | str]:
    """All that is below a folder: the bytes of files and where links lead."""
    found: dict[str, bytes | str] = {}
    for there, folders, files in os.walk(folder):
        for name in [*files, *folders]:
            path = Path(there, name)
            if path.is_symlink():
                found[str(path)] = os.readlink(path)
            elif path.is_file():
                found[str(path)] = path.read_bytes()
    return found


@contextmanager
def planted(folder: Path, paths: list[tuple[str, str]], kind: str, outside: Path) -> Iterator[list[str]]:
    """Put what is a user's into ``folder``; afterwards all of it is there, and what links lead to."""
    shutil.rmtree(outside, ignore_errors=True)
    (outside / "training").mkdir(parents=True)
    for name in ("training/training.parquet", "done.json", "weights.safetensors"):
        (outside / name).write_bytes(name.encode())
    mine = []
    for where, name in paths:
        path = folder / where / name
        with suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "file":
                path.write_bytes(name.encode())
            else:
                path.symlink_to(
                    {"link to a file": outside / "done.json", "link to a folder": outside}.get(kind, "gone")
                )
            mine.append(str(path))
    before = content_of(folder) | content_of(outside)
    yield [os.path.relpath(path, folder) for path in mine]
    after = content_of(folder) | content_of(outside)
    wanted = {path: content for path, content in before.items() if path in mine or path.startswith(str(outside))}
    assert wanted.items() <= after.items()


def replaced(store: RunStore) -> None:
    """What the stages do that replace folders and tables."""
    for name in ("training", "alignment"):
        columns = BY_NAME[name].schema.names
        with suppress(UserError):  # a link is in the way
            tables.write(store, name, pd.DataFrame({column: [] for column in columns}))
    for folder in ("networks", "networks/training", "networks/mine", "figures", "merges", "tables/alignment", "leases"):
        store.remove(folder)
    for path in (*LEFT, *KEPT, "leases/align.json", "tables/training/training.parquet"):  # every file alone
        store.remove(path)
    for path in (f"patches-{ID}", "patches-mine", f"statistics/{ID}", f"statistics/{ID}/partials", "statistics/mine"):
        store.remove(path)
    for path in store.list("statistics"):
        store.remove(path)
    TrialResults(store, f"sweeps/mapping-{ID}").remove()
    store.remove_folder_if_empty("parts")
    for path in store.list(""):
        store.remove(path)


def cleaned(store: RunStore) -> None:
    clean(CleanConfig(run=store.uri), store)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("half") / "run"
    half_done(RunStore(str(run)))
    return run


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images to prepare."""
    folder = tmp_path_factory.mktemp("images")
    for split in ("train", "validation"):
        (folder / split / "class0").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / split / "class0/0.png")
    return folder


@pytest.mark.parametrize("do", [cleaned, replaced])
@EXAMPLES
@given(paths=PATHS, kind=KINDS)
def test_what_is_a_users_stays_in_a_run(
    do: Callable[[RunStore], None], half: Path, tmp_path: Path, paths: list[tuple[str, str]], kind: str
) -> None:
    speak(QUIET)
    run = Path(shutil.copytree(half, tmp_path / uuid.uuid4().hex))
    with planted(run, paths, kind, tmp_path / "outside"):
        do(RunStore(str(run)))
    shutil.rmtree(run)


@pytest.mark.parametrize("do", [cleaned, replaced])
@pytest.mark.parametrize("folder", LINKED)
def test_nothing_is_changed_through_a_link(
    do: Callable[[RunStore], None], folder: str, half: Path, tmp_path: Path
) -> None:
    """Where a folder of a run is a link, to files that have the very names that raycv gives."""
    run, outside = Path(shutil.copytree(half, tmp_path / "run")), tmp_path / "outside"
    RunStore(str(run)).write(path_of("align"), b"x")
    shutil.move(run / folder, outside)
    (run / folder).symlink_to(outside)
    before = content_of(outside)
    do(RunStore(str(run)))
    assert content_of(outside) == before
    assert (run / folder).readlink() == outside


@EXAMPLES
@given(paths=PATHS, kind=KINDS)
def test_no_destination_has_anything_in_it(
    half: Path, tree: Path, tmp_path: Path, paths: list[tuple[str, str]], kind: str
) -> None:
    """Also not where something of the kind that raycv writes there is beside it."""
    to = tmp_path / uuid.uuid4().hex
    before = RunStore(str(to))
    before.write(f"train/00000-{ID}.images", b"12")
    before.write(f"parts/train/00000-{ID}.parquet", b"12")
    commands: list[Callable[[], object]] = [
        lambda: prepare(PrepareConfig(data=str(tree), to=str(to), size=8), before),
        lambda: export(ExportConfig(run=str(half), to=str(to)), RunStore(str(half))),
        lambda: record.check_folder(before),
    ]
    with planted(to, paths, kind, tmp_path / "outside") as mine:
        held = content_of(to)
        for command in commands:
            with pytest.raises(UserError, match="is not empty") as caught:
                command()
            assert any(name in str(caught.value) for name in [*mine, before.list("")[0]])
            assert command is not commands[0] or any(name in str(caught.value) for name in mine)
        assert content_of(to) == held
    shutil.rmtree(to)


def test_what_is_a_users_stays_on_s3(s3_server: object, half: Path) -> None:
    """Also keys that only S3 allows, and those below another prefix that the run's name matches as a pattern."""
    speak(QUIET)
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    place = uuid.uuid4().hex
    run, mine = RunStore(f"s3://{BUCKET}/{place}/run[1]"), {}
    paths = [(folder, "notes.txt") for folder in FOLDERS if folder]
    for where, name in [*paths, ("networks/net1", "*"), ("figures/", "x.png"), ("networks/net1/epochs", "a/b")]:
        for prefix in ("run[1]", "run1", "run[1]-old"):
            mine[f"{place}/{prefix}/{where}/{name}"] = name.encode()
    for path in content_of(half):
        inside = Path(path).relative_to(half)
        run.write(str(inside), Path(path).read_bytes())
        mine[f"{place}/run1/{inside}"] = b"of another run"

    def put(key: str) -> None:
        fs.call_s3("put_object", Bucket=BUCKET, Key=key, Body=mine[key])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, mine))
    cleaned(run)
    replaced(run)
    for key, content in mine.items():
        assert fs.cat_file(f"{BUCKET}/{key}") == content


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("s3://b/a", "s3://b/a/", True),
        ("s3://b/a", "s3a://b//a/c", True),
        ("s3://b", "s3://b/a", True),
        ("s3://b/a", "s3://b/x/../a/c", True),
        ("s3://b/a", "s3://b/ab", False),
        ("s3://b/a", "s3://c/a", False),
        ("s3://b/a", "gs://b/a", False),
        ("gs://b/a", "gs://b/a/c", True),
        ("s3://b/a", "b/a", False),
        ("@/a", "@/a/b/new", True),
        ("@/a", "@/x/../a", True),
        ("@/link", "@/a", True),
        ("@/link/new", "@/a", True),
        ("@/a/inner", "@/above", True),
        ("@/a", "@/ab", False),
    ],
)
def test_places(first: str, second: str, expected: bool, tmp_path: Path) -> None:
    (tmp_path / "a/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "above").symlink_to(tmp_path)
    first, second = (place.replace("@", str(tmp_path)) for place in (first, second))
    assert overlap(first, second) == overlap(second, first) == expected
    assert "://" in first or overlap(first, os.path.relpath(first))


def test_images_are_not_prepared_into_themselves(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link").symlink_to(tree)
    (tmp_path / "above").symlink_to(tree.parent)
    before = content_of(tree)
    for data, to in (
        (tree, tmp_path / "link"),
        (tmp_path / "link", tree),
        (tmp_path / "link", tree / "new"),
        (tree, tmp_path / "above"),
        (tree, f"{tree}/train/../new"),
        (os.path.relpath(tree), tree),
    ):
        assert "of the images themselves" in failing(capsys, "prepare", "--data", str(data), "--to", str(to))
        assert content_of(tree) == before


def test_every_stage_has_its_lease_among_the_names() -> None:
    stages = {stage for command in COMMANDS.values() for stage in command.stages}
    assert all(names.is_lease(path_of(stage)) for stage in stages)


@pytest.mark.slow
def test_what_is_a_users_stays_under_every_command(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but the sweeps, each done twice with other settings, so that it replaces all that it has written."""
    work_here(monkeypatch)
    run, outside = tmp_path / "run", tmp_path / "outside"
    outside.mkdir()
    (outside / "notes.txt").write_bytes(b"outside")
    mine: dict[str, bytes | str] = {}

    def plant() -> None:
        """A file in every folder that there is by now, and a link in every other one."""
        for number, folder in enumerate([run, *sorted(path for path in run.rglob("*") if path.is_dir())]):
            if folder.is_symlink() or (folder / "mine.txt").exists() or (folder / "link").is_symlink():
                continue
            if number % 2:
                (folder / "link").symlink_to(outside)
                mine[str(folder / "link")] = str(outside)
            (folder / "mine.txt").write_bytes(str(folder).encode())
            mine[str(folder / "mine.txt")] = str(folder).encode()

    def do(*arguments: str) -> None:
        code = main([*arguments, "--run", str(run), "--quiet"])
        assert code in ((0, 3) if arguments[0] == "align" else (0,)), capsys.readouterr().err
        plant()
        found = content_of(run) | content_of(outside)
        assert mine.items() <= found.items()
        assert found[str(outside / "notes.txt")] == b"outside"

    for width, shards in ((4, 64), (5, 32)):
        files = [tmp_path / f"{number}-{width}.pt" for number in (1, 2)]
        for number, file in enumerate(files, 1):
            torch.save(build(spec(number, width)).state_dict(), file)
        given = ["--checkpoints", ",".join(map(str, files)), "--width", str(width), "--layers", "conv1,fc8"]
        do("train", "--data", str(images), *given)
        do("collect", "--shard-size", str(shards))
        for command in (
            "align",
            "patches",
            "prune --fractions 0.5",
            "merge --alphas 0,1",
            "figures",
            "report",
            "clean",
        ):
            do(*command.split())
        to = tmp_path / f"to{width}"
        assert main(["export", "--run", str(run), "--to", str(to), "--quiet"]) == 0
        assert not list(to.rglob("mine.txt"))
