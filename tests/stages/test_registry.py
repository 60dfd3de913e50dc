"""The stages as they declare themselves, against the folders, jobs and tables that there are and the manual's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from raycv.commands import COMMANDS
from raycv.run import schema
from raycv.stages import registry
from raycv.stages.registry import AFTER_RUN, INTENDED, OF_RUN, STAGES, Stage, loaded
from tests.support.half_done import KEPT, LEFT

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "docs" / "running.md").read_text()
EACH = pytest.mark.parametrize("stage", STAGES, ids=registry.NAMES)


def room(code: str) -> str:
    """The folder below `raycv/stages` in which code is."""
    return code.partition(":")[0].split(".")[0]


def test_every_folder_with_a_stage_is_registered_and_no_other() -> None:
    folders = {path.parent.name for path in (ROOT / "raycv" / "stages").glob("*/stage.py")}
    named = [room(stage.do) for stage in STAGES] + [room(command.do) for command in COMMANDS.values() if command.do]
    assert sorted(named) == sorted(folders)


def test_every_stage_is_a_command_and_a_job() -> None:
    assert set(registry.NAMES) <= set(COMMANDS)
    jobs = {path.stem for path in (ROOT / "jobs").glob("*.py")} - {"run_on_kuberay"}  # `run` with other exit codes
    assert jobs == {name.replace(" ", "_") for name in (*registry.NAMES, "run", "study", "attribute")}
    for job in jobs:
        assert f"main([{', '.join(f'{word!r}' for word in job.split('_'))}, *" in (
            (ROOT / "jobs" / f"{job}.py").read_text().replace('"', "'")
        )


@EACH
def test_the_code_that_a_stage_names_is_in_its_room(stage: Stage) -> None:
    for code in (stage.do, stage.needs, stage.traffic, stage.figures):
        if code:
            assert room(code) == room(stage.do)
            assert callable(loaded(code))
    assert callable(loaded(f"{stage.do.partition(':')[0]}:is_done"))
    assert callable(loaded(INTENDED))


@EACH
def test_what_a_stage_comes_after_stands_before_it(stage: Stage) -> None:
    before = registry.NAMES[: registry.NAMES.index(stage.name)]
    assert set(stage.after or ()) <= set(before)
    assert set(stage.in_run) <= set(stage.settings.model_fields)


def test_every_table_is_of_one_stage() -> None:
    order = list(dict.fromkeys(table.stage for table in schema.ALL))
    assert order == [*(name for name in registry.NAMES if name in order), "study", "attribute"]
    by_stage = [name for stage in STAGES for name in stage.tables]
    of_others = [table.name for table in schema.ALL if table.stage not in registry.NAMES]
    assert sorted(by_stage + of_others) == sorted(table.name for table in schema.ALL)
    assert {table.stage for table in schema.ALL if table.name in of_others} == {"study", "attribute"}
    for stage in STAGES:
        assert set(stage.reported) <= set(stage.tables)


def test_what_a_stage_leaves_is_its_own() -> None:
    for path in KEPT | LEFT:
        owners = [stage.name for stage in STAGES if stage.leaves(path)]
        assert len(owners) <= 1, path
    assert [stage.name for stage in STAGES if stage.leaves("sweeps/mapping-1/layer.parquet")] == ["sweep mapping"]
    assert [stage.name for stage in STAGES if stage.leaves("networks/net1/weights.safetensors")] == ["train"]
    assert not [stage.name for stage in STAGES if stage.leaves("networks-of-mine/weights.safetensors")]


def rows(heading: str) -> dict[str, str]:
    """By command, what the manual's table after these words says that it writes."""
    table = MANUAL.split(heading)[1].split("\n\n")[1]
    cells = [line.strip("|").split("|") for line in table.splitlines()[2:]]
    return {command.strip(" `").removeprefix("raycv "): writes for command, _, writes in cells}


@pytest.mark.parametrize(
    ("heading", "stages"),
    [("`raycv run` runs these stages in order.", OF_RUN), ("Five optional stages;", AFTER_RUN)],
)
def test_the_manuals_tables_of_stages_are_those_registered(heading: str, stages: tuple[Stage, ...]) -> None:
    found = rows(heading)
    assert list(found) == [stage.name for stage in stages]
    for stage in stages:
        words = re.findall(r"`([^`]+)`", found[stage.name])
        assert [word for word in words if word in schema.BY_NAME] == stage.tables
        places = [word.rstrip("/") for word in words if word not in schema.BY_NAME]
        assert places == [pattern.replace("\\", "") for pattern in stage.files]
