"""A job on nodes that have Ray alone: the manual's command installs raycv there, from the working directory."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raycv.run import tables
from raycv.run.store import RunStore
from tests.support.heads import ray_alone, running_head
from tests.support.runs import make_run
from tests.support.s3_server import BUCKET, S3Server

ROOT = Path(__file__).parent.parent
LOGS = Path(f"/tmp/ray-{uuid.uuid4().hex[:8]}")


def given() -> str:
    """The runtime environment in the manual's command."""
    found = re.search(r"--runtime-env-json '(\{.*?\})' --", (ROOT / "docs" / "cluster.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_readme_gives_json() -> None:
    described: dict[str, Any] = json.loads(given())
    assert described["working_dir"] == "."
    named = re.findall(r"\$\{RAY_RUNTIME_ENV_CREATE_WORKING_DIR\}/(\S+)", " ".join(described["pip"]))
    assert named == ["constraints.txt", "packages/raycv-images"]


def test_the_package_holds_what_a_node_needs_and_little_more(tmp_path: Path) -> None:
    from ray._private.runtime_env.packaging import create_package

    create_package(str(ROOT), tmp_path / "package.zip", include_gitignore=True)
    with zipfile.ZipFile(tmp_path / "package.zip") as package:
        sizes = {entry.filename: entry.compress_size for entry in package.infolist() if not entry.is_dir()}
    for path in ("raycv/cli.py", "jobs/run.py", "pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        assert path in sizes
    assert {path.split("/")[0] for path in sizes if "/" in path} == {"raycv", "jobs", "packages"}
    images = sum(size for path, size in sizes.items() if path.startswith("packages/raycv-images/"))
    assert sum(sizes.values()) - images < 3_000_000


@pytest.fixture
def bare(tmp_path: Path, s3_server: S3Server) -> Iterator[dict[str, str]]:
    """A head whose environment has nothing but Ray."""
    ray = ray_alone(tmp_path / "bare")
    with running_head(ray, LOGS) as environment:
        yield environment | {"RAY": str(ray)}


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_raycv_comes_with_the_job(bare: dict[str, str], tmp_path: Path) -> None:
    """A sweep: its driver and the workers of its trials need raycv."""
    made, store = make_run(tmp_path / "run"), RunStore(f"s3://{BUCKET}/{uuid.uuid4().hex}")
    for path in RunStore(str(made)).list(""):
        store.write(path, (made / path).read_bytes())
    job = ["python", "jobs/sweep_clusters.py", "--run", store.uri]
    done = subprocess.run(
        [bare["RAY"], "job", "submit", "--runtime-env-json", given(), "--", *job],
        env=bare,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(tables.read(store, "clusterings"))
