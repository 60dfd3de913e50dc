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
    monkeypatch.setattr(progress, "LINE_EVERY", 0.05)
    monkeypatch.setattr(progress, "SILENT", 0.3)
    with Progress("collect", 10, "images") as shown:
        shown.resume_at(4)
        lines: list[str] = []
        while len(lines) < 2:
            time.sleep(0.05)
            lines += capsys.readouterr().out.splitlines()
        shown.update(10, "all shards")
    assert lines[0] == lines[1] == "collect: 4 of 10 images (40%), 6 images to do, 0 s so far"
    assert "collect: 10 of 10 images (100%)" in capsys.readouterr().out


def test_a_log_has_a_line_for_every_tenth(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.01)
    with Progress("collect", 200, "images") as shown:
        for done in range(1, 201):
            shown.update(done)
            time.sleep(0.005)
    lines = capsys.readouterr().out.splitlines()
    assert 4 <= len(lines) <= 12
    assert lines[-1].startswith("collect: 200 of 200 images (100%), ")
    tenths = [int(line.split()[1]) // 20 for line in lines if " of " in line]
    assert sorted(set(tenths)) == tenths


@pytest.mark.parametrize(
    ("done", "seconds", "told"),
    [
        (0, 7, "align: 1,000 pairs to do, 7 s so far"),
        (1, 7, "align: 1 of 1,000 pairs (0%), 0.14 pairs/s"),
        (100, 7, "align: 100 of 1,000 pairs (10%), 14 pairs/s"),
        (100, 25, "align: 100 of 1,000 pairs (10%), 4 pairs/s, 225 s left"),
        (1, 60, "align: 1 of 1,000 pairs (0%), 0.017 pairs/s"),
        (4, 200, "align: 4 of 1,000 pairs (0%), 0.02 pairs/s, 49,800 s left"),
        (1000, 200, "align: 1,000 of 1,000 pairs (100%), 5 pairs/s, done in 200 s"),
    ],
)
def test_the_time_left_is_told_once_it_can_be(
    done: int, seconds: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Progress("align", 1000, "pairs")
    shown.done = done
    shown.start -= seconds
    assert shown.sentence() == told


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
