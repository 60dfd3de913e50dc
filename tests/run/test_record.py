"""run.json while several stages end at once."""

from __future__ import annotations

import subprocess
import sys

from raycv.run import record
from raycv.run.store import RunStore

FINISH = """
import sys
from raycv.run import record
from raycv.run.store import RunStore
for n in range(5):
    stage = f"stage {sys.argv[2]}{n}"
    record.fail(RunStore(sys.argv[1]), stage, "no memory")
    record.finish(RunStore(sys.argv[1]), stage, "0", {f"setting{sys.argv[2]}{n}": n}, {"images": n})
"""


def test_stages_that_finish_together_are_all_noted(store: RunStore) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", FINISH, store.uri, name]) for name in "abcd"]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0, 0]
    found = record.read(store)
    assert set(found["stages"]) == {f"stage {name}{n}" for name in "abcd" for n in range(5)}
    assert found["config"] == {f"setting{name}{n}": n for name in "abcd" for n in range(5)}
    assert not found["errors"]


def test_an_error_stays_until_the_stage_finishes(store: RunStore) -> None:
    record.fail(store, "collect", "no memory")
    assert store.list("") == []  # no run, so nothing to note it in
    record.begin(store)
    record.fail(store, "collect", "no memory")
    record.finish(store, "align", "0", {}, {})
    assert record.read(store)["errors"]["collect"]["error"] == "no memory"
    record.finish(store, "collect", "0", {}, {})
    assert record.read(store)["errors"] == {}


def test_a_command_of_several_stages_has_all_its_settings_remembered(store: RunStore) -> None:
    record.finish(store, "train", "0", {"run": "elsewhere", "epochs": 3}, {})
    record.keep(store, {"run": "elsewhere", "config": "mine.yaml", "epochs": 3, "decays": [0.1]})
    assert record.read(store)["config"] == {"epochs": 3, "decays": [0.1]}
    before = store.read(record.PATH)
    record.keep(store, {"epochs": 3})
    assert store.read(record.PATH) == before
