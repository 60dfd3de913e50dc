"""`raycv init`: the manifests for clusters, for those who have installed raycv as a package and have no checkout."""

from __future__ import annotations

import re
from pathlib import Path

import click

import raycv
from raycv.errors import UserError
from raycv.progress import answer

# Where a manifest is looked for: in an installed package, and in the checkout that raycv is in.
PLACES = (Path(__file__).parent, Path(__file__).parents[2])
FILES = {
    "cluster": ("cluster.yaml", "constraints.txt", "scripts/drain_on_notice.sh"),
    "cluster-gcp": ("cluster-gcp.yaml", "constraints.txt", "scripts/drain_on_notice_gcp.sh"),
    "kuberay": ("Dockerfile", "constraints.txt", "jobs/run_on_kuberay.py", "kuberay/**/*"),
}
NEXT = {
    "cluster": "Change what cluster.yaml marks CHANGE, then: ray up cluster.yaml",
    "cluster-gcp": "Change what cluster-gcp.yaml marks CHANGE, then: ray up cluster-gcp.yaml",
    "kuberay": "Change what the files in kuberay/ mark CHANGE, then: docker build --tag raycv:{version} .",
}
# From a folder that `raycv init` has made there is no code to install, but perhaps a wheel.
OF_CHECKOUT = re.compile(r"'?/home/ubuntu/raycv\[([a-z,]+)\]'? /home/ubuntu/raycv/packages/raycv-images$", re.MULTILINE)
OF_PACKAGE = r"--find-links /home/ubuntu/raycv 'raycv[\1]=={version}'"


@click.command(
    "init",
    help="write the files that describe a cluster: on AWS, Google Cloud, or Kubernetes with KubeRay",
    epilog="Example: raycv init kuberay deploy",
)
@click.argument("what", type=click.Choice(list(FILES)))
@click.argument("folder", default=".")
def init(what: str, folder: str) -> None:
    contents = {Path(folder) / name: text for pattern in FILES[what] for name, text in _found(pattern).items()}
    there = [str(path) for path in contents if path.exists()]
    if there:
        raise UserError(f"{', '.join(there)} would be overwritten; name another folder, or remove it first.")
    for path, content in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    answer("\n".join([*map(str, contents), NEXT[what].format(version=raycv.__version__)]))


def _found(pattern: str) -> dict[str, str]:
    """Manifests by their names, as they are for those who have no checkout."""
    for place in PLACES:
        files = [path for path in sorted(place.glob(pattern)) if path.is_file()]
        if files:
            installed = OF_PACKAGE.format(version=raycv.__version__)
            return {str(path.relative_to(place)): OF_CHECKOUT.sub(installed, path.read_text()) for path in files}
    raise FileNotFoundError(pattern)
