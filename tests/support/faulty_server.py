"""A proxy in front of an S3 server that fails as servers and networks do: when told to, or in part of the requests."""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

REFUSAL = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>'
FAILING = 0.3  # of the requests
SLOW = 1.0  # seconds


@dataclass
class FaultyServer:
    """What the proxy does and has seen.

    ``mode``: "well", "failing" in part of the requests, "refusing" all, or "silent": never answering.
    """

    upstream: str
    endpoint: str = ""
    mode: str = "well"
    seen: list[tuple[str, str]] = field(default_factory=list)  # methods and paths, but for those of leases
    _when: int = 0
    _do: Callable[[], None] | None = None
    _chance: random.Random = field(default_factory=lambda: random.Random(0))
    _busy: threading.Lock = field(default_factory=threading.Lock)

    def reset(self) -> None:
        """Work well and forget."""
        with self._busy:
            self.mode, self.seen, self._do, self._chance = "well", [], None, random.Random(0)

    def after(self, requests: int, do: Callable[[], None]) -> None:
        """Call ``do`` once there have been so many requests."""
        with self._busy:
            self._when, self._do = requests, do

    def written(self, part: str) -> list[str]:
        """The paths of the files that were written whose path holds ``part``."""
        return [path for method, path in self.seen if method == "PUT" and part in path]

    def fault(self, method: str, path: str) -> str:
        """Note one request; returns what shall go wrong with it."""
        with self._busy:
            if "/leases/" not in path:
                self.seen.append((method, path))
            do = self._do if len(self.seen) >= self._when else None
            if do:
                self._do = None
            wrong = self._chance.choice(["500", "503", "slow", "half"]) if self._chance.random() < FAILING else ""
        if do:
            threading.Thread(target=do, daemon=True).start()
        return {"failing": wrong, "refusing": "403", "silent": "silent"}.get(self.mode, "")


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, faults: FaultyServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults = faults


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        wrong = self.server.faults.fault(self.command, urlsplit(self.path).path)
        if wrong.isdigit():
            self._answer(int(wrong), [("Content-Type", "application/xml")], REFUSAL if wrong == "403" else b"")
            return
        if wrong == "silent":
            time.sleep(600)
        if wrong == "slow":
            time.sleep(SLOW)
        try:
            status, headers, content = self._asked(body)
        except (OSError, http.client.HTTPException):  # the server behind is away
            self.close_connection = True
            return
        self._answer(status, headers, content, half=wrong == "half")

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any

    def _asked(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the server answers to the same request, whose signature covers the name of the host."""
        connection = http.client.HTTPConnection(urlsplit(self.server.faults.upstream).netloc, timeout=60)
        with contextlib.closing(connection):
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, half: bool = False) -> None:
        self.send_response_only(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        if half:  # and where there is no body, not even the head
            self.close_connection = True
        if not half or content:
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if half else content)

    def log_message(self, *_of_a_request: object) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # clients are killed
            super().handle()


@contextlib.contextmanager
def faulty(upstream: str) -> Iterator[FaultyServer]:
    """A proxy in front of the server at ``upstream``."""
    server = FaultyServer(upstream)
    with _Listener(server) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        server.endpoint = f"http://127.0.0.1:{proxy.server_port}"
        yield server
        proxy.shutdown()
