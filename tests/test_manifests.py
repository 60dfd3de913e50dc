"""`raycv init`: what it writes is what the repository has, and nothing that is there is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import raycv
from raycv.cli import main
from tests.support.commands import failing

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("what", ["cluster", "cluster-gcp", "kuberay"])
def test_it_writes_what_the_manifests_name(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", what, str(tmp_path / "new")]) == 0
    written = {str(path.relative_to(tmp_path / "new")) for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert written <= set(capsys.readouterr().out.replace(f"{tmp_path}/new/", "").split())
    if what != "kuberay":
        script, extras = {"cluster": ("", "run"), "cluster-gcp": ("_gcp", "run,gcs")}[what]
        assert written == {f"{what}.yaml", "constraints.txt", f"scripts/drain_on_notice{script}.sh"}
        made = yaml.safe_load((tmp_path / "new" / f"{what}.yaml").read_text())
        ours = yaml.safe_load((ROOT / f"{what}.yaml").read_text())
        (install,) = set(made.pop("setup_commands")) - set(ours.pop("setup_commands"))
        assert install.endswith(f"--find-links /home/ubuntu/raycv 'raycv[{extras}]=={raycv.__version__}'")
        assert made == ours
    else:
        ours_too = {str(path.relative_to(ROOT)) for path in (ROOT / "kuberay").rglob("*") if path.is_file()}
        assert written == ours_too | {"Dockerfile", "constraints.txt", "jobs/run_on_kuberay.py"}
        for name in ours_too:
            assert (tmp_path / "new" / name).read_text() == (ROOT / name).read_text()


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "constraints.txt").write_text("mine")
    assert f"{tmp_path}/constraints.txt would be overwritten" in failing(capsys, "init", "kuberay", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["constraints.txt"]
    assert (tmp_path / "constraints.txt").read_text() == "mine"


def test_the_packages_dockerfile_is_the_checkouts_but_for_what_it_installs() -> None:
    ours, packaged = ((ROOT / name).read_text().splitlines() for name in ("Dockerfile", "raycv/manifests/Dockerfile"))
    assert f"--tag raycv:{raycv.__version__} ." in packaged[0]
    assert f"'raycv[run]=={raycv.__version__}'" in "\n".join(packaged)
    shared = [line for line in packaged[1:] if line.split(" ")[0] in ("FROM", "USER", "WORKDIR") or "useradd" in line]
    assert shared
    assert set(shared) <= set(ours)
