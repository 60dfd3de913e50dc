"""Servers that are named as S3 servers and do not behave like one."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

XML, HTML = "application/xml", "text/html; charset=utf-8"


def refusal(code: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>No.</Message></Error>'.encode()


# status, type, body, and more of the head; REDIRECT leads to where the request came from
REDIRECT = "REDIRECT"
ANSWERS: dict[str, tuple[int, str, bytes, dict[str, str]]] = {
    "redirects for ever": (302, HTML, b"", {"Location": REDIRECT}),
    "names another region": (301, XML, refusal("PermanentRedirect"), {"x-amz-bucket-region": "eu-north-1"}),
    "signs users in": (200, HTML, b"<!DOCTYPE html><html><body>Sign in</body></html>", {"ETag": '"1"'}),
    "signs users in, in XHTML": (200, "text/html", b"<html><body>Sign in</body></html>", {}),
    "says hello": (200, "text/plain", b"hello", {}),
    "finds the credentials expired": (400, XML, refusal("ExpiredToken"), {"x-amz-request-id": "1"}),
    "has another clock": (403, XML, refusal("RequestTimeTooSkewed"), {}),
    "dates a file yesterday": (200, XML, b"{}", {"ETag": '"1"', "x-amz-request-id": "1", "Last-Modified": "yesterday"}),
    "is down": (503, HTML, b"<html>down</html>", {}),
}


@contextlib.contextmanager
def odd_server(what: str) -> Iterator[str]:
    """The endpoint of a server that does ``what``, one of `ANSWERS`."""
    status, kind, body, head = ANSWERS[what]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response_only(status)
            for name, value in head.items():
                to = f"http://127.0.0.1:{server.server_port}{self.path}"
                self.send_header(name, to if value == REDIRECT else value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any

        def log_message(self, *_of_a_request: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextlib.contextmanager
def dripping_server(size: int, seconds: float) -> Iterator[str]:
    """The endpoint of a server on which every file has ``size`` bytes, of which one comes every some ``seconds``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            self.send_response(200)
            head = {"ETag": '"1"', "x-amz-request-id": "1", "Last-Modified": "Mon, 30 Nov 2026 12:00:00 GMT"}
            for name, value in (head | {"Content-Length": str(size)}).items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                while self.command == "GET":
                    self.wfile.write(b"{")
                    time.sleep(seconds)

        do_GET = do_HEAD = handle_any

        def log_message(self, *_of_a_request: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextlib.contextmanager
def silent_server(drips: float | None = None) -> Iterator[str]:
    """The endpoint of a server that accepts connections and never answers, or one letter every ``drips`` seconds."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip(connection: socket.socket) -> None:
            with contextlib.suppress(OSError):
                for letter in itertools.chain(b"HTTP/1.1 200 OK\r\nx-amz-request-id: ", itertools.repeat(b"1"[0])):
                    connection.sendall(bytes([letter]))
                    time.sleep(drips or 0)

        def accept() -> None:
            with contextlib.suppress(OSError):  # closed
                while True:
                    held.append(server.accept()[0])
                    if drips:
                        threading.Thread(target=drip, args=(held[-1],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    for connection in held:
        connection.close()
