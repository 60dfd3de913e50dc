"""S3 endpoints that are none, or do not answer as S3 does: one true sentence each, in time."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

import pytest

from raycv.cli import main
from raycv.errors import UserError
from raycv.progress import NORMAL, speak
from raycv.run import filesystem
from raycv.run.clouds import READ
from raycv.run.faults import WAITS, RetryPolicy
from raycv.run.store import RunStore
from tests.support.faulty_server import faulty
from tests.support.half_done import half_done
from tests.support.odd_servers import ANSWERS, dripping_server, odd_server, silent_server
from tests.support.s3_server import BUCKET, KEY, SECRET, S3Server

RUN = "s3://results/run"
KNOWN = {
    "redirects for ever": "redirects in an endless loop; check AWS_ENDPOINT_URL",
    "names another region": "set AWS_DEFAULT_REGION=eu-north-1",
    "signs users in": "the answer is not from an S3 server",
    "signs users in, in XHTML": "the answer is not from an S3 server",
    "says hello": "the answer is not from an S3 server",
    "finds the credentials expired": "the credentials have expired; sign in again",
    "has another clock": "the clocks of this machine and of the S3 server differ too much",
    "dates a file yesterday": "the answer is not from an S3 server",
    "is down": "the S3 server is failing (503)",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Credentials, nothing known of any store, and little patience."""
    variables = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name in ("_answered", "_given_up"):
        monkeypatch.setattr(filesystem, name, set())
    monkeypatch.setattr(filesystem, "_told", {})
    monkeypatch.setitem(WAITS, RetryPolicy.BRIEF, (0.01,))
    speak(NORMAL)
    yield
    monkeypatch.undo()
    filesystem.filesystem(RUN)[0].clear_instance_cache()


def named(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    filesystem.filesystem(RUN)[0].clear_instance_cache()


@pytest.mark.parametrize("what", ANSWERS)
def test_what_is_no_s3_server_is_said(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore(RUN)
    with odd_server(what) as endpoint:
        named(endpoint, monkeypatch)
        for use in (store.exists, store.list):
            with pytest.raises(UserError) as caught:
                use("x")
            assert str(caught.value).startswith(f"Could not {'look for' if use == store.exists else 'list'} {RUN}/x: ")
            assert KNOWN[what] in str(caught.value) or "failing (500)" in str(caught.value)  # botocore's own 500


@pytest.mark.parametrize("drips", [None, READ / 500])
def test_a_silent_server_is_named_and_given_up(
    drips: float | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one whose every part of an answer comes in time, and never the end.

    With patience that is a fiftieth of what users have, who wait for less than a minute.
    """
    for name in ("CONNECT", "READ", "LONGEST", "LONGEST_AGAIN", "TOLD_AFTER"):
        monkeypatch.setattr(filesystem, name, getattr(filesystem, name) / 50)
    with silent_server(drips) as endpoint:
        named(endpoint, monkeypatch)
        assert main(["collect", "--run", RUN]) == 2
    out, said = capsys.readouterr()
    assert said.startswith(f"raycv: Could not look for {RUN}/run.json: the server does not answer")
    assert said.count("\n") == 1
    assert out.count(f"waiting for the S3 server: to look for {RUN}/run.json") == 1


@pytest.mark.parametrize("drips", [0.02, 0.001])
def test_a_file_that_comes_by_drips_is_given_up_unless_they_are_many(
    drips: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of 2,000 bytes, at 400 bytes a second at least: 5 s more than the patience with a silent server."""
    for name in ("LONGEST", "LONGEST_AGAIN"):
        monkeypatch.setattr(filesystem, name, 0.5)
    monkeypatch.setattr(filesystem, "SLOWEST", 400)
    with dripping_server(2_000, drips) as endpoint:
        named(endpoint, monkeypatch)
        if drips == 0.001:
            assert RunStore(RUN).read("run.json") == b"{" * 2_000
            return
        with pytest.raises(UserError, match=f"Could not read {RUN}/run.json: the server does not answer"):
            RunStore(RUN).read("run.json")


@pytest.mark.slow
def test_users_wait_for_less_than_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "raycv", "status", "--run", RUN]
    with silent_server() as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        began = time.monotonic()
        with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as process:
            assert process.stdout is not None
            assert "waiting for the S3 server" in process.stdout.readline()
            _, said = process.communicate(timeout=60 - (time.monotonic() - began))
        assert process.returncode == 2
        assert said.count("\n") == 1


@pytest.mark.slow
def test_users_wait_for_less_than_a_minute_where_it_falls_silent(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a command, which then also has a lease to give back."""
    place = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    half_done(RunStore(place))
    with faulty(s3_server.endpoint) as proxy:
        proxy.after(4, lambda: setattr(proxy, "mode", "silent"))
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        began = time.monotonic()
        command = [sys.executable, "-m", "raycv", "clean", "--run", place]
        with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as process:
            out, said = process.communicate(timeout=90)
        assert time.monotonic() - began < 60
    assert process.returncode == 2
    assert "waiting for the S3 server" in out
    assert "the server does not answer" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "address",
    ["http://", "http://host:port", "https//x", "http://[::1", "http://127.0.0.1:99999", "http://a b", "ftp://x", "x"],
)
@pytest.mark.parametrize("name", filesystem.ENDPOINTS)
def test_an_address_that_is_none(name: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, address)
    with pytest.raises(UserError, match=f"{name} is not a URL such as"):
        RunStore(RUN)
    monkeypatch.delenv(name)


def test_an_address_that_botocore_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://a..b")
    filesystem.filesystem(RUN)[0].clear_instance_cache()
    with pytest.raises(UserError, match="is not a URL such as"):
        RunStore(RUN).read("x")
