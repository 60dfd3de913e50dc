"""The line that says what a run is, from run.json and its training."""

from __future__ import annotations

from typing import Any

import pytest

from raycv.config import Network
from raycv.stages.report.about import about, command


def stored(model: str, **more: Any) -> dict[str, Any]:
    """A network as run.json has it."""
    return Network(model=model, **more).model_dump(mode="json")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, ""),
        ({"data": "cifar10-subset", "seeds": [1, 2, 3, 4], "epochs": None}, ""),
        (
            {"data": "s3://bucket/a b", "seeds": [1, 2], "keep_rare": True},
            " --data 's3://bucket/a b' --seeds 1,2 --keep-rare",
        ),
        (
            {"networks": ["torchvision/alexnet"], "k": [10, 20], "unknown": 1},
            " --networks torchvision/alexnet --k 10,20",
        ),
    ],
)
def test_the_command_has_what_is_not_the_default(config: dict[str, Any], words: str) -> None:
    said = command(config)
    assert set(said.removeprefix("raycv run --run RUN").split(" --")) == set(words.split(" --"))


def test_dates_versions_and_borrowed_networks() -> None:
    stages = {"align": {"finished": "2026-01-02T03:04:05+00:00"}, "report": {"finished": "2027-01-01T00:00:00+00:00"}}
    found = about(
        {"raycv": "0.1.0", "config": {"networks": [stored("a"), stored("b")], "seeds": [1]}, "stages": stages}, None
    )
    assert (found["version"], found["date"], found["models"], found["seeds"]) == ("0.1.0", "2026-01-02", ["a", "b"], [])
    assert not found["trained"]
    assert found["epochs"] is None
