"""What several test files share: which tests run where, a few images, one S3 server, one Ray cluster."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pyarrow.parquet as pq
import pytest
from hypothesis import settings

from raycv.data.readers import own_images
from raycv.run.store import RunStore
from tests.support.azure_server import AzureServer, azurite
from tests.support.google_server import GoogleServer
from tests.support.s3_server import BUCKET, S3Server

# Property tests: a few examples at every change, many every night (--hypothesis-profile=many).
FIXED = "CI" in os.environ  # the same examples every time, so that a verdict can be repeated
settings.register_profile("few", max_examples=15, deadline=None, derandomize=FIXED)
settings.register_profile("many", max_examples=150, deadline=None, derandomize=FIXED)
settings.load_profile("few")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", metavar="I/N", help="of the selected test functions, run every N-th from the I-th on")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Which tests stay with one process of pytest-xdist, one after the other.

    Those on the shared cluster, and long ones; of other files those that share what is set up for the file.
    """
    names = getattr(item, "fixturenames", ())
    if "ray_cluster" in names or item.get_closest_marker("slow"):
        item.add_marker(pytest.mark.xdist_group("cluster"))
    elif isinstance(item, pytest.Function) and any(_is_of_the_file(item, name) for name in names):
        item.add_marker(pytest.mark.xdist_group(item.path.stem))


def _is_of_the_file(item: pytest.Function, fixture: str) -> bool:
    """Whether a fixture is set up once for the file of a test, in which it stands."""
    defined = item._fixtureinfo.name2fixturedefs.get(fixture, ())
    return any(one.scope == "module" and one.func.__module__ == item.module.__name__ for one in defined)


@pytest.hookimpl(trylast=True)  # after -m
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the part that --part names; the cases of one function stay together, since they share what it sets up."""
    if config.getoption("--part") is None:
        return
    number, parts = map(int, config.getoption("--part").split("/"))
    functions = [item.nodeid.partition("[")[0] for item in items]
    chosen = set(sorted(set(functions))[number % parts :: parts])
    config.hook.pytest_deselected(items=[item for item, of in zip(items, functions, strict=True) if of not in chosen])
    items[:] = [item for item, of in zip(items, functions, strict=True) if of in chosen]


@pytest.fixture(scope="session", autouse=True)
def nothing_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Settings of raycv, credentials and a cluster of whoever starts the tests, and what that user trusts."""
    before = dict(os.environ)
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))
    for name in before:
        if name.startswith(("RAYCV_", "AWS_")) or name == "RAY_ADDRESS":
            del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_counts() -> Iterator[None]:
    """Processes that a script starts in the background, and what they start, ignore Ctrl-C; here it is tested."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first rows of the shipped images, as a user's own Parquet."""
    folder = tmp_path_factory.mktemp("images")
    shipped = own_images()
    for split, rows in (("train", 640), ("validation", 160)):
        table = pq.read_table(shipped / f"{split}-00000-of-00001.parquet").slice(0, rows)
        pq.write_table(table, folder / f"{split}.parquet", row_group_size=100)
    return folder


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server; its credentials stand in the environment, where a user sets them."""
    folder = tmp_path_factory.mktemp("s3") / "data"
    folder.mkdir()
    yield from _running(S3Server(folder))


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RunStore:
    if request.param == "disk":
        return RunStore(str(tmp_path / "run"))
    request.getfixturevalue("s3_server")
    return RunStore(f"s3://{BUCKET}/{uuid.uuid4().hex}")


@pytest.fixture(scope="session")
def google_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoogleServer]:
    """A server that Google's clients take for their own; it stands in the environment."""
    yield from _running(GoogleServer(tmp_path_factory.mktemp("google")))


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    """Azurite; its account stands in the environment."""
    program = azurite()
    if program is None:
        pytest.skip("npm, which installs Azurite, is missing or could not")
    yield from _running(AzureServer(program, tmp_path_factory.mktemp("azure")))


Server = TypeVar("Server", S3Server, GoogleServer, AzureServer)


def _running(server: Server) -> Iterator[Server]:
    before = dict(os.environ)
    os.environ.update(server.environment)
    server.start()
    yield server
    server.kill()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def ray_cluster(s3_server: S3Server, request: pytest.FixtureRequest) -> Iterator[None]:
    """One small cluster for the whole session: starting one takes longer than most tests.

    It comes after the S3 server, so that its workers inherit the credentials.
    """
    import ray

    grouped = [one.nodeid for one in request.session.items if one.get_closest_marker("xdist_group")]
    assert "PYTEST_XDIST_WORKER" not in os.environ or all("@" in name for name in grouped), (
        "pytest-xdist spreads the tests on this cluster over processes, with a cluster each; install constraints.txt"
    )

    ray.init(num_cpus=2, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture(scope="module", autouse=True)
def every_cpu_is_given_back() -> Iterator[None]:
    """A processor that some test's worker keeps would let a later test wait for it for ever."""
    yield
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return
    deadline = time.monotonic() + 60
    while (free := ray.available_resources().get("CPU", 0)) < ray.cluster_resources()["CPU"]:
        assert time.monotonic() < deadline, f"a minute after these tests only {free:g} CPUs of the cluster are free"
        time.sleep(0.2)
