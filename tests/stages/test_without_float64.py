"""The pass and the stages after a run, on a device without float64: the tables are those of a CPU."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from raycv.run.store import RunStore
from tests.support.apple import run_on_apple

STAGES = """
import sys
import numpy as np, pandas as pd, pytest
from raycv.cli import main
from raycv.distributed import ray_cluster
from raycv.distributed.sizing import Gpus
from raycv.run import record, tables
from raycv.run.schema import ALL
from raycv.run.store import RunStore
from tests.support.here import work_here
from tests.support.no_float64 import device_without_float64

data, *runs = sys.argv[1:]
FLAGS = {
    "collect": ["--data", data, "--shard-size", "40"],
    "prune": ["--fractions", "0.5"],
    "ablate": ["--single-units", "0"],
    "ensemble": ["--readout-images", "100"],
    "stitch": ["--decays", "0.001"],
    "merge": ["--alphas", "0.5"],
}
patch = pytest.MonkeyPatch()
work_here(patch)
with device_without_float64():
    for stage, flags in FLAGS.items():
        for run, gpus in zip(runs, (None, Gpus(1, 1)), strict=True):
            patch.setattr(ray_cluster, "gpus", lambda _wanted, gpus=gpus: gpus)
            assert main([stage, "--run", run, *flags]) == 0
        found = [RunStore(run) for run in runs]
        for name in [table.name for table in ALL if table.stage == stage]:
            here, there = (tables.read(store, name).select_dtypes("number") for store in found)
            for column in set(here).difference({"seconds"}):
                assert np.allclose(here[column], there[column], rtol=1e-2, atol=1e-3, equal_nan=True), (name, column)
        print(stage, flush=True)
"""


@pytest.mark.slow
def test_every_stage_without_float64(aligned_run: RunStore, images: Path, tmp_path: Path) -> None:
    runs = [shutil.copytree(aligned_run.uri, tmp_path / name) for name in ("cpu", "apple")]
    said = run_on_apple(STAGES, str(images), *map(str, runs))
    stages = ["collect", "prune", "ablate", "ensemble", "stitch", "merge"]
    assert [line for line in said if line in stages] == stages
