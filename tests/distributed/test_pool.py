"""A pool of actors on a real cluster: every item is done although actors die, and no mistake is swallowed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, RayTaskError

from raycv.distributed.pool import DEATHS_PER_ITEM, LOOK, Pool
from raycv.errors import UserError


@ray.remote(num_cpus=0.5, max_restarts=-1, max_task_retries=0)
class Worker:
    """Notes what it does in a folder."""

    def __init__(self, folder: Path, fails: str = "") -> None:
        self.folder, self.fails = folder, fails

    def ready(self) -> str:
        if self.fails:
            raise UserError(self.fails)
        return "CPU"

    def square(self, item: int) -> int:
        (self.folder / f"{item}-{os.getpid()}-{len(list(self.folder.iterdir()))}").touch()
        return item**2

    def die(self, item: int, times: int) -> int:
        if item == 3 and len(list(self.folder.glob("died-*"))) < times:
            (self.folder / f"died-{len(list(self.folder.glob('died-*')))}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item**2

    def fail(self, item: int) -> int:
        raise UserError(f"Item {item} is no good.") if item % 2 else ValueError("shapes differ")


def done(pool: Pool, items: list[int], call: Any) -> dict[int, int]:
    found: dict[int, int] = {}
    try:
        pool.run(items, call, lambda item, result: found.__setitem__(item, result))
    finally:
        pool.close()
    return found


@pytest.fixture
def folder(tmp_path: Path, ray_cluster: None) -> Path:
    return tmp_path


def pool(folder: Path, size: int = 2, fails: str = "") -> Pool:
    return Pool(lambda: Worker.remote(folder, fails), lambda: size)  # type: ignore[attr-defined]


def test_every_item_is_done_once(folder: Path) -> None:
    items = [*range(40)]
    assert done(pool(folder), items, lambda actor, item: actor.square.remote(item)) == {n: n**2 for n in items}
    assert sorted(int(path.name.split("-")[0]) for path in folder.iterdir()) == items


def test_nothing_to_do_is_no_mistake(folder: Path) -> None:
    assert done(pool(folder, 1), [], lambda actor, item: actor.square.remote(item)) == {}
    assert done(pool(folder, 0), [], lambda actor, item: actor.square.remote(item)) == {}


def test_an_actor_that_has_found_no_node_is_given_up_where_there_are_to_be_fewer(folder: Path) -> None:
    """On two processors: the third waits for one."""
    made: list[Any] = []
    sizes = [3]

    def create() -> Any:
        made.append(Worker.options(num_cpus=1).remote(folder))  # type: ignore[attr-defined]
        return made[-1]

    three = Pool(create, lambda: sizes[-1])
    try:
        three.run([1], lambda actor, item: actor.square.remote(item), lambda _item, _result: None)
        assert three.most in (1, 2)  # that have worked, not those asked for
        sizes.append(2)
        time.sleep(2 * LOOK)
        three.run([2], lambda actor, item: actor.square.remote(item), lambda _item, _result: None)
        with pytest.raises(ActorDiedError):
            ray.get(made[2].ready.remote(), timeout=60)
    finally:
        three.close()


def test_an_actor_that_dies_costs_no_item(folder: Path) -> None:
    items = [*range(8)]
    assert done(pool(folder), items, lambda actor, item: actor.die.remote(item, 2)) == {n: n**2 for n in items}
    assert len(list(folder.glob("died-*"))) == 2


def test_an_item_that_kills_every_actor_is_given_up(folder: Path) -> None:
    with pytest.raises(UserError, match=f"3 could not be done: {DEATHS_PER_ITEM + 1} actors died with it in hand"):
        done(pool(folder, 1), [1, 3], lambda actor, item: actor.die.remote(item, 99))


def test_mistakes_and_faults_come_out_as_they_are(folder: Path) -> None:
    with pytest.raises(UserError, match="^Item 1 is no good\\.$"):
        done(pool(folder, 1), [1], lambda actor, item: actor.fail.remote(item))
    with pytest.raises(RayTaskError, match="shapes differ"):
        done(pool(folder, 1), [2], lambda actor, item: actor.fail.remote(item))
    with pytest.raises(UserError, match="^The weights do not fit\\.$"):
        done(pool(folder, 1, "The weights do not fit."), [1], lambda actor, item: actor.square.remote(item))
