"""`raycv report --open`: the browser that the user has set is given the report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def opened(uri: str, browser: str) -> str:
    """What is said where a report is to be opened by a command."""
    code = f"from raycv.stages.report.opening import show; show({uri!r}, asked=True)"
    environment = {**os.environ, "BROWSER": browser, "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return done.stdout


def test_the_users_browser_gets_the_report(tmp_path: Path) -> None:
    browser, seen = tmp_path / "browser", tmp_path / "seen"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {seen}\n')
    browser.chmod(0o755)
    assert opened(str(tmp_path / "a run" / "report.html"), f"{browser} %s") == ""
    assert seen.read_text() == (tmp_path / "a run" / "report.html").as_uri()


@pytest.mark.parametrize(
    ("uri", "said"),
    [("s3://bucket/first/report.html", "is not on this machine"), ("report.html", "no browser was found")],
)
def test_what_no_browser_can_open_is_said(uri: str, said: str) -> None:
    assert said in opened(uri, "no-such-browser %s")
