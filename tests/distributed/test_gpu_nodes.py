"""A GPU that Ray counts and PyTorch cannot use, as Ray is told of one on a machine that has none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from raycv.run.store import RunStore

# In a process of its own: who is in a cluster starts no other.
TRAIN = """
import logging, sys
import ray
from raycv.cli import main
from raycv.run.store import RunStore
ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
run, refused, *flags = sys.argv[1:]
print("ended with", main(["train", "--run", run, *flags]))
code = main(["train", "--run", refused, *flags, "--device", "gpu"])
print("ended with", code, "and wrote", RunStore(refused).list(""))
"""


@pytest.mark.slow
@pytest.mark.skipif(torch.accelerator.is_available(), reason="of machines without a GPU")
def test_it_is_refused_at_once_or_done_without(images: Path, tmp_path: Path) -> None:
    run = RunStore(str(tmp_path / "run"))
    flags = ["--data", str(images), "--seeds", "1,2", "--width", "4", "--epochs", "1"]
    command = [sys.executable, "-c", TRAIN, run.uri, str(tmp_path / "refused"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    said = (done.stdout + done.stderr).splitlines()
    refused = [line for line in said if line.startswith("raycv: Ray counts a GPU on ")]
    assert len(refused) == 1
    assert refused[0].endswith("; use --device cpu, or start Ray on that node with --num-gpus=0.")
    assert "ended with 2 and wrote []" in said
    assert any("note: Ray counts a GPU that PyTorch cannot use (" in line for line in said)
    assert "ended with 0" in said
    assert run.read_json("run.json")["stages"]["train"]["device"] == "CPU"
