"""cluster.yaml and cluster-gcp.yaml against the schema that Ray ships, and what the comments and the manual promise."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from raycv.config import RunConfig
from tests.support.commands import typed

ROOT = Path(__file__).parent.parent


CLOUDS = {"aws": "cluster.yaml", "gcp": "cluster-gcp.yaml"}


def read(cloud: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / CLOUDS[cloud]).read_text())
    return loaded


@pytest.fixture(scope="module", params=CLOUDS)
def described(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


@pytest.fixture(scope="module")
def complete(described: dict[str, Any]) -> dict[str, Any]:
    """With what Ray fills in."""
    from ray.autoscaler._private.util import prepare_config

    filled: dict[str, Any] = prepare_config(described)
    return filled


def commands(described: dict[str, Any]) -> list[str]:
    """Every shell command that runs on a node."""
    return [command for key, value in described.items() if key.endswith("_commands") for command in value]


def test_ray_accepts_it(described: dict[str, Any], complete: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(complete)
    with pytest.raises(Exception, match="gpus"):  # the check does catch an unknown key
        validate_config(prepare_config({**described, "gpus": 4}))


def test_the_head_has_no_gpu_and_the_workers_scale(described: dict[str, Any]) -> None:
    types = described["available_node_types"]
    assert described["head_node_type"] == "head"
    assert "GPU" not in types["head"]["resources"]
    gpu = types["gpu"]
    assert gpu["resources"]["GPU"] >= 1
    assert gpu["min_workers"] < gpu["max_workers"] <= described["max_workers"]


def test_all_nodes_start_from_one_image_with_our_python(described: dict[str, Any]) -> None:
    """Ray's own default image has Python 3.6, and Ray refuses nodes whose Python differs."""
    configs = [node["node_config"] for node in described["available_node_types"].values()]
    if described["provider"]["type"] == "aws":
        (image,) = {config["ImageId"] for config in configs}
        assert "ubuntu-24.04" in image  # Python 3.12
    else:
        (image,) = {config["disks"][0]["initializeParams"]["sourceImage"] for config in configs}
        assert "ubuntu-accelerator-2404" in image


def test_what_it_installs_is_there(described: dict[str, Any], complete: dict[str, Any]) -> None:
    assert described["file_mounts"] == {"/home/ubuntu/raycv": "."}
    install = next(command for command in described["setup_commands"] if "pip install" in command)
    extras = {"aws": "run", "gcp": "run,gcs"}[described["provider"]["type"]]
    assert f"'/home/ubuntu/raycv[{extras}]'" in install
    mounted = re.findall(r"/home/ubuntu/raycv/(\S+)", " ".join(commands(described)))
    assert "constraints.txt" in mounted
    for file in [*mounted, *described["rsync_filter"], "pyproject.toml"]:
        assert (ROOT / file).exists(), file
    # The head's autoscaler is Ray in that environment: what it needs must be there and not beside it.
    needed = {"aws": "boto3", "gcp": "google-api-python-client google-auth-httplib2"}[described["provider"]["type"]]
    assert (last := complete["head_setup_commands"][-1]).endswith(needed)
    assert last.startswith("/home/ubuntu/venv/bin/pip install")


def test_both_clouds_do_the_same_with_a_machine() -> None:
    aws, gcp = (
        [command.replace("[run,gcs]", "[run]").replace("_gcp.sh", ".sh") for command in commands(read(cloud))]
        for cloud in CLOUDS
    )
    assert [command for command in aws if "boto3" not in command] == [c for c in gcp if "google-api" not in c]


@pytest.mark.slow
def test_google_knows_what_it_is_asked_for() -> None:
    """The fields of machines, their types and their words, in the description that Google's own client brings."""
    client = pytest.importorskip("googleapiclient", reason="google-api-python-client, of 110 MB, is not installed")
    place = Path(client.__file__).parent / "discovery_cache" / "documents" / "compute.v1.json"
    schemas = json.loads(place.read_text())["schemas"]
    for node in read("gcp")["available_node_types"].values():
        check_fields(node["node_config"], "Instance", schemas)
    with pytest.raises(AssertionError, match="machinetype"):
        check_fields({"machinetype": "n2-standard-8"}, "Instance", schemas)


def check_fields(given: dict[str, Any], of: str, schemas: dict[str, Any]) -> None:
    kinds = {"string": str, "integer": int, "boolean": bool, "array": list}
    for name, value in given.items():
        assert name in schemas[of]["properties"], (of, name)
        described = schemas[of]["properties"][name]
        if "$ref" in described:
            check_fields(value, described["$ref"], schemas)
            continue
        number = described.get("format") == "int64"  # which JSON writes as a string, and the client takes as a number
        assert isinstance(value, int if number else kinds[described["type"]]), (of, name)
        assert value in described.get("enum", [value]), (of, name, value)
        for one in value if isinstance(value, list) and "$ref" in described["items"] else []:
            check_fields(one, described["items"]["$ref"], schemas)


def test_bash_can_read_the_commands(complete: dict[str, Any]) -> None:
    """YAML ends an unquoted command at " #"."""
    assert len(commands(complete)) >= 8
    for command in commands(complete):
        checked = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
        assert checked.returncode == 0, (command, checked.stderr)


def ray_options(*names: str) -> set[str]:
    """The flags of a `ray` command."""
    import click
    from ray.scripts.scripts import cli

    command: click.Command = cli
    for name in names:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return {option for parameter in command.params for option in parameter.opts}


class _Metadata(BaseHTTPRequestHandler):
    """As AWS answers, a token with which there is no notice at first, and then one; and as Google does."""

    asked = 0

    def do_PUT(self) -> None:
        self._say(200, b"token")

    def do_GET(self) -> None:
        _Metadata.asked += 1
        noticed = self.asked > 1
        if self.path == "/computeMetadata/v1/instance/preempted":
            known = self.headers["Metadata-Flavor"] == "Google"
            self._say(200 if known else 403, b"TRUE" if noticed else b"FALSE")
            return
        known = self.path == "/latest/meta-data/spot/instance-action" and self.headers["X-aws-ec2-metadata-token"]
        self._say(200 if known == "token" and noticed else 404, b"{}")

    def _say(self, status: int, content: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.mark.parametrize("script", ["drain_on_notice.sh", "drain_on_notice_gcp.sh"])
def test_a_spot_node_is_drained_once_it_has_had_its_notice(script: str, tmp_path: Path) -> None:
    ray = tmp_path / "ray"
    ray.write_text('#!/bin/sh\necho "$@"')
    ray.chmod(0o755)
    _Metadata.asked = 0
    with HTTPServer(("127.0.0.1", 0), _Metadata) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "METADATA": f"http://127.0.0.1:{server.server_port}"}
        command = ["sh", str(ROOT / "scripts" / script)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
        server.shutdown()
    assert _Metadata.asked == 2
    name, *flags = done.stdout.split()
    assert name == "drain-node"
    assert set(flags[::2]) <= ray_options("drain-node")


@pytest.mark.parametrize("file", [*CLOUDS.values(), "docs/cluster.md"])
def test_the_ray_commands_use_flags_that_exist(file: str) -> None:
    text = re.sub(r"^#", " ", (ROOT / file).read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    used = re.findall(r"\bray (up|dashboard|job submit|down|start|stop)\b([^\n`;]*)", text)
    assert {"up", "dashboard", "job submit"} <= {command for command, _ in used}
    for command, arguments in used:
        flags = re.findall(r"(?<!\S)(--[a-z-]+)", arguments.split(" -- ")[0])
        assert set(flags) <= ray_options(*command.split()), (command, flags)


@pytest.mark.parametrize("file", [*CLOUDS.values(), "docs/cluster.md"])
def test_the_job_commands_use_flags_that_exist(file: str) -> None:
    text = (ROOT / file).read_text().replace("#", " ")
    jobs = re.findall(r"python (jobs/\w+\.py)((?:[^\n]*\\\n)*[^\n]*)", text)
    assert jobs
    for script, arguments in jobs:
        assert (ROOT / script).exists()
        given = shlex.split(arguments.replace("\\\n", " ").split("`")[0])
        assert typed(RunConfig, *given).device == "gpu"
