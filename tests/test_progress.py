"""What a person sees while waiting: in a log, in a terminal, and who wants to know less or more."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from raycv import progress
from raycv.progress import NORMAL, QUIET, VERBOSE, Progress, answer, detail, doing, say, speak


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    speak(NORMAL)


@pytest.mark.parametrize(
    ("level", "said"), [(QUIET, ["result"]), (NORMAL, ["line", "result"]), (VERBOSE, ["line", "path", "result"])]
)
def test_what_is_said(level: int, said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    speak(level)
    say("line")
    detail("path")
    answer("result")
    assert capsys.readouterr().out.split() == said


def test_a_log_names_what_is_waited_for_again_and_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "AT_ONCE", 0.05)
    monkeypatch.setattr(progress, "LINE_EVERY", 0.2)
    lines: list[str] = []
    with doing("starting Ray"):
        while len(lines) < 3:
            time.sleep(0.05)
            lines += capsys.readouterr().out.splitlines()
    assert lines[0] == "starting Ray"
    assert all(line.startswith("starting Ray: ") for line in lines[1:3])


def test_a_moment_is_not_worth_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with doing("nothing"):
        pass
    assert capsys.readouterr().out == ""


def test_a_log_has_lines_while_nothing_is_finished(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.1)
    with Progress("collect", 10, "images") as shown:
        shown.resume_at(4)
        lines: list[str] = []
        while len(lines) < 2:
            time.sleep(0.05)
            lines += capsys.readouterr().out.splitlines()
        shown.update(10, "all shards")
    assert lines[0] == lines[1] == "collect: 4 of 10 images (40%), 0 images/s, time left unknown"
    assert "collect: 10 of 10 images (100%)" in capsys.readouterr().out


def test_a_terminal_has_a_bar() -> None:
    code = (
        "from raycv.progress import Progress\nwith Progress('collect', 10, 'images') as p:\n    p.advance(10, 'shards')"
    )
    here, there = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", code], stdout=there, stderr=there) as process:
        os.close(there)
        seen = b""
        while process.poll() is None or not seen:
            try:
                seen += os.read(here, 10_000)
            except OSError:  # how a terminal ends
                break
    os.close(here)
    assert process.returncode == 0
    assert b"collect" in seen
    assert b"10/10" in seen
