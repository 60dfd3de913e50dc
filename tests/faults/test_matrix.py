"""Every stage under every fault, as commands on a cluster of two nodes with images and run on S3.

Whatever happens, a command finishes, or it stops within a minute with one sentence and the same command then finishes;
what it leaves is what an undisturbed one leaves. `python -m pytest -m faults` runs all of it (docs/faults.md).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from raycv.run.store import RunStore
from tests.support.faulty_server import FaultyServer, faulty
from tests.support.left import contents, same
from tests.support.processes import processes
from tests.support.s3_server import BUCKET, S3Server
from tests.support.two_nodes import TwoNodes, two_nodes

SETTINGS = {
    "SEEDS": "1,2",
    "WIDTH": "6",
    "LAYERS": "conv3,fc7",  # and fc8, the logits
    "EPOCHS": "3",
    "SHARD_SIZE": "10",
    "LEARNING_RATE": "0.02",
    "SOLVERS": "exact,sgd",  # `raycv run` alone would leave sgd out
}
STAGES = ("train", "collect", "align", "sweep mapping", "sweep clusters", "patches", "figures", "report")
WORKERS = {  # titles of the processes that do the work, while they do it
    "train": b"ray::RayTrainWorker",
    "collect": b"ray::ShardActor.collect",
    "sweep mapping": b"ray::ImplicitFunc.train",
    "sweep clusters": b"ray::ImplicitFunc.train",
    "patches": b"ray::PatchRenderer.draw",
    "run": b"ray::ShardActor.collect",
}
ALONE = ("align", "figures", "report")  # stages that are done by the driver
MINUTE = 60.0
HANGS = 1200.0  # seconds, which no command takes: a whole run on a failing store and a busy machine takes half as long
NOTICE = 15.0  # seconds between the notice and the end of a drained node


@dataclass
class World:
    """What all cells share."""

    s3: S3Server
    proxy: FaultyServer
    cluster: TwoNodes
    data: str
    before: dict[str, dict[str, bytes]] = field(default_factory=dict)  # the run's files before each stage
    after: dict[str, dict[str, bytes]] = field(default_factory=dict)  # what the stage has left
    requests: dict[str, int] = field(default_factory=dict)  # to the store, during the stage

    def start(self, stage: str, run: str) -> subprocess.Popen[str]:
        """The command, as one gives it on a node of the cluster."""
        settings = {f"RAYCV_{name}": value for name, value in SETTINGS.items()} | {"RAYCV_DATA": self.data}
        command = [sys.executable, "-m", "raycv", *stage.split(), "--run", run]
        environment = self.cluster.environment | settings
        return subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True)

    def finish(self, stage: str, run: str) -> str:
        """Run the command to its end; returns what it has said. Untrained networks fail the health check."""
        driver = self.start(stage, run)
        said = "".join(outputs(driver))
        assert driver.returncode in ((0, 3) if stage in ("align", "run") else (0,)), said
        return said


def outputs(driver: subprocess.Popen[str]) -> tuple[str, str]:
    """What a command has said by its end. One that hangs is killed, and its test fails with what it has said."""
    try:
        return driver.communicate(timeout=HANGS)
    except subprocess.TimeoutExpired:
        driver.kill()
        said = "\n".join(driver.communicate())
        raise AssertionError(f"not at its end after {HANGS:.0f} s:\n{said}") from None


@pytest.fixture(scope="module")
def world(s3_server: S3Server, images: Path) -> Iterator[World]:
    """The cluster, and one undisturbed run on it, stage by stage."""
    data = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    for file in images.iterdir():
        RunStore(data).write(file.name, file.read_bytes())
    with (
        faulty(s3_server.endpoint) as proxy,
        two_nodes(s3_server.environment | {"AWS_ENDPOINT_URL": proxy.endpoint}) as cluster,
    ):
        made = World(s3_server, proxy, cluster, data)
        store = RunStore(f"s3://{BUCKET}/{uuid.uuid4().hex}")
        made.before["run"] = {}
        for stage in STAGES:
            made.before[stage] = contents(store)
            proxy.reset()
            made.finish(stage, store.uri)
            made.requests[stage] = len(proxy.seen)
            made.after[stage] = {
                path: content for path, content in contents(store).items() if path not in made.before[stage]
            }
        made.after["run"] = {path: content for of_stage in made.after.values() for path, content in of_stage.items()}
        made.requests["run"] = sum(made.requests.values())
        yield made


# -- faults ------------------------------------------------------------------------------------------------------------

Fault = Callable[[World, str, "subprocess.Popen[str]"], None]


def kill_driver(world: World, stage: str, driver: subprocess.Popen[str]) -> None:
    driver.kill()


def kill_worker(world: World, stage: str, driver: subprocess.Popen[str]) -> None:
    while driver.poll() is None:
        if found := processes(WORKERS[stage]):
            os.kill(found[0], signal.SIGKILL)
            return
        time.sleep(0.05)
    raise AssertionError("no worker was at work")


def lose_node(world: World, stage: str, driver: subprocess.Popen[str]) -> None:
    world.cluster.lose()


def drain_node(world: World, stage: str, driver: subprocess.Popen[str]) -> None:
    world.cluster.drain(NOTICE)


def away(seconds: float) -> Fault:
    def fault(world: World, stage: str, driver: subprocess.Popen[str]) -> None:
        world.s3.kill()
        time.sleep(seconds)
        world.s3.start()

    return fault


def refuse(world: World, stage: str, driver: subprocess.Popen[str]) -> None:
    world.proxy.mode = "refusing"


def nothing(world: World, stage: str, driver: subprocess.Popen[str]) -> None: ...


FAULTS: dict[str, Fault] = {
    "driver killed": kill_driver,
    "worker killed": kill_worker,
    "node lost": lose_node,
    "node drained": drain_node,
    "store away for 3 s": away(3),
    "store away for 30 s": away(30),
    "store fails in 30%": nothing,
    "credentials refused": refuse,
    "disk full": nothing,
    "object store of 100 MB": nothing,
}
OF_WORKERS = ("worker killed", "node lost", "node drained", "object store of 100 MB")
CELLS = [
    pytest.param(
        stage,
        fault,
        id=f"{stage}: {fault}",
        marks=[pytest.mark.faults, pytest.mark.timeout(2400)],
    )
    for stage in (*STAGES, "run")
    for fault in FAULTS
    if not (stage in ALONE and fault in OF_WORKERS)
]


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where the run of a cell goes: S3, or a disk of its own that can be full."""
    if request.node.callspec.params["fault"] != "disk full":
        yield f"s3://{BUCKET}/{uuid.uuid4().hex}"
        return
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("a disk that can be full needs the right to mount one")
    yield f"{disk}/run"
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def resize(run: str, size: int) -> None:
    command = ["mount", "-o", f"remount,size={size // 4096 * 4096}", str(Path(run).parent)]
    subprocess.run(command, check=True, capture_output=True)


def moment(world: World, stage: str, fault: str) -> int:
    """After how many requests to the store the fault begins: half of them, by which the workers may have done all."""
    at_once = fault == "worker killed" and stage != "train"  # it waits for a worker itself
    return 1 if at_once else max(1, world.requests[stage] // 2)


def check_stop(code: int, said: str, error: str, seconds: float) -> None:
    """A command that has stopped has said why, in one sentence, within a minute."""
    assert code in (1, 2), said + error
    assert error.strip().splitlines()[-1].startswith("raycv: "), error
    assert "Traceback" not in said + error, said + error
    assert seconds < MINUTE + 5, (seconds, said, error)


@pytest.mark.parametrize(("stage", "fault"), CELLS)
def test_what_is_left_is_that_of_an_undisturbed_run(
    stage: str, fault: str, place: str, world: World, record_property: Callable[[str, object], None]
) -> None:
    store = RunStore(place)
    for path, content in world.before[stage].items():
        store.write(path, content)
    if fault == "disk full":
        used = sum(4096 * -(-len(content) // 4096) for content in world.before[stage].values())
        resize(place, used + sum(map(len, world.after[stage].values())) // 2)
    struck: list[float] = []
    over = threading.Event()

    def strike() -> None:
        struck.append(time.monotonic())
        FAULTS[fault](world, stage, driver)
        over.set()

    world.proxy.reset()
    if fault == "store fails in 30%":
        world.proxy.mode = "failing"
    world.proxy.after(moment(world, stage, fault), strike)
    began = time.monotonic()
    driver = world.start(stage, place)
    said, error = outputs(driver)
    ended = time.monotonic()
    well = driver.returncode in ((0, 3) if stage in ("align", "run") else (0,))
    assert fault == "disk full" or (struck and over.wait(120)), said
    if not well and fault != "driver killed":
        check_stop(driver.returncode, said, error, ended - min(struck, default=ended))
    if stage == "collect" and fault == "node drained":
        shards = world.proxy.written("/shard-")
        assert len(set(shards)) == len(shards)  # none was done twice
    if fault == "disk full":
        resize(place, 2**30)
    world.proxy.reset()
    again = "" if well else world.finish(stage, place)
    finished = time.monotonic() - began
    found = contents(store)
    wrong = [
        path
        for path, content in world.after[stage].items()
        if path not in found or not same(path, found[path], content)
    ]
    assert not wrong, (wrong, said, again)
    record_property("outcome", "finishes" if well else "killed, resumed" if driver.returncode < 0 else "stops, resumed")
    record_property("code", driver.returncode)
    record_property("seconds", round(finished))
    record_property("requests", world.requests[stage])
    record_property("sentence", "" if well else error.strip().rpartition("\n")[2])
