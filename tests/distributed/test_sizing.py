"""How many GPUs a stage takes and asks for, worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from raycv.distributed.sizing import Gpus, cpus_of_each

UNKNOWN = math.inf


@pytest.mark.parametrize("there", [0, 1, 2, 3, 4, 8])
def test_an_autoscaler_is_asked_for_a_gpu_for_each_network(there: int) -> None:
    """Whatever is alive from an earlier job."""
    gpus = Gpus(there, UNKNOWN)
    assert gpus.share(4) == 1
    assert gpus.used(4) == 4
    assert gpus.for_actors(200, 4) == max(4, there)


@pytest.mark.parametrize(
    ("gpus", "share", "used", "actors"),
    [
        (Gpus(1), 0.25, 1, 1),  # nothing brings more
        (Gpus(8), 1, 4, 8),
        (Gpus(0, 2), 0.5, 2, 2),  # all that the types of nodes allow
        (Gpus(1, UNKNOWN, most=2), 0.5, 2, 2),
        (Gpus(8, UNKNOWN, most=16), 1, 4, 16),
        (Gpus(8, 0, most=3), 0.5, 2, 3),
    ],
)
def test_four_networks(gpus: Gpus, share: float, used: int, actors: int) -> None:
    assert (gpus.share(4), gpus.used(4), gpus.for_actors(200, 4)) == (share, used, actors)


def test_there_are_no_more_actors_than_pieces() -> None:
    assert Gpus(8).for_actors(3, 4) == 3
    assert Gpus(0, UNKNOWN).for_actors(0, 4) == 1


def test_what_is_used_is_said() -> None:
    assert Gpus(8).for_training(4, 1) == (
        "4 networks on 4 of 8 GPUs, a GPU each; --workers 2 would give each network 2"
    )
    assert Gpus(8).for_training(10, 1) == "10 networks on 5 of 8 GPUs, up to 2 workers on each GPU"
    assert Gpus(8).for_training(4, 2) == "4 networks on 8 GPUs, 2 GPUs each"
    assert Gpus(1).for_training(4, 1) == "4 networks on 1 GPU, up to 4 workers on each GPU"
    assert Gpus(4).awaited(4) == ""
    assert Gpus(1, UNKNOWN).awaited(4).startswith("asks for 4 GPUs, 1 of which is there; the autoscaler starts nodes")


@given(some.integers(1, 40), some.integers(1, 40))
def test_all_workers_run_at_once(workers: int, there: int) -> None:
    gpus = Gpus(there)
    on_each = math.floor(1 / gpus.share(workers) + 1e-9)
    assert gpus.used(workers) <= there
    assert on_each * gpus.used(workers) >= workers > on_each * (gpus.used(workers) - 1)
    assert on_each == 1 or (on_each - 1) * there < workers  # with fewer on each they would not fit


@pytest.mark.parametrize(
    ("workers", "nodes", "cpus"),
    [
        (2, [2], 1),
        (3, [8], 2),
        (2, [1, 1, 1, 1], 1),  # a worker has its CPUs on one node
        (4, [4] * 8, 4),
        (2, [3, 1], 1),
        (4, [1, 1, 1], 0.5),
        (3, [1], 0.33),
    ],
)
def test_workers_on_cpus(workers: int, nodes: list[float], cpus: float) -> None:
    assert cpus_of_each(workers, nodes) == cpus


@given(some.integers(1, 30), some.lists(some.integers(1, 9), min_size=1, max_size=6))
def test_all_workers_find_their_cpus_at_once(workers: int, nodes: list[float]) -> None:
    cpus = cpus_of_each(workers, nodes)
    assert sum(math.floor(node / cpus + 1e-9) for node in nodes) >= workers
    assert cpus < 1 or sum(node // (cpus + 1) for node in nodes) < workers  # with more they would not
