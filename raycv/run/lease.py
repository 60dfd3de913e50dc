"""Leases: of each stage of a run there is one driver at a time.

A driver holds a lease while it does a stage: the file leases/STAGE.json, which names it. Of several drivers one can
create the file. A thread renews it every few seconds with the progress so far.

A driver on this machine is dead once its process has gone, and only then. One on another machine is dead where its
lease has not been renewed for a minute by the clock of the store, and then not while this driver watches either:
clocks may be set, and no two machines' are compared. Another then takes over.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from raycv import progress
from raycv.errors import StageFailed, UserError
from raycv.progress import doing, say
from raycv.run.filesystem import mark_unreachable
from raycv.run.paths import LEASES
from raycv.run.store import RunStore

EVERY = 10.0  # seconds between two renewals
EXPIRY = 60.0  # seconds without a renewal after which the holder is dead: longer than a store's outage is waited for
LOOK = 2.0  # seconds between two looks at a lease that is waited for
WATCH = 25.0  # seconds that a lease which seems to have expired is watched: longer than between two renewals
AHEAD = 5.0  # seconds by which a lease may be dated in the future, as clocks are not read at the same moment

_held: list[Lease] = []  # by this process
_away: set[str] = set()  # runs to which a lease could not be given back
_warned: set[str] = set()  # stores that do not keep two drivers apart


class Holder(BaseModel):
    """Who has a lease: a process (``started`` is its start in ticks since the boot) on a machine."""

    token: str
    host: str
    machine: str
    pid: int
    started: str
    job: str
    since: str
    progress: str = ""

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"process {self.pid} on {self.host}{job}, since {self.since}"

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine."""
        return self.machine == _machine()

    @property
    def has_ended(self) -> bool:
        """Whether a process of this machine has ended; no clock is asked."""
        return _start_of(self.pid) != self.started


@dataclass(frozen=True)
class State:
    """A lease as it is in the store: its content, who has it and, in seconds, since when by the clock of the store."""

    content: bytes
    holder: Holder
    age: float

    @property
    def alive(self) -> bool:
        """Whether the driver is alive, as far as can be seen at once."""
        return not self.holder.has_ended if self.holder.is_here else self.age < EXPIRY

    @property
    def ahead(self) -> float:
        """Seconds by which it is dated in the future, which says nothing of whether its driver is alive; else 0."""
        return -self.age if self.age < -AHEAD and not self.holder.is_here else 0.0


class Lease:
    """The lease of one stage of a run, for this process."""

    def __init__(self, store: RunStore, stage: str) -> None:
        self.store, self.stage, self.path = store, stage, path_of(stage)
        self._holder = _this_process()
        self._content = _content(self._holder)
        self._busy = threading.Lock()
        self._over = False

    def take(self) -> Holder | None:
        """Take the lease if nobody has it; returns who has it."""
        found = state(self.store, self.stage)
        if found is None:
            taken = self.store.create_once(self.path, self._content)
        elif (found.alive and not found.ahead) or self._is_renewed(found):
            return found.holder
        else:
            taken = self.store.replace_if(self.path, found.content, self._content)
        if not taken:
            return self.take()
        _held.append(self)
        if found is None:
            self._warn()
        else:
            say(f"{self.stage}: taken over from a driver that has died ({found.holder})")
        return None

    def _is_renewed(self, found: State) -> bool:
        """Whether a lease of another machine that seems to have expired is renewed after all, by our own clock."""
        if found.holder.is_here:
            return False
        end = time.monotonic() + (EXPIRY if found.ahead else min(WATCH, EXPIRY))
        with doing(f"{self.stage}: looking whether {found.holder} is still at work"):
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(LOOK, left))
                now = state(self.store, self.stage)
                if now is None or now.content != found.content:
                    return now is not None
        return False

    def renew(self) -> Holder | None:
        """Say that this driver is alive, and how far it is; returns who has taken the lease, where another has."""
        with self._busy:
            if self._over:
                return None
            content = _content(self._holder.model_copy(update={"progress": progress.shown()}), uuid.uuid4().hex)
            renewed = self.store.replace_if(self.path, self._content, content)
            if not renewed:
                found = state(self.store, self.stage)
                if found is not None and found.holder.token != self._holder.token:
                    self._over = True
                    return found.holder
                if found is None and not self.store.create_once(self.path, content):
                    return None  # the next renewal will tell
            self._content = content
            return None

    def give_back(self) -> None:
        """Let another driver do the stage."""
        with self._busy:
            over, self._over = self._over, True
        with contextlib.suppress(ValueError):
            _held.remove(self)
        # A renewal that succeeds leaves a minute in which nobody else takes over what is removed here.
        if not over and self.store.replace_if(self.path, self._content, _content(self._holder, "given back")):
            self.store.remove(self.path)
            self.store.remove_folder_if_empty(LEASES)

    def _warn(self) -> None:
        """Say it where the store cannot tell two drivers apart that start together."""
        store = self.store.uri.partition("://")[2].split("/")[0]
        if store not in _warned and not self.store.refuses_to_create_twice(self.path, self._content):
            _warned.add(store)
            say(
                f"note: the server of {self.store.uri} does not heed conditions (If-None-Match), so two drivers that "
                "start at the same moment are not kept apart; start one at a time"
            )


@contextlib.contextmanager
def held(store: RunStore, stages: Sequence[str], *, wait: bool = False) -> Iterator[None]:
    """Hold the leases of ``stages`` inside. Raises UserError where another driver has one of them, or waits for it.

    Raises StageFailed where this driver was taken for dead and another goes on in its place.
    """
    if not stages:
        yield
        return
    new = not store.exists("")
    ended = threading.Event()
    lost: list[str] = []
    with contextlib.ExitStack() as leases:
        if new:
            leases.callback(store.remove_folder_if_empty, "")
        taken = [_take(store, stage, wait, leases) for stage in stages]
        thread = threading.Thread(target=_renew, args=(taken, ended, lost), daemon=True)
        thread.start()
        leases.callback(ended.set)
        try:
            yield
        except KeyboardInterrupt:
            if lost:
                raise StageFailed(lost[0]) from None
            raise
        except BaseException:
            mark_unreachable(store.uri)  # a store that has just failed is not waited for once more
            raise


def state(store: RunStore, stage: str) -> State | None:
    """The lease of ``stage`` as it is now; None where nobody has it. Raises UserError where its file is damaged."""
    path = path_of(stage)
    try:
        content, age = store.read(path), store.age(path)
        holder = Holder.model_validate_json(content)
    except UserError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    except ValidationError:
        raise UserError(f"{store.locate(path)} is damaged; remove it if no driver is at work on {stage}.") from None
    return State(content, holder, age)


def path_of(stage: str) -> str:
    """The file of a stage's lease."""
    return f"{LEASES}/{stage.replace(' ', '-')}.json"


def held_in(paths: Iterable[str]) -> bool:
    """Whether there is a lease among the files of a run."""
    return any(path.startswith(f"{LEASES}/") for path in paths)


def give_all_back() -> None:
    """Give back what this process holds, before it ends at once."""
    for lease in list(_held):
        _give_back(lease)


def _take(store: RunStore, stage: str, wait: bool, leases: contextlib.ExitStack) -> Lease:
    lease = Lease(store, stage)
    holder = lease.take()
    if holder is not None and not wait:
        raise UserError(
            f"{stage} of {store.uri} is being done by {holder}; stop that driver, or wait for it with --wait."
        )
    if holder is not None:
        with doing(f"{stage}: waiting for {holder}"):
            while lease.take() is not None:
                time.sleep(LOOK)
    leases.callback(_give_back, lease)
    return lease


def _give_back(lease: Lease) -> None:
    if lease.store.uri in _away:
        return
    try:
        lease.give_back()
    except UserError:  # a lease that cannot be given back expires
        _away.add(lease.store.uri)


def _renew(taken: Sequence[Lease], ended: threading.Event, lost: list[str]) -> None:
    """Renew leases until the end; stop this process as Ctrl-C does where another driver has taken one of them."""
    while not ended.wait(EVERY):
        for lease in taken:
            with contextlib.suppress(UserError):  # the store is away; perhaps the next time it is not
                other = lease.renew()
                if other is not None:
                    lost.append(
                        f"{lease.stage} of {lease.store.uri} could not be renewed for {EXPIRY:.0f} s and is now being "
                        f"done by {other}."
                    )
                    print(f"raycv: {lost[0]}", file=sys.stderr, flush=True)
                    os.kill(os.getpid(), signal.SIGINT)
                    return


# -- this process ----------------------------------------------------------------------------------------------------


def _content(holder: Holder, renewal: str = "") -> bytes:
    return json.dumps({**holder.model_dump(), "renewal": renewal}, indent=2).encode() + b"\n"


def _this_process() -> Holder:
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") or "{}").get("metadata", {})
    return Holder(
        token=uuid.uuid4().hex,
        host=socket.gethostname(),
        machine=_machine(),
        pid=os.getpid(),
        started=_start_of(os.getpid()),
        job=job.get("job_submission_id", ""),
        since=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )


def _machine() -> str:
    """One boot of one machine, and in it the container: where equal, process numbers mean the same."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{boot.read_text().strip()} {os.readlink('/proc/self/ns/pid')}"


def _start_of(pid: int) -> str:
    """When a process has started, in ticks since the boot; empty where it has ended."""
    try:
        state, *facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else facts[18]
