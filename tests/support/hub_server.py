"""A server that answers as the Hugging Face Hub does to who reads the files of one data set."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0" * 40


def _entries(folder: Path, below: Path, recursive: bool) -> list[dict[str, Any]]:
    found = []
    for path in sorted(below.rglob("*") if recursive else below.iterdir()):
        about = {"path": str(path.relative_to(folder)), "oid": COMMIT}
        size = path.stat().st_size if path.is_file() else 0
        found.append({**about, "type": "file" if path.is_file() else "directory", "size": size})
    return found


class _Handler(BaseHTTPRequestHandler):
    folder: Path
    name: str

    def _send(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), "X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _answer(self) -> None:
        asked, folder, name = urlsplit(self.path), self.folder, self.name
        path, query = unquote(asked.path), parse_qs(asked.query)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        for prefix in (f"/api/datasets/{name}/tree/main", f"/api/datasets/{name}/tree/{COMMIT}"):
            below = folder / path.removeprefix(prefix).strip("/")
            if path.startswith(prefix) and below.is_dir():
                found = _entries(folder, below, query.get("recursive", ["False"])[0].lower() == "true")
                return self._send(json.dumps(found).encode(), Content_Type="application/json")
        if path.startswith(f"/api/datasets/{name}/paths-info/"):
            given = body.decode()
            paths = json.loads(given)["paths"] if given.startswith("{") else parse_qs(given).get("paths", [])
            everything = {entry["path"]: entry for entry in _entries(folder, folder, True)}
            found = [everything[one] for one in paths if one in everything]
            return self._send(json.dumps(found).encode(), Content_Type="application/json")
        if path == f"/api/datasets/{name}" or path.startswith(f"/api/datasets/{name}/revision/"):
            about = {"id": name, "sha": COMMIT, "siblings": [], "private": False}
            return self._send(json.dumps(about).encode(), Content_Type="application/json")
        file = folder / path.partition("/resolve/")[2].partition("/")[2]
        if path.startswith(f"/datasets/{name}/resolve/") and file.is_file():
            return self._file(file.read_bytes())
        return self._send(b'{"error": "Repository not found"}', 404, X_Error_Code="RepoNotFound")

    def _file(self, content: bytes) -> None:
        wanted = self.headers.get("Range")
        if not wanted:
            return self._send(content, ETag='"x"')
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        part = content[int(first) : int(last) + 1 if last else None]
        return self._send(part, 206, Content_Range=f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")

    do_GET = do_HEAD = do_POST = _answer

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def hub(folder: Path, name: str) -> Iterator[str]:
    """The address of a Hub whose one data set, ``name``, has the files of ``folder``."""

    handler = type("Handler", (_Handler,), {"folder": folder, "name": name})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
