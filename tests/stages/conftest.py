"""The run that the stages after a run are tested on."""

from __future__ import annotations

from pathlib import Path

import pytest

from raycv.run.store import RunStore
from tests.support.aligned_run import write_aligned_run


@pytest.fixture(scope="session")
def aligned_run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """Three networks of width 4."""
    return write_aligned_run(RunStore(str(tmp_path_factory.mktemp("after") / "run")), images, width=4)
