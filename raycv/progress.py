"""What a person sees of long work: a bar in a terminal, plain lines in a log, and never a long silence."""

from __future__ import annotations

import logging
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar

LINE_EVERY = 4.0  # seconds, after which a line may be due where there is no terminal,
SILENT = 30.0  # or is, if no tenth of the work has been done meanwhile
FORECAST_AFTER, FORECAST_FROM, FORECAST_LATEST = 20.0, 0.05, 120.0  # seconds, share of the work; seconds with any share
AT_ONCE = 0.5  # seconds that nobody needs to be told of

QUIET, NORMAL, VERBOSE = logging.WARNING, logging.INFO, logging.DEBUG
log = logging.getLogger("raycv")
_shown: Progress | None = None


class _Printer(logging.Handler):
    """Prints what is said, and nothing else: the lines of a command are its log."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), flush=True)


log.addHandler(_Printer())
log.setLevel(NORMAL)
log.propagate = False


def speak(level: int) -> None:
    """Say only results (`QUIET`), what a person needs (`NORMAL`), or everything (`VERBOSE`)."""
    log.setLevel(level)


def is_told(level: int) -> bool:
    """Whether what is said at ``level`` is printed."""
    return log.isEnabledFor(level)


def answer(text: str) -> None:
    """Print a result, at every level."""
    print(text, flush=True)


def say(text: str) -> None:
    """Print one line for the user."""
    log.info("%s", text)


def detail(text: str) -> None:
    """Print one line for the user who wants to know everything."""
    log.debug("%s", text)


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Name what is waited for, until it is over, as soon as it takes longer than a moment."""
    began = time.monotonic()
    if _terminal():
        with _console().status(what):
            yield
        return
    with (
        _reminded(AT_ONCE, lambda: say(what)),
        _reminded(LINE_EVERY, lambda: say(f"{what}: {time.monotonic() - began:.0f} s so far"), again=True),
    ):
        yield


@contextmanager
def _reminded(seconds: float, remind: Callable[[], None], *, again: bool = False) -> Iterator[None]:
    """Call ``remind`` once the block has taken ``seconds``, and, if ``again``, every so often."""
    ended = threading.Event()

    def wait() -> None:
        while not ended.wait(seconds):
            remind()
            if not again:
                return

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _terminal() -> bool:
    """Whether there is somebody to draw a bar for; a small installation has no rich, which draws it."""
    return sys.stderr.isatty() and log.isEnabledFor(NORMAL) and find_spec("rich") is not None


def _console() -> Console:
    """Where a bar is drawn. rich 15 draws random numbers while it is imported, of those that are the user's."""
    state = random.getstate()
    try:
        from rich.console import Console
    finally:
        random.setstate(state)
    return Console(stderr=True)


class Progress:
    """Shows how many of ``total`` units are done, the rate and the time left; to be used in a ``with`` block.

    ``update`` takes the number done so far, so the count can go back when work is repeated.
    """

    def __init__(self, title: str, total: int, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done, self.first = 0, 0
        self.next = self.last = ""
        self.told = -1  # done when the last line was printed,
        self.told_at = -SILENT  # and when that was
        self.start = time.monotonic()
        self._open = ExitStack()
        self.bar: Bar | None = None

    def __enter__(self) -> Self:
        global _shown
        _shown = self
        if _terminal():
            console = _console()
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(self.unit)
            times = TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}")
            self.bar = self._open.enter_context(Bar(*columns, *times, console=console))
            self.task = self.bar.add_task(self.title, total=self.total, note="")
        else:
            self._open.enter_context(_reminded(LINE_EVERY, self._line_if_due, again=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _shown
        _shown = None
        self._open.close()
        if self.bar is None and kind is None and self.told != self.done:
            self._line("")

    def resume_at(self, done: int) -> None:
        """Start from work done before, which does not count towards the rate."""
        self.first = self.done = done
        self.start = time.monotonic()
        if self.bar is not None:
            self.bar.reset(self.task, completed=done)

    def update(self, done: int, note: str = "") -> None:
        """Report that ``done`` units are done; ``note`` adds a few words."""
        self.done, self.last = done, note
        if self.bar is not None:
            self.bar.update(self.task, completed=done, note=note)

    def advance(self, units: int = 1, note: str = "") -> None:
        """Report that ``units`` more are done."""
        self.update(self.done + units, note or self.next)

    def note_next(self, text: str) -> None:
        """Say in a few words what comes next."""
        self.next = text
        self.update(self.done, text)

    def note(self, text: str) -> None:
        """Print a separate line above the bar."""
        if self.bar is not None:
            self.bar.console.print(text, markup=False, highlight=False)
        else:
            say(text)

    def sentence(self) -> str:
        """How many units are done, the rate, and the time left once it can be told."""
        elapsed = max(time.monotonic() - self.start, 1e-9)
        share = self.done / max(self.total, 1)
        there = f"{self.title}: {self.done:,} of {self.total:,} {self.unit} ({100 * share:.0f}%), "
        if self.done >= self.total:
            return there + f"{_rate(self.total - self.first, elapsed)} {self.unit}/s, done in {elapsed:,.0f} s"
        if self.done <= self.first:
            before = there if self.first else f"{self.title}: "
            return before + f"{self.total - self.done:,} {self.unit} to do, {elapsed:,.0f} s so far"
        rate = (self.done - self.first) / elapsed
        can_tell = elapsed >= FORECAST_AFTER and (share >= FORECAST_FROM or elapsed >= FORECAST_LATEST)
        left = f", {(self.total - self.done) / rate:,.0f} s left" if can_tell else ""
        return there + f"{_rate(self.done - self.first, elapsed)} {self.unit}/s{left}"

    def _line_if_due(self) -> None:
        tenths, told = (10 * done // max(self.total, 1) for done in (self.done, max(self.told, 0)))
        if tenths > told or time.monotonic() - self.told_at >= SILENT:
            self._line(self.last)

    def _line(self, note: str) -> None:
        self.told, self.told_at = self.done, time.monotonic()
        say(self.sentence() + (f"  {note}" if note else ""))


def _rate(units: int, seconds: float) -> str:
    return f"{units / seconds:,.0f}" if units >= 10 * seconds else f"{units / seconds:.2g}"


def shown() -> str:
    """What a person sees at this moment of the work of this process; empty between two pieces of work."""
    progress = _shown
    return progress.sentence() if progress else ""
