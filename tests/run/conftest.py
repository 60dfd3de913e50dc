"""A run's folder on a disk and on a real S3 server."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from raycv.run.store import RunStore
from tests.support.s3_server import BUCKET


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RunStore:
    if request.param == "disk":
        return RunStore(str(tmp_path / "run"))
    request.getfixturevalue("s3_server")
    return RunStore(f"s3://{BUCKET}/{uuid.uuid4().hex}")
