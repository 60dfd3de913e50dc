"""What is held of a run's store is held of every kind of store."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from raycv.run.store import RunStore
from tests.support.azure_server import CONTAINER
from tests.support.google_server import GOOGLE_BUCKET
from tests.support.s3_server import BUCKET

PLACES = {
    "s3": ("s3_server", f"s3://{BUCKET}"),
    "gs": ("google_server", f"gs://{GOOGLE_BUCKET}"),
    "az": ("azure_server", f"az://{CONTAINER}"),
}


@pytest.fixture(params=["disk", *PLACES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RunStore:
    """A new run on a disk and in every kind of object store, each with a server of its own."""
    if request.param == "disk":
        return RunStore(str(tmp_path / "run"))
    if request.param == "gs" and request.node.path.stem == "test_tables":
        pytest.skip("pandas reads gs:// by Arrow's own client, which waits for credentials that an emulator has not")
    server, place = PLACES[request.param]
    request.getfixturevalue(server)
    return RunStore(f"{place}/{uuid.uuid4().hex}")
