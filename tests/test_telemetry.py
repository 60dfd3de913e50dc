"""Counters as Prometheus reads them from a real cluster, and the log under what a command prints."""

from __future__ import annotations

import logging
import re
import time
import urllib.request
import uuid
from pathlib import Path

import pytest
import ray

from raycv import progress, telemetry
from raycv.distributed.pool import Pool
from raycv.run import filesystem
from raycv.run.store import RunStore
from tests.support.s3_server import BUCKET


@ray.remote(num_cpus=0.5, max_restarts=-1, max_task_retries=0)
class Writer:
    """Writes a file into a run, and dies of the first item once."""

    def __init__(self, run: str, died: Path) -> None:
        self.store, self.died = RunStore(run), died

    def ready(self) -> None: ...

    def write(self, item: int) -> None:
        if item == 1 and not self.died.exists():
            self.died.touch()
            raise SystemExit
        self.store.write(f"{item}.txt", b"x" * 1000)


def scraped() -> dict[str, float]:
    """The sums of raycv's counters over all processes, at the port of the cluster's only node."""
    port = ray.nodes()[0]["MetricsExportPort"]  # type: ignore[no-untyped-call]
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    found: dict[str, float] = {}
    for name, value in re.findall(r"^ray_(raycv_\w+)_total\{.*\} (\S+)$", text, re.MULTILINE):
        found[name] = found.get(name, 0) + float(value)
    return found


def test_counters_stand_at_the_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_cluster: None) -> None:
    run = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    pool = Pool(lambda: Writer.remote(run, tmp_path / "died"), lambda: 1)  # type: ignore[attr-defined]
    pool.run([*range(5)], lambda actor, item: actor.write.remote(item), lambda _item, _result: None)
    pool.close()
    assert RunStore(run).read("4.txt") == b"x" * 1000
    monkeypatch.setattr(filesystem, "_wait", lambda _seconds, _why: None)
    with pytest.raises(Exception, match="Could not"):
        filesystem.with_retries(run, "read", lambda fs, path: (_ for _ in ()).throw(ConnectionError()))
    monkeypatch.undo()
    telemetry.count("raycv_shards")
    telemetry.count("raycv_images", 256, stage="collect")
    deadline = time.monotonic() + 120
    while not telemetry.COUNTERS.keys() <= (found := scraped()).keys():
        assert time.monotonic() < deadline, found
        time.sleep(1)
    assert found["raycv_deaths"] >= 1
    assert found["raycv_retries"] >= 8
    assert found["raycv_bytes_written"] >= 5000
    assert found["raycv_bytes_read"] >= 1000
    assert found["raycv_images"] >= 256


def test_the_documentation_names_them_all() -> None:
    text = (Path(__file__).parent.parent / "docs" / "faults.md").read_text()
    assert set(re.findall(r"`ray_(raycv_\w+)_total`", text)) == set(telemetry.COUNTERS)


def test_what_is_printed_is_logged(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[str, str]] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: heard.append((record.levelname, record.getMessage())))
    log = logging.getLogger("raycv")
    log.addHandler(handler)
    try:
        for level in (progress.QUIET, progress.VERBOSE, progress.NORMAL):
            progress.speak(level)
            progress.say("100% of it")
            progress.detail("where it is")
    finally:
        log.removeHandler(handler)
        progress.speak(progress.NORMAL)
    assert heard == [("INFO", "100% of it"), ("DEBUG", "where it is"), ("INFO", "100% of it")]
    assert capsys.readouterr().out == "100% of it\nwhere it is\n100% of it\n"
