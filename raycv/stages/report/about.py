"""What a report says of its run in one line: data, networks, version, date, command; and how to cite it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import pandas as pd

from raycv.config import Network, RunConfig

LEFT_OUT = ("run", "config", "wait")  # settings that do not change what a run finds


def about(record: Mapping[str, Any], training: pd.DataFrame | None) -> dict[str, Any]:
    """The facts of the line, None where the run does not know them. ``record``: run.json; ``training``: the table."""
    config, stages = record["config"], record["stages"]
    borrowed = [Network.model_validate(network).model for network in config.get("networks") or []]
    dates = [done["finished"] for name, done in stages.items() if name != "report" and "finished" in done]
    return {
        "version": record.get("raycv"),
        "date": max(dates)[:10] if dates else None,
        "data": config.get("data"),
        "models": list(borrowed or dict.fromkeys(config.get("model") or [])),
        "trained": not borrowed,
        "seeds": [] if borrowed else list(config.get("seeds") or []),
        "epochs": None if training is None or training.empty else int(training["epoch"].max()),
        "images": stages.get("collect", {}).get("images"),
        "command": command(config),
    }


def command(config: Mapping[str, Any]) -> str:
    """The command that makes such a run: `raycv run` with every setting of run.json that is not the default."""
    words = ["raycv run --run RUN"]
    for name, field in RunConfig.model_fields.items():
        value, default = config.get(name), field.get_default(call_default_factory=True)
        value = tuple(value) if isinstance(value, list) else value
        if name in LEFT_OUT or value is None or value in (default, (), False):
            continue
        words.append(_flag(name, value))
    return " ".join(words)


def _flag(name: str, value: Any) -> str:
    """A setting as it is given on the command line; networks of which that cannot say all stand in a file."""
    if name == "networks":
        networks = [Network.model_validate(network) for network in value]
        if any(network != Network(model=network.model, name=network.name) for network in networks):
            return "--config FILE"
        value = tuple(f"{network.name}={network.model}" if network.name else network.model for network in networks)
    flag = f"--{name.replace('_', '-')}"
    return flag if value is True else f"{flag} {shlex.quote(_typed(value))}"


def _typed(value: Any) -> str:
    values = value if isinstance(value, tuple) else (value,)
    return ",".join(f"{one:g}" if isinstance(one, float) else str(one) for one in values)
