#!/usr/bin/env bash
# Library:   pyarrow 26.0.1 (`pyarrow.parquet.ParquetFile`, `iter_batches`).
# Guess:     `ParquetFile(path, buffer_size=2**20)` reads a column megabyte by megabyte, so that the first small batch of
#            a large row group costs about that much reading.
# Seen:      the first batch of 100 rows reads the whole column chunk (over 90% of the file's bytes), whatever
#            `buffer_size` is. With `pre_buffer=False` beside it, it reads less than a tenth.
# Source:    documentation of ParquetFile: pre_buffer (default True) "coalesces and issues file reads in parallel"; it
#            does not say that buffer_size then has no effect.
# Output:    "share of the file read for one batch: buffer_size 1.00, and without pre_buffer 0.03"
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyarrow==26.0.1 numpy==2.4.6
"$folder/venv/bin/python" - "$folder/x.parquet" <<'PYTHON'
import os
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

path = sys.argv[1]
values = np.random.default_rng(0).standard_normal(4_000_000)
pq.write_table(pa.table({"x": values}), path, compression="none", use_dictionary=False, row_group_size=len(values))


class Counted:
    """A file that counts the bytes that are read of it."""

    def __init__(self):
        self.file, self.read_bytes, self.closed, self.mode = open(path, "rb"), 0, False, "rb"

    def read(self, count=-1):
        content = self.file.read(count)
        self.read_bytes += len(content)
        return content

    def seek(self, *where):
        return self.file.seek(*where)

    def tell(self):
        return self.file.tell()

    def close(self):
        self.file.close()


def share(**options):
    counted = Counted()
    next(pq.ParquetFile(counted, buffer_size=2**20, **options).iter_batches(100))
    return counted.read_bytes / os.path.getsize(path)


buffered, plain = share(), share(pre_buffer=False)
print(f"share of the file read for one batch: buffer_size {buffered:.2f}, and without pre_buffer {plain:.2f}")
assert buffered > 0.9, buffered
assert plain < 0.1, plain
PYTHON
