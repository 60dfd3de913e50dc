"""The manifests for Kubernetes against the schemas of KubeRay and Kubernetes, and the image that they name."""

from __future__ import annotations

import copy
import json
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray._private import ray_constants
from ray.scripts.scripts import cli
from referencing import Registry, Resource

from raycv import cli as cli_of_raycv
from raycv.config import RunConfig
from tests.support.commands import typed

ROOT = Path(__file__).parent.parent
SCHEMAS = ROOT / "tests" / "data"
FILES = {"RayJob": ROOT / "kuberay" / "rayjob.yaml", "RayCluster": ROOT / "kuberay" / "raycluster.yaml"}
KUBERNETES = json.loads((SCHEMAS / "kubernetes.schema.json").read_text())
KUBERAY = yaml.safe_load((SCHEMAS / "kuberay.schema.yaml").read_text())
BASE = "https://json-schema.org/draft/2020-12/schema"
VERSIONS = ("1.5.1", "1.6.2", "1.7.0")  # of KubeRay


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def kuberay(version: str) -> dict[str, Any]:
    """The definitions of a version of KubeRay."""
    found: dict[str, Any] = copy.deepcopy(KUBERAY)
    for field, since in found.pop("since").items():
        kind, name = field.split(".")
        of_field = found["$defs"][kind]["properties"]
        assert name in of_field
        if numbers(since) > numbers(version):
            del of_field[name]
    return found


def schema_of(kind: str, version: str = VERSIONS[-1]) -> jsonschema.Draft202012Validator:
    found: Registry[Any] = Registry().with_resources(
        (name, Resource.from_contents({"$schema": BASE, "$id": name, **content}))
        for name, content in (("kubernetes", KUBERNETES), ("kuberay", kuberay(version)))
    )
    place = (
        "kubernetes#/$defs/io.k8s.api.core.v1.ServiceAccount" if kind == "ServiceAccount" else f"kuberay#/$defs/{kind}"
    )
    return jsonschema.Draft202012Validator({"$ref": place}, registry=found)


def documents(kind: str) -> dict[str, Any]:
    """What a file describes, by kind."""
    return {one["kind"]: one for one in yaml.safe_load_all(FILES[kind].read_text())}


def cluster(kind: str) -> dict[str, Any]:
    spec: dict[str, Any] = documents(kind)[kind]["spec"]
    return spec["rayClusterSpec"] if kind == "RayJob" else spec


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", FILES)
def test_they_are_as_published(kind: str, version: str) -> None:
    """1.5.1 lacks one field, which the manifest says."""
    text = FILES[kind].read_text()
    if version == "1.5.1":
        lines = text.splitlines()
        later = [line for line in lines if line.endswith("KubeRay 1.6")]
        assert [line.split(":")[0].strip() for line in later] == ["preRunningDeadlineSeconds"] * (kind == "RayJob")
        assert schema_of(kind, version).is_valid(documents(kind)[kind]) == (kind == "RayCluster")
        text = "\n".join(line for line in lines if line not in later)
    described = {one["kind"]: one for one in yaml.safe_load_all(text)}
    assert set(described) == {"ServiceAccount", kind}
    for name, content in described.items():
        schema_of(name, version).validate(content)


@pytest.mark.parametrize("kind", FILES)
def test_what_is_left_to_the_user_is_as_published_too(kind: str) -> None:
    """The lines for Kueue, without their comment signs."""
    text, lines = re.subn(r"^  # (labels|annotations):", r"  \1:", FILES[kind].read_text(), flags=re.MULTILINE)
    assert lines == 2
    described = {one["kind"]: one for one in yaml.safe_load_all(text)}[kind]
    assert set(described["metadata"]) == {"name", "labels", "annotations"}
    schema_of(kind).validate(described)


def places(content: Any) -> Iterator[dict[str, Any]]:
    """All mappings within one."""
    if isinstance(content, dict):
        yield content
    for below in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from places(below)


@pytest.mark.parametrize("kind", FILES)
def test_a_misspelt_key_is_found_wherever_it_stands(kind: str) -> None:
    free = ("rayStartParams", "nodeSelector", "annotations", "requests", "limits")  # whose keys are their users' own
    whole = documents(kind)[kind]
    found = 0
    for number, place in enumerate(places(whole)):
        if any(place is holder.get(key) for holder in places(whole) for key in free):
            continue
        wrong = copy.deepcopy(whole)
        list(places(wrong))[number]["replicaz"] = 1
        assert not schema_of(kind).is_valid(wrong), place
        found += 1
    assert found > 15


def test_both_describe_the_same_cluster() -> None:
    assert cluster("RayJob") == cluster("RayCluster")
    assert documents("RayJob")["ServiceAccount"] == documents("RayCluster")["ServiceAccount"]


def test_what_the_comments_promise() -> None:
    account = documents("RayJob")["ServiceAccount"]
    spec = cluster("RayJob")
    (gpu,) = spec["workerGroupSpecs"]
    head, worker = spec["headGroupSpec"]["template"]["spec"], gpu["template"]["spec"]
    assert {pod["serviceAccountName"] for pod in (head, worker)} == {account["metadata"]["name"]}
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["enableInTreeAutoscaling"]
    assert spec["autoscalerOptions"]["version"] == "v2"
    job = documents("RayJob")["RayJob"]["spec"]
    assert job["preRunningDeadlineSeconds"] < job["activeDeadlineSeconds"]
    assert gpu["minReplicas"] == 0 < gpu["maxReplicas"]
    assert head["nodeSelector"] != worker["nodeSelector"]
    assert 30 < worker["terminationGracePeriodSeconds"] < 120
    limits = worker["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in head["containers"][0]["resources"]["limits"]


def test_shared_memory_holds_rays_object_store() -> None:
    """Ray takes 30% of a container's memory for it, and a folder on a disk where /dev/shm has less."""
    spec = cluster("RayJob")
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (volume,), (container,) = pod["volumes"], pod["containers"]
        (mount,) = container["volumeMounts"]
        assert (mount["mountPath"], mount["name"]) == ("/dev/shm", volume["name"])
        assert volume["emptyDir"]["medium"] == "Memory"
        held, memory = (
            int(size.removesuffix("Gi"))
            for size in (volume["emptyDir"]["sizeLimit"], container["resources"]["limits"]["memory"])
        )
        assert ray_constants.DEFAULT_OBJECT_STORE_MEMORY_PROPORTION * memory < held < memory / 2


def test_a_pod_that_ends_is_drained_by_a_command_that_ray_has() -> None:
    (gpu,) = cluster("RayJob")["workerGroupSpecs"]
    pod = gpu["template"]["spec"]
    *shell, script = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert shell == ["/bin/sh", "-c"]
    drain, sleep, stop = (shlex.split(command) for command in script.split(";"))
    assert drain[:2] == ["ray", "drain-node"]
    given = cli.commands["drain-node"].make_context("drain-node", drain[2:]).params
    assert given["deadline_remaining_seconds"] == int(sleep[1]) < pod["terminationGracePeriodSeconds"]
    assert stop == ["ray", "stop"]


def test_versions_are_those_that_are_installed() -> None:
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    assert cluster("RayJob")["rayVersion"] == pinned["ray"]
    project = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert project is not None
    for spec in (cluster("RayJob")["headGroupSpec"], *cluster("RayJob")["workerGroupSpecs"]):
        assert spec["template"]["spec"]["containers"][0]["image"] == f"raycv:{project[1]}"
    assert f"--tag raycv:{project[1]} ." in (ROOT / "Dockerfile").read_text()


def test_the_job_is_one_that_raycv_takes() -> None:
    python, script, *flags = shlex.split(documents("RayJob")["RayJob"]["spec"]["entrypoint"])
    assert python == "python"
    assert script == "jobs/run_on_kuberay.py"
    flags.remove("--wait")
    assert typed(RunConfig, *flags).device == "gpu"


@pytest.mark.parametrize(("ended", "code"), [(0, 0), (2, 0), (3, 0), (1, 1), (130, 130), (143, 143)])
def test_what_would_fail_again_is_not_tried_again(ended: int, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_of_raycv, "main", lambda _arguments: ended)
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(ROOT / "jobs" / "run_on_kuberay.py"))
    assert done.value.code == code


def test_a_mistake_is_said_and_ends_the_job_for_good(tmp_path: Path) -> None:
    """Nothing that the submitting pod's shell would take as its own stands in the entry point."""
    entrypoint = documents("RayJob")["RayJob"]["spec"]["entrypoint"]
    assert not set(entrypoint) & set(";&|<>$`\"'(){}*?")
    wrong = [sys.executable, shlex.split(entrypoint)[1], "--run", str(tmp_path / "run"), "--epochs", "none"]
    done = subprocess.run(wrong, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.startswith("raycv: ")
    assert "none" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("kind", FILES)
def test_a_restricted_namespace_admits_every_container(kind: str) -> None:
    """The pod security standard: https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""
    spec = cluster(kind)
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    pods = [group["template"]["spec"] for group in groups]
    if kind == "RayJob":
        pods.append(documents(kind)[kind]["spec"]["submitterPodTemplate"]["spec"])
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"]["type"] in ("RuntimeDefault", "Localhost")
    containers = [container for pod in pods for container in pod["containers"]]
    for container in (*containers, spec["autoscalerOptions"]):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    user = pods[0]["securityContext"]["runAsUser"]
    assert f"USER {user}" in lines  # a number, as nobody can see that a name is not root's
    assert any(line.startswith("RUN useradd") and f"--uid {user} " in line for line in lines)


def test_the_images_first_layer_has_all_that_raycv_needs() -> None:
    """The command of the Dockerfile that reads the dependencies, run by a shell as it stands."""
    whole = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    (line,) = (line for line in whole.splitlines() if "tomllib" in line)
    command = line.removeprefix("RUN ").partition(" > ")[0].replace("python", shlex.quote(sys.executable), 1)
    told = subprocess.run(["/bin/sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert extras["run"][0] == "raycv[analysis]"
    assert told.splitlines() == [*project["dependencies"], *extras["analysis"], *extras["run"][1:]]


def test_the_image_is_built_from_what_is_there() -> None:
    lines = [line.split() for line in (ROOT / "Dockerfile").read_text().splitlines()]
    copied = [path for line in lines if line[:1] == ["COPY"] for path in line[1:-1]]
    assert {"raycv", "jobs", "pyproject.toml", "constraints.txt"} <= set(copied)
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) == kept
    for path in copied:
        assert (ROOT / path).exists(), path
    metadata = (ROOT / "pyproject.toml").read_text()
    for named in ("README.md", "LICENSE"):  # without which the package cannot be built
        assert named in metadata
        assert named in copied
    assert ["WORKDIR", "/home/ray/raycv"] in lines  # in which the job's `jobs/run.py` is found
