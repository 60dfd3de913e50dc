"""A process that holds a lease, as a driver of another machine or of this one."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

HOLD = """
import sys, time
from raycv.errors import StageFailed
from raycv.run import lease
from raycv.run.store import RunStore
from raycv.stopping import stoppable
uri, stage, lease.EVERY, lease.EXPIRY, elsewhere = sys.argv[1], sys.argv[2], *map(float, sys.argv[3:])
if elsewhere:
    lease._machine = lambda: "another machine"  # which a test does not have
try:
    with stoppable(lease.give_all_back), lease.held(RunStore(uri), [stage]):
        print("at work", flush=True)
        time.sleep(1000)
except StageFailed as error:
    sys.exit(1)
"""


@contextlib.contextmanager
def driver(
    uri: str, stage: str, *, every: float = 10, expiry: float = 60, elsewhere: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """A process that is at work on ``stage``, ended afterwards by kill -9."""
    given = [uri, stage, str(every), str(expiry), str(int(elsewhere))]
    process = subprocess.Popen([sys.executable, "-c", HOLD, *given], stdout=-1, stderr=-1, text=True)
    assert process.stdout is not None
    try:
        # On a busy machine it may say first that it waits for the server.
        assert "at work\n" in iter(process.stdout.readline, ""), process.stderr and process.stderr.read()
        yield process
    finally:
        process.kill()
        process.wait()
