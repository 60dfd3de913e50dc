#!/usr/bin/env bash
# Library:   fsspec 2026.9.0, buffered files (those of s3fs, gcsfs, adlfs and http), read by Python's zipfile and NumPy.
# Guess:     what `np.savez(file)` writes when there is nothing to save, a valid archive of 22 bytes, can be opened from a
#            remote file as from a local one.
# Seen:      zipfile.ZipFile and np.load raise ValueError "Seek before start of file". zipfile looks for the end record of
#            large archives before the start of a small file, and counts on the OSError that a file of the operating
#            system or of io raises there; fsspec raises ValueError.
#            A run that stored no arrays for one of its networks
#            could be read from a disk and not from S3.
# Output:    "local: []; fsspec: ValueError: Seek before start of file"
# Source:    fsspec/spec.py, AbstractBufferedFile.seek; CPython, Lib/zipfile, _EndRecData64.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet fsspec==2026.9.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import fsspec
import numpy as np
from fsspec.spec import AbstractBufferedFile

np.savez("none.npz")
local = np.load("none.npz").files


class Remote(AbstractBufferedFile):
    """As s3fs reads: ranges of bytes on demand."""

    def _fetch_range(self, start, end):
        with open("none.npz", "rb") as file:
            return file.read()[start:end]


remote = Remote(fsspec.filesystem("file"), "none.npz", mode="rb", size=22, cache_type="bytes")
try:
    seen = str(np.load(remote).files)
except Exception as error:
    seen = f"{type(error).__name__}: {error}"
print(f"local: {local}; fsspec: {seen}")
assert local == []
assert seen == "ValueError: Seek before start of file", seen
PYTHON
