"""Packages that a small installation lacks: which of raycv's extras brings each, and the sentence that says so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from raycv.errors import UserError

# The extra of pyproject.toml by the name under which a package is imported.
EXTRAS = {
    "numba": "analysis",
    "ot": "analysis",
    "scipy": "analysis",
    "sklearn": "analysis",
    "matplotlib": "run",
    "mlflow": "mlflow",
    "PIL": "run",
    "ray": "run",
    "rich": "run",
    "simplejpeg": "run",
    "threadpoolctl": "run",
    "tensorboardX": "run",
    "torch": "run",
    "torchvision": "run",
    "wandb": "wandb",
}


def sentence(error: ModuleNotFoundError) -> str:
    """What to install, in one sentence; empty where it is no package of an extra that is missing."""
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return ""
    extra = EXTRAS[package]
    return f"This needs the package {package}, which is not installed; install it by: {how(extra)}."


def how(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'raycv[{extra}]'"


@contextlib.contextmanager
def needed() -> Iterator[None]:
    """For imports of what not every installation has. Raises UserError, which says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        said = sentence(error)
        if not said:
            raise
        raise UserError(said) from error
