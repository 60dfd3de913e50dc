#!/usr/bin/env bash
# Library:   pytest 9.2.0 with pytest-xdist 3.8.0, the newest of both.
# Guess:     tests marked with `xdist_group` run in one process under `--dist loadgroup`, so that what is set up once a
#            session for them (a Ray cluster, say) is set up once; as with pytest 9.1.1, and as pytest-xdist's manual says.
# Seen:      they are spread over all processes, and nothing is said: two clusters on two cores, every fixture of a
#            session made twice, a suite of 2,600 tests half as fast as before. With pytest 9.1.1 all are in one process.
# Cause:     pytest-xdist writes the group into the private `_nodeid` of a test, which pytest 9.2 no longer reads.
# Output:    "processes with pytest 9.1.1: 1 9.2.0: 2"
# Source:    https://github.com/pytest-dev/pytest-xdist/issues/1386
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for name in test_a test_b; do
    cat >"$folder/$name.py" <<'PYTHON'
import os
import time

import pytest


@pytest.mark.xdist_group("cluster")
@pytest.mark.parametrize("number", range(4))
def test_of_a_group(number):
    time.sleep(0.5)
    with open("processes.txt", "a") as file:
        print(os.getpid(), file=file)
PYTHON
done
seen=""
for version in 9.1.1 9.2.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet "pytest==$version" pytest-xdist==3.8.0
    rm -f "$folder/processes.txt"
    (cd "$folder" && "$version/bin/python" -m pytest -q -n 2 --dist loadgroup -p no:cacheprovider >/dev/null)
    seen+="$version: $(sort -u "$folder/processes.txt" | wc -l) "
done
echo "processes with pytest $seen"
[ "$seen" = "9.1.1: 1 9.2.0: 2 " ]
