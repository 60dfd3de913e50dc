"""RunStore on a disk and on a real S3 server: whole or absent, replaced and never doubled, and clear when refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.fs
import pytest
from botocore.exceptions import ClientError

from raycv.data.sources import open_source
from raycv.errors import UserError
from raycv.run.faults import RetryPolicy
from raycv.run.filesystem import filesystem, with_retries
from raycv.run.names import is_ours
from raycv.run.store import RunStore
from tests.support.s3_server import BUCKET, SECRET, S3Server


def test_files(store: RunStore) -> None:
    assert not store.exists("a/b.bin")
    assert store.list("a") == []
    store.write("a/b.bin", b"one")
    store.write("a/c/d.bin", b"two")
    store.write("a/b.bin", b"three")
    assert store.read("a/b.bin") == b"three"
    assert store.list("a") == ["a/b.bin", "a/c/d.bin"]
    store.write("figures/training.png", b"four")
    assert store.remove("figures") == ["figures/training.png"]
    assert store.remove("figures") == []  # nothing to remove is no mistake
    assert store.list("") == ["a/b.bin", "a/c/d.bin"]
    with pytest.raises(UserError, match=r"Could not read .*/none"):
        store.read("none")


def test_folder_markers_of_other_writers_are_no_files(s3_server: S3Server) -> None:
    """Arrow's own S3 client, which Ray Train uses, leaves an empty object for each folder."""
    place = f"{BUCKET}/{uuid.uuid4().hex}"
    arrow = pyarrow.fs.S3FileSystem(endpoint_override=s3_server.endpoint, scheme="http")
    arrow.create_dir(f"{place}/networks/training", recursive=True)
    store = RunStore(f"s3://{place}")
    store.write("networks/net1/x", b"1")
    assert store.list("networks") == ["networks/net1/x"]
    assert store.list("") == ["networks/net1/x"]


def test_no_arrays_are_read_as_none(store: RunStore) -> None:
    """As the first of two networks leaves them in a layer whose units are not mixed before a ReLU."""
    store.write_arrays("none.npz", {})
    assert store.read_arrays("none.npz") == {}
    with store.open_arrays("none.npz") as arrays:
        assert dict(arrays) == {}


def test_json_and_arrays(store: RunStore) -> None:
    store.write_json("x.json", {"a": [1, None, "é"]})
    assert store.read_json("x.json") == {"a": [1, None, "é"]}
    arrays: dict[str, np.ndarray] = {"deep/name": np.arange(5), "f": np.ones((2, 3), dtype=np.float32)}
    store.write_arrays("x.npz", arrays)
    with store.open_arrays("x.npz") as lazily:
        for name, array in arrays.items():
            np.testing.assert_array_equal(store.read_arrays("x.npz")[name], array)
            np.testing.assert_array_equal(lazily[name], array)


def test_no_path_leaves_the_run(store: RunStore) -> None:
    for path in ("../x", "tables/../../x", "/tmp/x"):
        for use in (store.read, store.exists, store.list, store.remove, lambda path: store.write(path, b"1")):
            with pytest.raises(UserError, match="is not inside the run"):
                use(path)
    store.write("tables/..x", b"1")


def test_what_is_in_a_folder_is_named(store: RunStore) -> None:
    assert store.others() == []
    for name in ("c", "a/b", "run.json"):
        store.write(name, b"1")
    assert sorted(store.others()) == ["a/b", "c", "run.json"]
    assert sorted(store.others(is_ours)) == ["a/b", "c"]


def test_many_writers(store: RunStore) -> None:
    """Every reader sees one writer's file, whole."""
    contents = [bytes([n]) * 200_000 for n in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: store.write("same", content), contents))
    assert store.read("same") in contents
    assert store.list("") == ["same"]


KILLED = """
import sys
from raycv.run.store import RunStore
store = RunStore(sys.argv[1])
store.write("big", b"old")
print("ready", flush=True)
while True:
    store.write("big", b"n" * 60_000_000)
"""


def test_a_killed_writer_leaves_nothing_half_written(store: RunStore) -> None:
    for wait in (0.05, 0.15, 0.3):
        with subprocess.Popen([sys.executable, "-c", KILLED, store.uri], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(wait)
            os.kill(process.pid, signal.SIGKILL)
        assert len(store.read("big")) in (3, 60_000_000)
        assert store.list("") == ["big"]


def test_a_store_that_fails_for_a_while_is_waited_for(s3_server: S3Server) -> None:
    store = RunStore(f"s3://{BUCKET}/{uuid.uuid4().hex}")
    store.write("before", b"1")
    s3_server.kill()
    restart = threading.Timer(2.0, s3_server.start)
    restart.start()
    store.write("during", b"2")
    restart.join()
    assert (store.read("before"), store.read("during")) == (b"1", b"2")


@pytest.fixture
def environment(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """For changing what a user has set; s3fs remembers clients by their settings, so those are forgotten."""
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    filesystem(f"s3://{BUCKET}")[0].clear_instance_cache()
    monkeypatch.setattr("raycv.run.filesystem._answered", set())  # as in a process that has just started
    yield monkeypatch
    monkeypatch.undo()
    filesystem(f"s3://{BUCKET}")[0].clear_instance_cache()


def complaint(uri: str) -> str:
    with pytest.raises(UserError) as caught:
        RunStore(uri).write("x", b"1")
    said = str(caught.value)
    assert f"{uri}/x" in said
    assert "write" in said
    assert "\n" not in said
    assert SECRET not in said
    return said


def test_refusals_are_one_clear_sentence(environment: pytest.MonkeyPatch) -> None:
    def forget() -> None:
        filesystem(f"s3://{BUCKET}")[0].clear_instance_cache()

    with pytest.raises(UserError, match="The images s3://no-such-bucket/images is not there"):
        open_source("s3://no-such-bucket/images", "train")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    forget()
    assert "refused the credentials" in complaint(f"s3://{BUCKET}/run")
    environment.setenv("AWS_ACCESS_KEY_ID", "nobody")
    forget()
    assert "refused the credentials" in complaint(f"s3://{BUCKET}/run")
    environment.delenv("AWS_ACCESS_KEY_ID")
    environment.delenv("AWS_SECRET_ACCESS_KEY")
    forget()
    assert "no S3 credentials were found" in complaint(f"s3://{BUCKET}/run")


def test_a_server_that_is_not_there(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    filesystem(f"s3://{BUCKET}")[0].clear_instance_cache()
    assert "does not answer; check AWS_ENDPOINT_URL" in complaint(f"s3://{BUCKET}/run")


def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    for uri in ("s3://", "gs://", "ftp://bucket/run", "http://host/run"):
        with pytest.raises(UserError, match="expected a local path, s3://bucket/prefix"):
            RunStore(uri)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Could not write .*: Not a directory|Could not write .*: File exists"):
        RunStore(str(tmp_path / "file" / "run")).write("x", b"1")


def test_a_store_that_was_given_up_is_not_waited_for_again_until_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("raycv.run.filesystem._wait", lambda seconds, _why: slept.append(seconds))
    uri = str(tmp_path / "file")

    def away(*_given: object) -> None:
        raise ConnectionResetError

    def waited() -> float:
        slept.clear()
        with pytest.raises(UserError, match=f"Could not read {uri}: the server does not answer"):
            with_retries(uri, "read", away)
        return sum(slept)

    with_retries(uri, "read", lambda fs, path: None)
    assert waited() == sum(RetryPolicy.LONG.waits)
    assert waited() == sum(RetryPolicy.BRIEF.waits)
    with_retries(uri, "read", lambda fs, path: None)
    assert waited() == sum(RetryPolicy.LONG.waits)


def test_a_store_that_refuses_once_it_is_back_is_waited_for_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("raycv.run.filesystem._wait", lambda seconds, _why: slept.append(seconds))
    uri = str(tmp_path / "file")
    refused = ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject")
    coming: list[Exception] = []

    def read(*_given: object) -> str:
        if coming:
            raise coming.pop(0)
        return "read"

    assert with_retries(uri, "read", read) == "read"
    coming += [ConnectionResetError()] * len(RetryPolicy.LONG.waits) + [refused] * len(RetryPolicy.MEDIUM.waits)
    assert with_retries(uri, "read", read) == "read"
    assert slept == [*RetryPolicy.LONG.waits, *RetryPolicy.MEDIUM.waits]
    slept.clear()
    coming += [refused] * (1 + len(RetryPolicy.MEDIUM.waits))
    with pytest.raises(UserError, match="the S3 server refused the credentials"):
        with_retries(uri, "read", read)
    assert slept == list(RetryPolicy.MEDIUM.waits)
