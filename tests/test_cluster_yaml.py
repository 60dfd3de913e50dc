"""cluster.yaml against the schema that Ray ships, and against what the comments and the README promise."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from raycv.config import RunConfig, load

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    return loaded


def test_ray_accepts_it(described: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(described))
    with pytest.raises(Exception, match="gpus"):  # the check does catch an unknown key
        validate_config(prepare_config({**described, "gpus": 4}))


def test_the_head_has_no_gpu_and_the_workers_scale(described: dict[str, Any]) -> None:
    types = described["available_node_types"]
    assert described["head_node_type"] == "head"
    assert "GPU" not in types["head"]["resources"]
    gpu = types["gpu"]
    assert gpu["resources"]["GPU"] >= 1
    assert gpu["min_workers"] < gpu["max_workers"] <= described["max_workers"]


def test_what_it_installs_is_there(described: dict[str, Any]) -> None:
    mounted = described["file_mounts"]["/home/ubuntu/raycv"]
    assert mounted == "."
    install = next(command for command in described["setup_commands"] if "pip install" in command)
    assert install.endswith("/home/ubuntu/raycv")
    assert (ROOT / "constraints.txt").exists()
    assert (ROOT / "pyproject.toml").exists()


@pytest.mark.parametrize("file", ["cluster.yaml", "README.md"])
def test_the_job_commands_use_flags_that_exist(file: str) -> None:
    text = (ROOT / file).read_text().replace("#", " ")
    commands = re.findall(r"python (jobs/\w+\.py)((?:[^\n]*\\\n)*[^\n]*)", text)
    assert commands
    for script, arguments in commands:
        assert (ROOT / script).exists()
        given = shlex.split(arguments.replace("\\\n", " ").split("`")[0])
        assert load(RunConfig, given).device == "gpu"
