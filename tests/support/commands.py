"""Running commands that must fail, and reading flags."""

from __future__ import annotations

from typing import TypeVar

import pytest

from raycv import flags
from raycv.cli import main
from raycv.config import CommandConfig
from raycv.settings import load

Config = TypeVar("Config", bound=CommandConfig)


def typed(model: type[Config], *arguments: str) -> Config:
    """The settings that flags give a command, in this environment."""
    command = flags.SectionedCommand("raycv", params=flags.flags_of(model))
    return load(model, flags.given(model, command.make_context("raycv", list(arguments)).params))


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that must fail says: one line, exit code 2."""
    assert main(list(arguments)) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("raycv: ")
    assert "\n" not in said
    return said
