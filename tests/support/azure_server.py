"""Azurite, Microsoft's emulator of Azure's storage, which npm installs where the types of the report are checked."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.storage.blob import BlobServiceClient

from tests.support.google_server import free_port

CONTAINER = "results"
VERSION = "3.37.0"
# The account that Azurite has, published by Microsoft.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
HOME = Path(sys.prefix) / "javascript"


def azurite() -> Path | None:
    """The program, installed by npm if it is not there yet; None where npm cannot."""
    program = HOME / "node_modules" / ".bin" / "azurite-blob"
    if not program.exists() and shutil.which("npm"):
        command = ["npm", "install", "--silent", "--no-save", "--prefix", str(HOME), f"azurite@{VERSION}"]
        subprocess.run(command, capture_output=True, timeout=300)
    return program if program.exists() else None


@dataclass
class AzureServer:
    """Started by ``start``; survives ``kill`` with what it has acknowledged."""

    program: Path
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        endpoint = f"http://127.0.0.1:{self.port}/{ACCOUNT}"
        account = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint};"
        return {"AZURE_STORAGE_CONNECTION_STRING": account}

    def start(self) -> None:
        """Returns when the server has its container."""
        place = ["--blobPort", str(self.port), "--location", str(self.folder)]
        quiet = ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        self.process = subprocess.Popen(
            [self.program, *place, *quiet], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        (account,) = self.environment.values()
        client = BlobServiceClient.from_connection_string(account, retry_total=0)
        deadline = time.monotonic() + 60
        while True:
            try:
                client.create_container(CONTAINER)
                return
            except ResourceExistsError:
                return
            except AzureError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def kill(self) -> None:
        """kill -9 of the server."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
