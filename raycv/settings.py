"""Where settings come from: flags, environment, the settings file, what the run was given before; in this order.

All hand on what a person wrote, as text; the model of the command alone judges it. So every setting means the same
wherever it stands, and a refusal can name it as it was written.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from raycv.cells import NamedCell
from raycv.config import CellsConfig, CommandConfig, Network, NetworksConfig
from raycv.errors import UserError

Config = TypeVar("Config", bound=CommandConfig)
PREFIX = "RAYCV_"
LONGEST = 200  # characters of a value that a sentence repeats
PLAINER = (  # how pydantic speaks, and how a person does
    ("^(Input|Tuple|String|List) should", "it should"),
    (" item after validation, not 0", " value"),
    ("valid integer, unable to parse string as an integer", "whole number"),
    ("valid number, unable to parse string as a number", "number"),
)
COLUMNS = ("image_column", "label_column")  # which belong to the images of `data`
NESTED = ("networks", "cells")  # settings of which a file may say more than one value each
OF_THE_COMMAND = ("config", "run", "to")  # settings that a run does not remember: where a command reads and writes


@dataclass(frozen=True)
class Given:
    """One setting as it was given: ``where``, in words (``--seeds``), and the text, list of texts or stored value."""

    where: str
    value: Any


def load(model: type[Config], flags: Mapping[str, Given], stored: Mapping[str, Any] | None = None) -> Config:
    """The settings of ``model`` from ``flags``, environment, settings file and ``stored`` (from the run's record).

    Raises UserError, which names the setting as the user wrote it, what was given and what is allowed.
    """
    given = _given(flags)
    kept = {
        name: Given(f"{name} in the run's record, run.json,", value)
        for name, value in (stored or {}).items()
        if name not in OF_THE_COMMAND
    }
    if "data" in given:
        kept = {name: setting for name, setting in kept.items() if name not in COLUMNS}
    mine = {name: setting for name, setting in {**kept, **given}.items() if name in model.model_fields}
    values = {name: _listed(setting, model.model_fields[name]) for name, setting in mine.items()}
    try:
        return model(**values)
    except ValidationError as error:
        raise UserError(_sentence(error, model, mine)) from None


def models_named(flags: Mapping[str, Given]) -> list[str]:
    """The models that the user of this command names, by flags, environment or settings file, and not the run."""
    given = _given(flags)
    found: list[str] = []
    for name in {"model", "networks"} & given.keys():
        entries = _listed(given[name], NetworksConfig.model_fields[name])
        for entry in entries if isinstance(entries, list | tuple) else [entries]:
            with contextlib.suppress(ValidationError):  # which is refused when the settings are judged
                found.append(Network.model_validate(entry).model)
    if "cells" in given:
        entries = _listed(given["cells"], CellsConfig.model_fields["cells"])
        for entry in entries if isinstance(entries, list | tuple) else [entries]:
            with contextlib.suppress(ValidationError):
                found += map(str, NamedCell.model_validate(entry).settings.get("model", ()))
    return found


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """`(did you mean X?)` as a part of a sentence, where one of the ``known`` words is like ``word``."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {prefix}{close[0]}?)" if close else ""


def takes_several(field: FieldInfo) -> bool:
    """Whether a setting is a list of values, written with commas between them."""

    def several(kind: Any) -> bool:
        return get_origin(kind) is tuple or any(map(several, get_args(kind)))

    return several(field.annotation)


def _listed(setting: Given, field: FieldInfo) -> Any:
    """A text with commas as a list, where the setting is one."""
    if not isinstance(setting.value, str) or not takes_several(field):
        return setting.value
    pieces = [piece.strip() for piece in setting.value.split(",")] if setting.value.strip() else []
    if "" in pieces:
        raise UserError(
            f"{setting.where} was given {setting.value!r}, in which a value is missing before or after a comma; "
            f"write values with one comma between them ({field.description})."
        )
    return pieces


def _all_fields() -> list[str]:
    """The names of all settings of all commands: one environment or file may serve them all."""

    def below(model: type[CommandConfig]) -> Iterator[type[CommandConfig]]:
        for child in model.__subclasses__():
            yield child
            yield from below(child)

    models: list[type[CommandConfig]] = [CommandConfig, *below(CommandConfig)]
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def _given(flags: Mapping[str, Given]) -> dict[str, Given]:
    """The settings that the user of this command gives, by name."""
    given = {**_environment(), **flags}
    path = given.get("config")
    return {**(_file(path.value) if path and path.value else {}), **given}


def _environment() -> dict[str, Given]:
    known = _all_fields()
    found = {}
    for variable, value in os.environ.items():
        if variable.startswith(PREFIX):
            name = variable.removeprefix(PREFIX).lower()
            if name not in known:
                allowed = [field.upper() for field in known]
                near = nearest(name.upper(), allowed, PREFIX)
                raise UserError(
                    f"The environment variable {variable} is no setting{near}; allowed are "
                    f"{', '.join(PREFIX + field for field in allowed)}."
                )
            found[name] = Given(f"The environment variable {variable}", value)
    return found


def _file(path: str) -> dict[str, Given]:
    """The settings of a YAML file, by name."""
    known = _all_fields()
    known.remove("config")
    found: dict[str, Given] = {}
    for key, value in _entries(path):
        written = str(key.value) if isinstance(key, yaml.ScalarNode) else "a list or mapping"
        name, line = written.replace("-", "_"), key.start_mark.line + 1
        if name not in known:
            raise UserError(
                f"The settings file {path} has an unknown key {written!r}{nearest(name, known)}; allowed are "
                f"{', '.join(known)}."
            )
        if name in found:
            raise UserError(f"The settings file {path} has {name} twice, in line {line} again; keep one of them.")
        text = _nested(value, path) if name in NESTED else _text(value)
        if text is None:
            raise UserError(
                f"The settings file {path} gives {written} in line {line} something that is neither a value nor a list "
                f"of values; write it as `{written}: value` or `{written}: [value, value]`."
            )
        if value.tag != "tag:yaml.org,2002:null":
            found[name] = Given(f"{written} in the settings file {path}", text)
    return found


def _entries(path: str) -> list[tuple[yaml.Node, yaml.Node]]:
    """The keys and values of a YAML file as they are written. Nothing is made of them, so tags call nothing."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe could wait for ever
            raise UserError(f"The settings file {path} is no file but a folder, pipe or device; name a YAML file.")
        root = yaml.compose(Path(path).read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise UserError(f"The settings file {path} is not YAML: it is not text.") from None
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"Could not read the settings file {path}: {reason}.") from None
    except RecursionError:
        raise UserError(
            f"The settings file {path} is nested too deeply; expected lines such as `epochs: 12`."
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise UserError(
            f"The settings file {path} is not YAML{where}: {getattr(error, 'problem', None) or 'not text'}; expected "
            "lines such as `epochs: 12`."
        ) from None
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"The settings file {path} has no settings: expected lines such as `epochs: 12`.")
    return list(root.value)


def _text(node: yaml.Node) -> str | list[str] | None:
    """A value, or a list of values, as it is written; None for anything else."""
    plain = "tag:yaml.org,2002:"
    if isinstance(node, yaml.ScalarNode) and node.tag.startswith(plain):
        return str(node.value)
    if isinstance(node, yaml.SequenceNode) and node.tag == f"{plain}seq":
        texts = [str(item.value) for item in node.value if isinstance(item, yaml.ScalarNode)]
        return texts if len(texts) == len(node.value) else None
    return None


def _nested(node: yaml.Node, path: str) -> Any:
    """Lists and mappings as they are written, with numbers, words and yes or no as YAML has them."""
    try:
        return yaml.SafeLoader("").construct_object(node, deep=True)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = node.start_mark.line + 1
        reason = getattr(error, "problem", None) or "it cannot be read"
        raise UserError(f"The settings file {path} has something in line {mark} that is not YAML: {reason}.") from None


def _sentence(error: ValidationError, model: type[CommandConfig], mine: Mapping[str, Given]) -> str:
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"The settings contradict each other: {message}."
    name = str(first["loc"][0])
    field, setting = model.model_fields[name], mine[name]
    for pattern, words in PLAINER:
        message = re.sub(pattern, words, message)
    message = message[0].lower() + message[1:]
    if len(first["loc"]) > 1:
        inside = ".".join(str(part) for part in first["loc"][2:])
        message = f"{inside}: {message}" if inside else message
        message += f", not {_short(first['input'])}"
    return f"{setting.where} was given {_short(setting.value)}: {message} ({field.description})."


def _short(value: Any) -> str:
    """What was given, no longer than a person reads."""
    whole = repr(",".join(map(str, value)) if isinstance(value, list | tuple) else value)
    return whole if len(whole) <= LONGEST else f"{whole[:LONGEST]}..."
