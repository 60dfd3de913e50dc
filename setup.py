"""What pyproject.toml cannot say: a wheel also holds the manifests that `raycv init` writes."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
MANIFESTS = (
    "cluster*.yaml",
    "constraints.txt",
    "kuberay/**/*",
    "jobs/run_on_kuberay.py",
    "scripts/drain_on_notice*.sh",
)


class WithManifests(build_py):
    """Copies them to where `raycv.manifests` looks; in a checkout it finds them where they are."""

    def run(self) -> None:
        """As without them, and then they."""
        super().run()
        if self.editable_mode:
            return
        for file in (found for pattern in MANIFESTS for found in ROOT.glob(pattern) if found.is_file()):
            target = Path(self.build_lib) / "raycv" / "manifests" / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            copyfile(file, target)


setup(cmdclass={"build_py": WithManifests})
