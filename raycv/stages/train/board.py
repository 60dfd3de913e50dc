"""The board on which training workers note their progress, and the thread that shows it in the driver."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import Any

import ray

from raycv.progress import Progress, doing, say

PATIENCE = 60.0  # seconds without a first step before a message says what the workers wait for


@ray.remote(num_cpus=0, max_restarts=-1)
class Board:
    """What the workers have reported, so that the driver can show it."""

    def __init__(self) -> None:
        self.images: dict[int, int] = {}
        self.rows: list[dict[str, Any]] = []
        self.first_step: float | None = None
        self.last_report = 0.0
        self.mistake = ""

    def fail(self, mistake: str) -> None:
        self.mistake = mistake

    def count(self, rank: int, images: int) -> None:
        self.first_step = self.first_step or time.time()
        self.images[rank] = images

    def epoch(self, row: dict[str, Any]) -> None:
        self.last_report = time.time()
        self.rows.append(row)

    def read(self) -> dict[str, Any]:
        return dict(vars(self))


class Counter:
    """Reports to the board, about once a second, how many images this worker has seen."""

    def __init__(self, board: Any, rank: int, before: int) -> None:
        self.board, self.rank, self.seen = board, rank, before
        self.last = 0.0

    def __call__(self, images: int) -> None:
        self.seen += images
        if time.monotonic() - self.last > 1:
            self.send()

    def send(self) -> None:
        self.last = time.monotonic()
        self.board.count.remote(self.rank, self.seen)


class Watch(threading.Thread):
    """Shows the board while the driver waits for Ray Train."""

    def __init__(self, board: Any, networks: int, epochs: int, images_per_epoch: int, supply: str) -> None:
        super().__init__(daemon=True)
        self.board, self.epochs = board, epochs
        self.networks, self.supply = networks, supply
        self.total = epochs * images_per_epoch
        self.ended = threading.Event()

    def stop(self) -> None:
        self.ended.set()
        self.join(timeout=5)

    def run(self) -> None:
        with ExitStack() as shown_while, ExitStack() as starting:
            starting.enter_context(doing(f"train: starting {self.networks} networks"))
            self._show(shown_while, starting)

    def _show(self, shown_while: ExitStack, starting: ExitStack) -> None:
        shown: set[int] = set()
        progress: Progress | None = None
        waiting_since = time.monotonic()
        ended = False
        while not ended:
            ended = self.ended.wait(1.0)  # after the end, one last look
            try:
                state = ray.get(self.board.read.remote(), timeout=5)
            except ray.exceptions.RayError:
                continue
            seen = min(sum(state["images"].values()), self.total)
            if progress is None and seen:
                starting.close()
                progress = shown_while.enter_context(Progress("train", self.total, "images"))
                progress.resume_at(seen)
            if progress is None:
                if time.monotonic() - waiting_since > PATIENCE:
                    say(f"train: waiting for all workers to start: {self.supply}")
                    waiting_since = time.monotonic()
                continue
            progress.update(seen)
            for epoch in sorted({row["epoch"] for row in state["rows"]} - shown):
                rows = {row["net"]: row["validation_top1"] for row in state["rows"] if row["epoch"] == epoch}
                if len(rows) == self.networks:
                    tops = "  ".join(f"{net} {100 * rows[net]:.1f}%" for net in sorted(rows))
                    progress.note(f"epoch {epoch} of {self.epochs}: validation top-1  {tops}")
                    shown.add(epoch)
