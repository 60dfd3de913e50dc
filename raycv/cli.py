"""`raycv STAGE [flags]` runs one stage, `raycv run` all of them in order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import click
from click.shell_completion import ShellComplete, get_completion_class

import raycv
from raycv import extras, flags, manifests, queries
from raycv.commands import COMMANDS
from raycv.config import PrepareConfig, StageConfig
from raycv.errors import WHERE, StageFailed, UserError
from raycv.flags import SectionedGroup
from raycv.networks import trust
from raycv.progress import NORMAL, QUIET, VERBOSE, answer, is_told, speak
from raycv.run import lease, record
from raycv.run.store import RunStore
from raycv.settings import Given, load, models_named
from raycv.stages import registry
from raycv.stages.registry import BY_NAME, loaded
from raycv.stopping import stoppable

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": flags.WIDTH}


GROUPS = {"sweep": "try out many settings, on Ray Tune"}
ABOUT = "Which units of independently trained networks learned the same thing?"
MORE = """Every flag is also a key of a YAML file (--config FILE) and an environment variable (RAYCV_SHARD_SIZE=512). A
run remembers its settings. Start with: raycv run --run runs/first"""


def command_line() -> SectionedGroup:
    """All commands: those with settings, those that only read, and what explains them."""
    root = SectionedGroup("raycv", help=ABOUT, epilog=MORE, context_settings=CONTEXT)
    click.version_option(raycv.__version__, message="raycv %(version)s")(root)
    for name, command in COMMANDS.items():
        *above, last = name.split()
        group: click.Group = root
        for word in above:
            group.add_command(group.commands.get(word) or SectionedGroup(word, help=GROUPS.get(word)))
            group = cast(click.Group, group.commands[word])
        group.add_command(
            flags.SectionedCommand(
                last,
                params=[*flags.flags_of(command.settings), *([flags.wait()] if command.stages else [])],
                section=command.section,
                help=command.meaning,
                epilog=f"Example: raycv {name} {command.example}",
                callback=partial(_prepared, name),
            )
        )
    for explain in (queries.compare, queries.diff, queries.tables, queries.layers, manifests.init, _help, _completion):
        root.add_command(explain)
    return root


def _prepared(name: str, **typed: Any) -> Callable[[], int]:
    """What a command line asks for, to be done when click has read it."""
    level = VERBOSE if typed["verbose"] else QUIET if typed["quiet"] else NORMAL
    if typed["verbose"] and typed["quiet"]:
        raise UserError("--verbose and --quiet contradict each other; give one of them.")
    given, trusted = flags.given(COMMANDS[name].settings, typed), flags.trusted(typed)
    return partial(_do, name, given, level, typed.get("wait", False), trusted)


@click.command("help", help="explain a command: raycv help train")
@click.argument("words", nargs=-1, metavar="[COMMAND]")
@click.pass_context
def _help(context: click.Context, words: tuple[str, ...]) -> None:
    above, command = context.find_root(), context.find_root().command
    for place, word in enumerate(words):
        if not isinstance(command, SectionedGroup):
            raise UserError(f"`{above.command_path}` has no commands below it, found {word!r}.")
        _, found, _ = command.resolve_command(above, list(words[place:]))
        command = cast(click.Command, found)
        above = click.Context(command, above, command.name, **CONTEXT)
    answer(command.get_help(above))


@click.command("completion", help="make a shell complete commands and flags: source <(raycv completion bash)")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def _completion(context: click.Context, shell: str) -> None:
    made = cast(type[ShellComplete], get_completion_class(shell))
    answer(made(context.find_root().command, {}, "raycv", "_RAYCV_COMPLETE").source())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0: done; 1: a stage failed, and the same command continues it; 2: a mistake that the user can correct; 3: done,
    but the health check failed; 130: stopped.
    """
    with stoppable(lease.give_all_back):
        return _answered(arguments)


def _answered(arguments: Sequence[str] | None) -> int:
    try:
        asked = command_line().main(arguments, prog_name="raycv", standalone_mode=False)
        return int(asked()) if callable(asked) else asked or 0
    except click.exceptions.NoArgsIsHelpError as error:
        answer(error.format_message())
        return 2
    except click.UsageError as error:
        return _refused(flags.sentence(error), 2)
    except UserError as error:
        return _refused(str(error), 2)
    except StageFailed as error:
        return _refused(str(error), 1)
    except ModuleNotFoundError as error:
        said = extras.sentence(error)
        if not said:
            raise
        return _refused(said, 2)
    except click.Abort:  # as click calls it
        raise KeyboardInterrupt from None


def _refused(reason: str, code: int) -> int:
    sentence, line, where = reason.partition(WHERE)
    print("raycv: " + sentence.replace("\n", " "), file=sys.stderr, flush=True)
    if line and is_told(VERBOSE):
        print(line.lstrip("\n") + where, file=sys.stderr, flush=True)
    return code


def _do(name: str, typed: Mapping[str, Given], level: int, wait: bool, trusted: Sequence[str] = ()) -> int:
    """Run a command with the settings ``typed`` as flags, those given elsewhere and those stored in the run.

    ``trusted``: functions that the user allows; those that the settings name are, too, but not those stored in the run.
    """
    speak(level)
    trust.remember(trusted)
    trust.allow(models_named(typed))
    command = COMMANDS[name]
    stages = command.stages
    settings: Any
    if issubclass(command.settings, StageConfig):
        # Settings stored in the run replace flags that are not given, so find the run first.
        store = RunStore(load(StageConfig, typed).run)
        record.check_kind(store, command.kinds)
        settings = load(command.settings, typed, record.read(store)["config"])
    else:
        settings = load(command.settings, typed)
        store = RunStore(_place(settings))
        stages = () if settings.verify else stages  # which only reads
    joined = _in_a_cluster()
    with lease.held(store, stages, wait=wait):
        try:
            if command.do:
                loaded(command.do, command.loads)(settings, store)
            else:
                registry.do(BY_NAME[name], settings, store)
        finally:
            if _in_a_cluster() and not joined:
                sys.modules["ray"].shutdown()  # here, where Ctrl-C is waited for, and not when the interpreter ends
    return _health(store) if command.checks_health and not record.kind(store) else 0


def _place(settings: PrepareConfig) -> str:
    if settings.to is None:
        raise UserError("raycv prepare needs --to, a new folder or s3://bucket/prefix for the images.")
    return settings.to


def _in_a_cluster() -> bool:
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def _health(store: RunStore) -> int:
    """Say the numbers in which a run ends; the exit code that follows from its health check."""
    broken: str = loaded("align.health:answered")(store)
    return _refused(broken, 3) if broken else 0


if __name__ == "__main__":
    sys.exit(main())
