"""Whether a cluster that does many runs grows: one run after the other, and after each what Ray holds.

    python -m benchmarks.soak [RUNS]

The cluster has two nodes of one processor each, and runs lie on a real S3 server. Each run is new, with all stages, of
two networks of width 4. After it the memory, processes and open files of Ray on both nodes are counted, the files of
its temporary folder and the bytes in its object store.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import psutil

from raycv.run.store import RunStore
from tests.support.s3_server import BUCKET, S3Server
from tests.support.two_nodes import TwoNodes, two_nodes

RUNS = 30
SETTINGS = {
    "SEEDS": "1,2",
    "WIDTH": "4",
    "LAYERS": "conv3,fc7",
    "EPOCHS": "1",
    "TRAIN_IMAGES": "128",
    "BATCH_SIZE": "64",
}
KINDS = {  # of Ray's processes, by what their command lines hold
    "raylet": "raylet/raylet",
    "GCS": "gcs_server",
    "dashboard": "dashboard",  # of the head
    "agents": "Agent",  # of the dashboard and of runtime environments, on every node
    "workers": "ray::",
}


def main() -> None:
    """Print a row after each run."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "s3"
        place.mkdir()
        server = S3Server(place)
        os.environ.update(server.environment)
        server.start()
        try:
            with two_nodes(server.environment, dashboard=True) as cluster:
                _soak(cluster, runs)
        finally:
            server.kill()


def _soak(cluster: TwoNodes, runs: int) -> None:
    os.environ.update(cluster.environment)  # which Ray reads when it is imported
    names = [*[f"{kind} (MB)" for kind in KINDS], "processes", "open files", "files", "files (MB)", "objects (MB)"]
    print("| run | seconds | " + " | ".join(names) + " |")
    print("|---" * (2 + len(names)) + "|")
    print(_row(0, 0, _held(cluster)), flush=True)
    for number in range(1, runs + 1):
        began = time.monotonic()
        _run(cluster, f"s3://{BUCKET}/run{number}")
        seconds = time.monotonic() - began
        time.sleep(10)  # in which workers end
        print(_row(number, seconds, _held(cluster)), flush=True)


def _run(cluster: TwoNodes, run: str) -> None:
    settings = {f"RAYCV_{name}": value for name, value in SETTINGS.items()}
    command = [sys.executable, "-m", "raycv", "run", "--run", run]
    done = subprocess.run(command, env=cluster.environment | settings, capture_output=True, text=True)
    if done.returncode not in (0, 3):  # networks that have hardly been trained fail the health check
        raise SystemExit(done.stdout + done.stderr)
    RunStore(run).remove("")


def _held(cluster: TwoNodes) -> list[float]:
    """What stands in a row of the table."""
    processes = psutil.Process(cluster.process.pid).children(recursive=True)
    memory: Counter[str] = Counter()
    files = 0
    for process in processes:
        try:
            line = " ".join(process.cmdline())
            kind = next((kind for kind, part in KINDS.items() if part in line), "")
            memory[kind] += process.memory_info().rss
            files += process.num_fds()
        except psutil.Error:  # it has just ended
            continue
    sizes = [path.stat().st_size for path in _files(Path("/tmp/ray"))]
    of_kinds = [memory[kind] / 1e6 for kind in KINDS]
    return [*of_kinds, len(processes), files, len(sizes), sum(sizes) / 1e6, _stored(cluster) / 1e6]


def _stored(cluster: TwoNodes) -> int:
    """The bytes in the object stores of both nodes."""
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    state = get_state_from_address(cluster.environment["RAY_ADDRESS"])  # type: ignore[no-untyped-call]
    reply = get_memory_info_reply(state)  # type: ignore[no-untyped-call]
    return int(reply.store_stats.object_store_bytes_used)


def _files(folder: Path) -> Iterable[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def _row(number: int, seconds: float, held: list[float]) -> str:
    return f"| {number} | {seconds:.0f} | " + " | ".join(f"{value:,.0f}" for value in held) + " |"


if __name__ == "__main__":
    main()
