"""A real S3 server, SeaweedFS, in a process group of its own."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import fsspec

KEY, SECRET, BUCKET = "AKRAYCVTEST", "secret-that-must-not-leak", "results"


def _free_ports() -> int:
    """The first of six ports that are free together with those 10,000 above, which the server opens too."""
    while True:
        first = random.randrange(20_000, 50_000)
        with contextlib.ExitStack() as held:
            try:
                for port in (*range(first, first + 6), *range(first + 10_000, first + 10_006)):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first


@dataclass
class S3Server:
    """Started by ``start``; survives ``kill`` with what it has acknowledged."""

    folder: Path
    port: int = field(default_factory=_free_ports)
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that a user sets."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Returns when the server accepts writes."""
        weed = Path(sys.executable).parent / "weed"
        names = ("-s3.port", "-master.port", "-volume.port", "-filer.port", "-admin.port", "-metricsPort")
        ports = [f"{name}={self.port + n}" for n, name in enumerate(names)]
        off = ["-s3.port.iceberg=0", "-s3.port.lance=0", "-admin.ui=false", "-webdav=false"]
        place = [f"-dir={self.folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-bucket={BUCKET}"]
        with (self.folder.parent / "weed.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(weed), "mini", *place, *ports, *off],
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while True:
            try:
                fs = fsspec.filesystem(
                    "s3", key=KEY, secret=SECRET, endpoint_url=self.endpoint, skip_instance_cache=True
                )
                fs.pipe_file(f"{BUCKET}/.ready", b"yes")
            except Exception:  # whatever a server says that is not up yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def kill(self) -> None:
        """kill -9 of the whole server."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
