"""Make the manual's pages of tables and flags from schema and commands: `python scripts/reference.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from raycv.cli import command_line
from raycv.flags import Flag
from raycv.run.schema import ALL

DOCS = Path(__file__).parent.parent / "docs" / "reference"
TABLES = """# Tables

What every table of a run holds. `pandas.read_parquet(RUN + "/tables/NAME")` reads one; `raycv tables NAME` and the
metadata of the files say the same as this page. Every row has its net, layer and unit by name; null
stands for what is missing.
"""
FLAGS = """# Settings

All flags of the commands that have settings, from A to Z. Each can also be given by an environment variable (`--data`
by `RAYCV_DATA`) or by its name in a YAML file (`--config`); `raycv COMMAND --help` lists those of one command.
"""


def cell(text: object) -> str:
    """Text in a table of Markdown."""
    return str(text).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def tables() -> str:
    """The page of tables."""
    lines = [TABLES]
    for table in ALL:
        lines += [f"## {table.name}", "", f"Written by `raycv {table.stage}`: {cell(table.meaning)}.", ""]
        lines += ["| column | type | meaning |", "| --- | --- | --- |"]
        lines += [f"| `{column.name}` | {column.type} | {cell(column.meaning)} |" for column in table.whole]
        lines.append("")
    return "\n".join(lines)


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """All commands by their whole names."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def flags() -> str:
    """The page of flags."""
    found: dict[tuple[str, str, str], list[str]] = {}
    with_flags = 0
    for name, command in commands(command_line()):
        of_command = [flag for flag in command.params if isinstance(flag, Flag)]
        with_flags += bool(of_command)
        for flag in of_command:
            key = (flag.opts[-1], flag.metavar or "", flag.help or "")
            found.setdefault(key, []).append(f"`{name}`")
    lines = [FLAGS, "| flag and value | meaning | of |", "| --- | --- | --- |"]
    for (flag, value, meaning), of in sorted(found.items()):
        every = "all" if len(of) == with_flags else ", ".join(of)
        lines.append(f"| `{flag}` {cell(value)} | {cell(meaning)} | {every} |")
    return "\n".join([*lines, ""])


PAGES = {"tables.md": tables, "flags.md": flags}


def main() -> None:
    """Write both pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())


if __name__ == "__main__":
    main()
