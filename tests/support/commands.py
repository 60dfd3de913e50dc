"""Running commands that must fail."""

from __future__ import annotations

import pytest

from raycv.cli import main


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that must fail says: one line, exit code 2."""
    assert main(list(arguments)) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("raycv: ")
    assert "\n" not in said
    return said
