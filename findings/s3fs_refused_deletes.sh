#!/usr/bin/env bash
# Library:   s3fs 2026.9.0 (`S3FileSystem.rm` with several keys).
# Guess:     where an S3 server answers a multi-object delete with an <Error> for a key, as S3 does for an object that is
#            locked or not permitted, `rm` raises, as it does when a single delete is refused.
# Seen:      `rm` of two keys, of which the server refuses one with AccessDenied (HTTP status 200, as S3's documentation
#            of DeleteObjects has it), returns as if both were gone. The key is still there.
# Source:    s3fs/core.py, `_bulk_delete`: it returns what stands under Deleted in the answer and reads no Errors.
# Output:    "rm returned: ['bucket/free']; the server refused: locked"
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet s3fs==2026.9.0
"$folder/venv/bin/python" - <<'PYTHON'
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import s3fs


class Server(BaseHTTPRequestHandler):
    """Answers a multi-object delete as S3 does: what is deleted, and an error for the key that is locked."""

    def do_POST(self):
        keys = re.findall(rb"<Key>([^<]+)</Key>", self.rfile.read(int(self.headers["Content-Length"])))
        parts = [
            b"<Error><Key>%s</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>" % key
            if key == b"locked"
            else b"<Deleted><Key>%s</Key></Deleted>" % key
            for key in keys
        ]
        body = b'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">%s</DeleteResult>' % b"".join(parts)
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):  # a listing: both keys
        items = b"".join(
            b'<Contents><Key>%s</Key><Size>1</Size><ETag>"0"</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>' % key
            for key in (b"free", b"locked")
        )
        body = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>%s<IsTruncated>false</IsTruncated></ListBucketResult>' % items
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
fs = s3fs.S3FileSystem(
    key="k", secret="s", endpoint_url=f"http://127.0.0.1:{server.server_port}", client_kwargs={"region_name": "us-east-1"}
)
try:
    returned = fs.rm(["bucket/free", "bucket/locked"])
except Exception as error:
    raise SystemExit(f"changed: rm raises {type(error).__name__} now")
flat = [key for part in returned for key in (part if isinstance(part, list) else [part])]
print(f"rm returned: {flat}; the server refused: locked")
assert flat == ["bucket/free"], flat
PYTHON
