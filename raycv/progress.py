"""Progress of long work: a bar in a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

LINE_EVERY = 10.0  # seconds between lines where there is no terminal


def say(text: str) -> None:
    """Print one line for the user."""
    print(text, flush=True)


def answer(text: str) -> None:
    """Print a result."""
    print(text, flush=True)


class Progress:
    """Shows how many of ``total`` units are done, the rate and the time left.

    ``update`` takes the number done so far, so the count can go back when work is repeated.
    """

    def __init__(self, title: str, total: int, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done, self.first = 0, 0
        self.next = ""
        self.told = -1  # done when the last line was printed
        self.start = self.last_line = time.monotonic()
        self.bar = (
            tqdm(total=total, desc=title, unit=f" {unit}", unit_scale=True, dynamic_ncols=True)
            if sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()
        elif kind is None and self.told != self.done:
            self._line("")

    def resume_at(self, done: int) -> None:
        """Start from work done before, which does not count towards the rate."""
        self.first = self.done = done
        self.start = time.monotonic()
        if self.bar is not None:
            self.bar.initial = done
            self.bar.reset()
            self.bar.update(done)

    def update(self, done: int, note: str = "") -> None:
        """Report that ``done`` units are done; ``note`` adds a few words."""
        self.done = done
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.n = done
            self.bar.refresh()
        elif time.monotonic() - self.last_line >= LINE_EVERY:
            self._line(note)

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
            self.bar.write(text)
        else:
            say(text)

    def _line(self, note: str) -> None:
        self.told = self.done
        self.last_line = time.monotonic()
        elapsed = max(self.last_line - self.start, 1e-9)
        rate = (self.done - self.first) / elapsed
        speed = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        left = f"{(self.total - self.done) / rate:,.0f} s left" if rate > 0 else "time left unknown"
        if self.done >= self.total:
            left = f"done in {elapsed:,.0f} s"
        say(
            f"{self.title}: {self.done:,} of {self.total:,} {self.unit} ({100 * self.done / max(self.total, 1):.0f}%), "
            f"{speed} {self.unit}/s, {left}" + (f"  {note}" if note else "")
        )
