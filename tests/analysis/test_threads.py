"""How many threads NumPy code takes, with PyTorch loaded and without."""

from __future__ import annotations

import os
import sys

import pytest
import torch

from raycv.analysis.threads import threads


def test_pytorch_says_how_many_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("asked", "expected"), [("3", 3), ("3,2", 3), ("", None), ("many", None), ("0", None)])
def test_without_it_the_environment_does(monkeypatch: pytest.MonkeyPatch, asked: str, expected: int | None) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads() == (expected or len(os.sched_getaffinity(0)))
