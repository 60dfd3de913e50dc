"""A command's flags, made from its settings: one flag per field, in groups, with help and completion."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import click
from click.shell_completion import CompletionItem
from pydantic.fields import FieldInfo

from raycv.config import CommandConfig, ComputeConfig, MappingSweepConfig, NetworksConfig
from raycv.errors import UserError
from raycv.settings import Given, nearest, takes_several

BUILDING = (NetworksConfig, ComputeConfig, MappingSweepConfig)  # settings of commands that build networks
FIRST = ("run", "images", "networks", "training", "pass")  # groups that most need; the others follow as they come
LAST = ("settings", "processors")  # and those that few do
WIDTH = 100  # of help texts
WORDS = {int: "integer", float: "number", str: "text"}
FILES = {"config": "file", "checkpoints": "file", "run": "dir", "data": "dir"}  # what a shell completes


if TYPE_CHECKING:
    TextType = click.ParamType[str]
else:  # before 8.4 click's types have no parameters
    TextType = click.ParamType


class Text(TextType):
    """What was typed, as text: the settings class judges it."""

    name = "text"

    def __init__(self, field: str, kind: Any) -> None:
        self.field, self.kind = field, kind

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value.startswith("--"):
            raise UserError(f"{_typed(self.field)} was given no value: {value} after it is a flag.")
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        if self.field in FILES:
            return [CompletionItem(incomplete, type=FILES[self.field])]
        return [CompletionItem(word) for word in _choices(self.kind) if word.startswith(incomplete)]


class Flag(click.Option):
    """One flag in its group of the help."""

    def __init__(self, names: list[str], group: str, **given: Any) -> None:
        super().__init__(names, **given)
        self.group = group


def flags_of(settings: type[CommandConfig]) -> list[click.Parameter]:
    """One flag for every field of ``settings``, group by group, and those that every command has."""
    flags: list[click.Parameter] = []
    for name, field in sorted(settings.model_fields.items(), key=lambda item: _rank(_group(settings, item[0]))):
        names = [name, _typed(name)] + ([f"-{name}"] if len(name) == 1 else [])
        kind = Text(name, field.annotation)
        if kind.kind is bool:
            flags.append(
                Flag(names, _group(settings, name), is_flag=True, flag_value="true", type=str, help=field.description)
            )
            continue
        default = "" if "(default" in (field.description or "") else typed_value(field.get_default())
        flags.append(
            Flag(
                names,
                _group(settings, name),
                type=kind,
                multiple=True,  # so that a flag given twice is seen
                metavar=_metavar(field),
                help=f"{field.description}{f' [default: {default}]' if default else ''}",
            )
        )
    if issubclass(settings, BUILDING):
        flags.append(
            Flag(
                ["trust", "--trust"],
                "networks",
                multiple=True,
                metavar="MODULE:FUNCTION,...",
                help="call these functions of your own where a run names them; remembered for you, not in the run",
            )
        )
    flags.append(
        Flag(["verbose", "-v", "--verbose"], "output", is_flag=True, help="say where every table and figure is")
    )
    flags.append(Flag(["quiet", "-q", "--quiet"], "output", is_flag=True, help="say only results and errors"))
    return flags


def _rank(group: str) -> int:
    """Where a group of flags stands in the help."""
    if group in LAST:
        return len(FIRST) + 1
    return FIRST.index(group) if group in FIRST else len(FIRST)


def wait() -> click.Parameter:
    """The flag of a command that is the only driver of a stage."""
    return Flag(["wait", "--wait"], "run", is_flag=True, help="wait where another driver is at work on the same stage")


def given(settings: type[CommandConfig], typed: dict[str, Any]) -> dict[str, Given]:
    """The settings that were typed as flags, by name. Raises UserError for one given twice."""
    found = {}
    for name in settings.model_fields:
        values, flag = typed.get(name) or (), _typed(name)
        values = (values,) if isinstance(values, str) else values  # of a flag that takes no value
        if len(values) > 1:
            raise UserError(
                f"{flag} was given {len(values)} times; give it once"
                + (", with commas between the values." if takes_several(settings.model_fields[name]) else ".")
            )
        if values:
            found[name] = Given(flag, values[0])
    return found


def trusted(typed: dict[str, Any]) -> list[str]:
    """The functions that ``--trust`` was given."""
    return [function.strip() for given in typed.get("trust") or () for function in given.split(",")]


def sentence(error: click.UsageError) -> str:
    """What is wrong with a command line, where click found it."""
    command = error.ctx.command_path if error.ctx else "raycv"
    if isinstance(error, click.NoSuchOption) and error.ctx:
        known = [name for flag in error.ctx.command.get_params(error.ctx) for name in flag.opts if name[:2] == "--"]
        return (
            f"`{command}` has no flag {error.option_name}{nearest(error.option_name, known)}; `{command} --help` lists "
            "them."
        )
    if isinstance(error, click.BadOptionUsage):
        wrong = "no value" if "requires" in error.format_message() else "a value, which it does not take"
        return f"{error.option_name} was given {wrong}; `raycv help` explains the flags."
    message = error.format_message().rstrip(".")
    return f"`{command}`: {message[0].lower()}{message[1:]}; see `{command} --help`."


class SectionedCommand(click.Command):
    """A command whose help lists its flags in groups; help lists it among others of its ``section``."""

    def __init__(self, name: str, *, section: str = "Commands", **given: Any) -> None:
        super().__init__(name, **given)
        self.section = section

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for flag in self.get_params(ctx):
            record = flag.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(flag, "group", "output"), []).append(record)
        for name, records in groups.items():
            with formatter.section(name.capitalize()):
                formatter.write_dl(records)


class SectionedGroup(click.Group):
    """Commands, section by section; those of a group below are listed by their whole names."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, command in leaves(self):
            said = name, command.get_short_help_str(WIDTH)
            sections.setdefault(getattr(command, "section", "Commands"), []).append(said)
        for section, commands in sections.items():
            with formatter.section(section):
                formatter.write_dl(commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            known = [name for name, _ in leaves(self)]
            near = nearest(args[0], known)
            raise UserError(f"`{ctx.command_path}` has no command {args[0]!r}{near}; allowed are {', '.join(known)}.")
        return super().resolve_command(ctx, args)


def leaves(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """All commands of a group and of the groups below it, by their whole names."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from ((f"{name} {below}", leaf) for below, leaf in leaves(command))
        else:
            yield name, command


def _typed(name: str) -> str:
    """The flag of a setting."""
    return f"--{name.replace('_', '-')}"


def typed_value(value: Any) -> str:
    """A value as a user types it; empty for none."""
    if isinstance(value, tuple):
        return ",".join(map(typed_value, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _group(settings: type[CommandConfig], name: str) -> str:
    """The group of the class in which a field is defined."""
    defined = next(c for c in reversed(settings.__mro__) if name in inspect.get_annotations(c))
    return str(vars(defined).get("group", CommandConfig.group))


def _kinds(kind: Any) -> Iterator[Any]:
    """The plain types and literals of which an annotation is made."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from _kinds(get_args(kind)[0])
    elif origin in (Union, UnionType, tuple):
        for part in get_args(kind):
            yield from _kinds(part)
    elif kind not in (type(None), Ellipsis):
        yield kind


def _choices(kind: Any) -> list[str]:
    return [str(word) for part in _kinds(kind) if get_origin(part) is Literal for word in get_args(part)]


def _metavar(field: FieldInfo) -> str:
    """In words, what a flag takes."""
    words = [WORDS[part] for part in _kinds(field.annotation) if part in WORDS] + _choices(field.annotation)
    return ("|".join(words) or "model") + (",..." if takes_several(field) else "")
