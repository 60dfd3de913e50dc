"""The packages that strangers install: made from this tree, installed in fresh environments and used from there."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from raycv.run.store import RunStore
from tests.support.report_run import write_run

ROOT = Path(__file__).parent.parent
MB = 1_000_000
TRACKED_ELSEWHERE = {"packages"}  # a package of its own
OF_VENV = ("pip", "setuptools", "pkg_resources")  # which a new environment has


def built(source: Path, folder: Path) -> dict[str, Path]:
    """The sdist of a project, and the wheel that is made of it, by their endings."""
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", folder, source], check=True, capture_output=True, cwd="/"
    )
    return {path.suffix: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return built(ROOT, tmp_path_factory.mktemp("code"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return built(ROOT / "packages" / "raycv-images", tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def light(made: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment in which raycv is installed from its wheel, without extras."""
    home = tmp_path_factory.mktemp("light") / "venv"
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    command: list[str | Path] = [
        home / "bin" / "pip",
        "install",
        "--quiet",
        "--constraint",
        ROOT / "constraints.txt",
        made[".whl"],
    ]
    subprocess.run(command, check=True, cwd="/")
    return home / "bin"


@pytest.mark.slow
def test_the_wheel_is_code_alone(made: dict[str, Path], images: dict[str, Path]) -> None:
    assert made[".whl"].stat().st_size < MB
    with zipfile.ZipFile(made[".whl"]) as wheel:
        names = wheel.namelist()
        metadata = next(wheel.read(name).decode() for name in names if name.endswith("METADATA"))
    assert {name.split("/")[0] for name in names} == {"raycv", "raycv-0.1.0.dist-info"}
    assert not any(name.endswith(".parquet") for name in names)
    assert "License-Expression: Apache-2.0\n" in metadata
    assert "Author: The raycv developers\n" in metadata
    with zipfile.ZipFile(images[".whl"]) as wheel:
        names = wheel.namelist()
    assert sum(name.endswith(".parquet") for name in names) == 2
    assert any(name.endswith("licenses/NOTICE") for name in names)


@pytest.mark.slow
def test_the_sdist_can_be_tested(made: dict[str, Path]) -> None:
    """It has every file that is tracked, but for the images."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no clone, so nobody knows what is tracked")
    with tarfile.open(made[".gz"]) as sdist:
        there = {name.partition("/")[2] for name in sdist.getnames()}
    tracked = {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}
    assert {name for name in tracked - there if name.split("/")[0] not in TRACKED_ELSEWHERE} == set()
    assert not any(name.endswith(".parquet") for name in there)


@pytest.mark.slow
def test_a_small_installation_reads_runs(light: Path, tmp_path: Path) -> None:
    site = next(light.parent.glob("lib/python3*/site-packages"))
    files = [path for path in site.rglob("*") if path.is_file()]
    files = [path for path in files if not path.relative_to(site).parts[0].startswith(OF_VENV)]
    assert sum(path.stat().st_size for path in files) < 400 * MB
    uri = str(tmp_path / "run")
    write_run(RunStore(uri))
    code = f"import raycv; print(len(raycv.open_run({uri!r}).table('alignment')))"
    done = subprocess.run([light / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert int(done.stdout) > 0, done.stderr
    for command, code_of_exit in ((["--version"], 0), (["tables"], 0), (["status", "--run", uri], 0), (["run"], 2)):
        done = subprocess.run([light / "raycv", *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code_of_exit, done.stderr
    assert "pip install 'raycv[run]'" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("what", ["cluster", "cluster-gcp", "kuberay"])
def test_manifests_come_with_the_wheel(light: Path, what: str, tmp_path: Path) -> None:
    for program, folder in ((light / "raycv", "packaged"), (Path(sys.executable).parent / "raycv", "checkout")):
        subprocess.run([program, "init", what, folder], cwd=tmp_path, check=True, capture_output=True)
    both = [
        {str(path.relative_to(tmp_path / folder)): path.read_text() for path in (tmp_path / folder).rglob("*.*")}
        for folder in ("packaged", "checkout")
    ]
    assert both[0] == both[1]
    assert both[0]


@pytest.mark.slow
def test_images_are_asked_for_where_they_are_missing(
    made: dict[str, Path], images: dict[str, Path], tmp_path: Path
) -> None:
    """raycv as its wheel has it, in this environment; then with the wheel of the images beside it."""
    code = "import raycv; print(raycv.__file__, len(raycv.images()[1]))"
    for wheel in (made[".whl"], images[".whl"]):
        with zipfile.ZipFile(wheel) as content:
            content.extractall(tmp_path)
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
        if wheel == made[".whl"]:
            assert "raycv-images, which is not installed; install it from packages/raycv-images" in done.stderr
    assert done.stdout.split() == [str(tmp_path / "raycv" / "__init__.py"), "2000"], done.stderr
