"""The report in a browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from raycv.progress import say


def show(uri: str, *, asked: bool) -> None:
    """Open the report where that was ``asked`` for; says so where it is on no disk or there is no browser."""
    if not asked:
        return
    if "://" in uri:
        say(f"report: {uri} is not on this machine; copy it to a disk and open it there")
    elif not webbrowser.open(Path(uri).resolve().as_uri()):
        say("report: no browser was found on this machine")
