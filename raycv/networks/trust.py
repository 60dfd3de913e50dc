"""Which functions of a user's own are called.

A run is data: that it names a function is no reason to call it, for the run may be someone else's. A function is called
where the user of this command names it, or has allowed it for good with ``--trust``, which is noted in a file of the
user's and never in a run. What is decided where a command starts holds in every process that it sends work to: the
description of a network takes the decision along (`raycv.networks.spec.NetworkSpec`).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from raycv.errors import UserError
from raycv.progress import say

LIBRARIES = ("timm/", "hf/", "torchvision/")  # what models begin with that are no functions
HEAD = (
    "# Functions that raycv calls where a run names them, as --trust has allowed it. Remove what you no longer trust.\n"
)

_allowed: set[str] = set()  # by the user of this command, or of the command that sent this process its work


def is_function(model: str) -> bool:
    """Whether a model is a user's own function, module:function, well written or not."""
    return ":" in model and "://" not in model and not model.startswith(LIBRARIES)


def is_well_written(model: str) -> bool:
    """Whether it is a module path, a colon and a name, all of them Python's identifiers."""
    module, _, name = model.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), name))


def allow(models: Iterable[str]) -> None:
    """Let the functions among ``models`` be called in this process and in those that it sends work to."""
    _allowed.update(model for model in models if is_function(model))


def is_allowed(model: str) -> bool:
    """Whether the user has named or allowed the function."""
    return model in _allowed or model in _remembered()


def check(model: str) -> None:
    """Raise UserError for a function that the user has neither named nor allowed."""
    if not is_allowed(model):
        raise UserError(
            f"This run asks for {model}, a function that raycv calls only for a user who allows it; if you know it and "
            f"trust it, allow it with --trust {model} (remembered for you, not in the run), or name it yourself with "
            "--networks or --model."
        )


def remember(functions: Iterable[str]) -> None:
    """Allow ``functions`` for this user for good. Raises UserError for what is no module:function."""
    given = dict.fromkeys(functions)
    for function in given:
        if not (is_function(function) and is_well_written(function)):
            raise UserError(
                f"--trust was given {function!r}, which names no function; write it as package.module:function."
            )
    allow(given)
    known = _remembered()
    new = [function for function in given if function not in known]
    if not new:
        return
    try:
        _write(path := file(), [*known, *new])
    except (OSError, RuntimeError) as error:
        say(f"note: {', '.join(new)} is allowed for this command alone, because it could not be noted: {error}")
    else:
        say(f"note: from now on raycv calls {', '.join(new)} for you wherever a run names it; {path} says so")


def file() -> Path:
    """Where it is noted what this user trusts. Raises RuntimeError for a user without a home."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".config") / "raycv" / "trusted"


def _remembered() -> list[str]:
    """The functions that are noted; none where the file is not there."""
    try:
        path = file()
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError, RuntimeError):
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}, where raycv notes which functions you trust, cannot be read: {error}.") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _write(path: Path, functions: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    number, part = tempfile.mkstemp(dir=path.parent)  # which nobody else can read or write
    try:
        with open(number, "w", encoding="utf-8") as opened:
            opened.write(HEAD + "".join(f"{function}\n" for function in functions))
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
