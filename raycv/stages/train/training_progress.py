"""What training workers have reported, kept in an actor, and the thread that shows it in the driver."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import ray

from raycv import telemetry
from raycv.distributed.waiting import Waiting
from raycv.progress import Progress, doing, say
from raycv.run.tracking import Tracker

ANSWER = 5.0  # seconds in which the board answers


class TrainingStopped(Exception):
    """The training has ended for all: on a mistake, or because some network's workers keep dying."""


@ray.remote(num_cpus=0, max_restarts=-1)
class TrainingProgress:
    """What the workers have reported, so that the driver can show it and all of them know when to end.

    A network whose workers have died more than ``deaths`` times without finishing an epoch is given up.
    """

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths
        self.begun: Counter[str] = Counter()  # how often each network has, since its last epoch
        self.again: list[str] = []  # networks, once for each time that another worker had to go on with them
        self.images: dict[int, int] = {}
        self.rows: list[dict[str, Any]] = []
        self.devices: set[str] = set()  # kinds on which workers train
        self.first_step: float | None = None
        self.last_report = 0.0
        self.mistake = self.given_up = self.raised = ""

    def begin(self, net: str) -> bool:
        """A worker begins to train ``net``, for the first time or again; returns whether it may."""
        if net in self.begun:
            self.again.append(net)
        self.begun[net] += 1
        if self.begun[net] > self.deaths + 1:
            self.given_up = net
        return not self._is_over()

    def use(self, kind: str) -> None:
        """A worker trains on a device of this kind."""
        self.devices.add(kind)

    def fail(self, mistake: str) -> None:
        """A worker has met a mistake of the user's."""
        self.mistake = mistake

    def note(self, raised: str) -> None:
        """A worker has raised something else."""
        self.raised = raised

    def count(self, rank: int, images: int) -> bool:
        """A worker has seen so many images; returns whether it may go on."""
        self.first_step = self.first_step or time.time()
        self.images[rank] = images
        return not self._is_over()

    def epoch(self, row: dict[str, Any]) -> None:
        """A network has finished an epoch."""
        self.last_report = time.time()
        self.begun[row["net"]] = 0
        self.rows.append(row)

    def _is_over(self) -> bool:
        return bool(self.mistake or self.given_up)

    def read(self) -> dict[str, Any]:
        return dict(vars(self))


class ImageCounter:
    """Reports about once a second how many images this worker has seen. Raises `TrainingStopped` when all must end."""

    def __init__(self, board: Any, rank: int, before: int) -> None:
        self.board, self.rank, self.seen = board, rank, before
        self.last = 0.0

    def __call__(self, images: int) -> None:
        self.seen += images
        if time.monotonic() - self.last > 1:
            self.send()

    def send(self) -> None:
        self.last = time.monotonic()
        with contextlib.suppress(ray.exceptions.RayError):  # a board that starts again answers later
            if not ray.get(self.board.count.remote(self.rank, self.seen), timeout=ANSWER):
                raise TrainingStopped


class ProgressThread(threading.Thread):
    """Shows the board while the driver waits for Ray Train."""

    def __init__(
        self,
        board: Any,
        names: Sequence[str],
        epochs: int,
        images_per_epoch: int,
        tracker: Tracker,
        unit: str = "images",
    ) -> None:
        super().__init__(daemon=True)
        self.unit = unit
        self.board, self.epochs, self.names = board, epochs, names
        self.tracker, self.tracked = tracker, set[tuple[str, int]]()
        self.total = epochs * images_per_epoch
        self.ended = threading.Event()

    def stop(self) -> None:
        self.ended.set()
        self.join(timeout=5)
        self.tracker.close()

    def run(self) -> None:
        with ExitStack() as shown_while, ExitStack() as starting:
            starting.enter_context(doing(f"train: starting {len(self.names)} networks"))
            self._show(shown_while, starting)

    def _track(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Tell the tracker of epochs that it has not been told of."""
        for row in rows:
            if (row["net"], row["epoch"]) not in self.tracked:
                self.tracked.add((row["net"], row["epoch"]))
                values = {name: float(row[name]) for name in row if name not in ("net", "seed", "epoch")}
                self.tracker.log(row["net"], row["epoch"], values)

    def _show(self, shown_while: ExitStack, starting: ExitStack) -> None:
        shown, again = set[int](), 0
        progress: Progress | None = None
        waiting, before = Waiting(), 0
        ended = False
        while not ended:
            ended = self.ended.wait(1.0)  # after the end, one last look
            try:
                state = ray.get(self.board.read.remote(), timeout=ANSWER)
            except ray.exceptions.RayError:
                continue
            seen = min(sum(state["images"].values()), self.total)
            if progress is None and seen:
                starting.close()
                progress = shown_while.enter_context(Progress("train", self.total, self.unit))
                progress.resume_at(seen)
            self._track(state["rows"])
            for net in state["again"][again:]:
                say(f"train: a worker of {net} has died; another goes on from the last epoch of {net}")
                telemetry.count("raycv_deaths", work="training")
            again = max(again, len(state["again"]))
            waiting.look(going_on=False)  # one network may wait for a node while the others train
            telemetry.count("raycv_images", seen - before, stage="train")
            before = seen
            if progress is None:
                continue
            progress.update(seen)
            for epoch in sorted({row["epoch"] for row in state["rows"]} - shown):
                rows = {row["net"]: row["validation_top1"] for row in state["rows"] if row["epoch"] == epoch}
                if len(rows) == len(self.names):
                    tops = "  ".join(f"{net} {100 * rows[net]:.1f}%" for net in self.names)
                    progress.note(f"epoch {epoch} of {self.epochs}: validation top-1  {tops}")
                    shown.add(epoch)
