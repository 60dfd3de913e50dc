"""Object stores beside S3: what is said of them where something is missing, and the Hub, which is only read."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from raycv.data.preprocessing import Resize
from raycv.data.sources import open_source
from raycv.errors import UserError
from raycv.run.clouds import EXTRAS
from raycv.run.store import RunStore
from tests.support.azure_server import CONTAINER, AzureServer
from tests.support.google_server import GOOGLE_BUCKET, GoogleServer
from tests.support.hub_server import hub

WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("gcsfs", "adlfs", "huggingface_hub"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from raycv.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("scheme", EXTRAS)
def test_what_is_not_installed_is_named(scheme: str) -> None:
    command = [sys.executable, "-c", WITHOUT, "status", "--run", f"{scheme}://somewhere/run"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"raycv: {scheme}:// needs the package ")
    assert done.stderr.endswith(f"pip install 'raycv[{EXTRAS[scheme][0]}]'.\n")


def test_a_bucket_of_google_that_is_not_there(google_server: GoogleServer) -> None:
    for use in (lambda: RunStore("gs://nowhere/run").read("run.json"), lambda: RunStore("gs://none/x").write("x", b"")):
        with pytest.raises(UserError, match="the bucket does not exist; create it or name another"):
            use()


def test_a_container_of_azure_that_is_not_there(azure_server: AzureServer) -> None:
    for use in (lambda: RunStore("az://nowhere/run").read("run.json"), lambda: RunStore("az://none/x").write("x", b"")):
        with pytest.raises(UserError, match="the container does not exist; create it or name another"):
            use()


def test_azure_without_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="az:// needs an account of Azure; set AZURE_STORAGE_ACCOUNT_NAME"):
        RunStore("az://container/run")


def test_servers_that_are_away_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As S3 is waited for; in this test Google's."""
    server = GoogleServer(tmp_path)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.start()
    try:
        store = RunStore(f"gs://{GOOGLE_BUCKET}/{uuid.uuid4().hex}")
        store.write("a", b"1")
        server.kill()
        with pytest.raises(UserError, match="the server does not answer; check STORAGE_EMULATOR_HOST"):
            RunStore("gs://another/run").read("a")  # which has not answered before
        server.start()
        assert store.read("a") == b"1"
    finally:
        server.kill()


def test_ages_are_those_of_the_stores_clock(google_server: GoogleServer, azure_server: AzureServer) -> None:
    for place in (f"gs://{GOOGLE_BUCKET}", f"az://{CONTAINER}"):
        store = RunStore(f"{place}/{uuid.uuid4().hex}")
        store.write("leases/x.json", b"1")
        time.sleep(2.1)
        assert 1 <= store.age("leases/x.json") < 60
        assert store.list("") == ["leases/x.json"]


HUB = """
import numpy as np
from raycv.data.preprocessing import Resize
from raycv.data.sources import open_source
from raycv.errors import UserError
found = open_source("hf://datasets/someone/pictures", "validation")
pixels, labels = found.decode(np.array([0, 7, 159]), Resize(32))
print(found.identity, int(pixels.sum()), labels.tolist())
try:
    open_source("hf://datasets/someone/else", "validation")
except UserError as error:
    print(error)
"""


def test_images_on_the_hub(images: Path, tmp_path: Path) -> None:
    """In a process of its own, as the Hub's library reads its address when it is imported."""
    with hub(images, "someone/pictures") as address:
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", HUB], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    here = open_source(str(images), "validation")
    pixels, labels = here.decode(np.array([0, 7, 159]), Resize(32))
    first, second = done.stdout.splitlines()
    assert first == f"{here.identity} {int(pixels.sum())} {labels.tolist()}"
    assert "hf://datasets/someone/else is not there; name a folder" in second


def test_runs_are_not_written_to_the_hub() -> None:
    with pytest.raises(UserError, match="cannot be written: only images are read from there"):
        RunStore("hf://datasets/someone/run")
