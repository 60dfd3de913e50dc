"""Ctrl-C: the command ends within a few seconds, and nothing that it started goes on.

Imported before all else, so it imports little.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the thread that needs it imports it, so that Ctrl-C counts a moment earlier
    import psutil

GRACE = 2.0  # seconds in which the command may end by itself
LAST = 2.0  # seconds for what is to be done in any case
LOOK = 0.05  # seconds between two looks at what is running
CODE = 130
SENTENCE = b"raycv: stopped; the same command goes on from here\n"


@contextlib.contextmanager
def stoppable(last: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Inside, Ctrl-C ends this process with `CODE`, whatever it waits for and whoever handles the signal.

    ``last`` is called before, when nothing that was started goes on.

    The interpreter itself tells a thread of every signal: the main thread may be in a call that no exception ends, and
    Ray Train puts its own handler in place. Does nothing outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    before = signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    hook, sys.unraisablehook = sys.unraisablehook, _keep_quiet
    threading.Thread(target=_watch, args=(receiver, last), daemon=True).start()
    try:
        yield
    except KeyboardInterrupt:
        os.write(sender, bytes([signal.SIGINT] * 2))  # all is tidied up: the thread need not wait
        while True:
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(1)
    finally:
        sys.unraisablehook = hook
        signal.set_wakeup_fd(before)
        os.close(sender)  # which ends the thread


def _keep_quiet(lost: sys.UnraisableHookArgs) -> None:
    """Say nothing of a KeyboardInterrupt that came where none can be raised, as when an object is thrown away."""
    if lost.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(lost)


def _watch(receiver: int, last: Callable[[], None]) -> None:
    import psutil

    while received := os.read(receiver, 1):
        if received[0] == signal.SIGINT:
            below, ended_by = set[psutil.Process](), time.monotonic() + GRACE
            again: list[int] = []
            while not again and time.monotonic() < ended_by:
                # Again and again: when their parents have gone they cannot be found.
                below.update(psutil.Process().children(recursive=True))
                again, _, _ = select.select([receiver], [], [], LOOK)
            if again and not os.read(receiver, 1):
                break  # it has ended in time
            _end(below, last)
    os.close(receiver)


def _end(below: set[psutil.Process], last: Callable[[], None]) -> None:
    """End this process and all below it, such as those of a Ray cluster of its own, at once."""
    import psutil

    with contextlib.suppress(OSError):  # whoever read it may have gone
        os.write(2, SENTENCE)
    found = set[psutil.Process]()
    while new := {*below, *psutil.Process().children(recursive=True)} - found:
        for process in new:  # what stands still starts nothing
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        found |= new
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    done = threading.Thread(target=last, daemon=True)
    done.start()
    done.join(LAST)
    os._exit(CODE)
