"""A pool of actors that do pieces of work, each of which leaves rows under its name until all are there."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import ray
import torch
from ray.exceptions import RayTaskError

from raycv.devices import Processors, kind, of_worker, settle
from raycv.distributed import ray_cluster
from raycv.distributed.pool import Pool
from raycv.errors import StageFailed
from raycv.memory import Need
from raycv.progress import Progress
from raycv.run.store import RunStore


class Piece(Hashable, Protocol):
    """A piece of work; it can be sent to an actor."""

    @property
    def name(self) -> str:
        """The path of its result."""


class PieceResults(Protocol):
    """Where results are kept. Sent to the actors."""

    @property
    def store(self) -> RunStore: ...
    @property
    def folder(self) -> str: ...

    def finished(self) -> set[str]:
        """The names of the pieces that have a result."""

    def keep(self, trial: str, found: Any) -> None:
        """Keep the result of one piece."""


AnyPiece = TypeVar("AnyPiece", bound=Piece)
Work = Callable[[AnyPiece], Any]  # gives the rows of one piece


@ray.remote(max_restarts=-1, max_task_retries=0)
class PieceWorker:
    """Does pieces of work on one device and keeps what each gives."""

    def __init__(self, results: PieceResults, make: Callable[[str], Work[Any]], use_gpu: bool) -> None:
        self.results, self.make, self.use_gpu = results, make, use_gpu
        self.work: Work[Any] | None = None

    def __repr__(self) -> str:
        return f"PieceWorker({self.results.folder})"

    def ready(self) -> str:
        """Return, once the actor can work, the kind of device on which it does."""
        return kind(self.device)

    @property
    def device(self) -> torch.device:
        """Where the work is done."""
        return of_worker(use_gpu=self.use_gpu)

    def do(self, piece: Piece) -> None:
        """Keep what one piece gives. The work is made at the first: Ray would retry a failing __init__ for ever."""
        if self.work is None:
            settle(self.device)
            self.work = self.make(str(self.device))
        self.results.keep(piece.name, self.work(piece))


@dataclass(frozen=True)
class Computed:
    """How many pieces were done, and on what kind of device; empty where none was."""

    pieces: int
    device: str


def run_pieces(
    results: PieceResults,
    stage: str,
    pieces: Sequence[AnyPiece],
    make: Callable[[str], Work[AnyPiece]],
    wanted: Processors,
    need: Need,
    networks: int = 1,
    unit: str = "pieces",
) -> Computed:
    """Do the ``pieces`` that have no result yet, each on a CPU or a GPU.

    ``make`` is called in every actor with its device, such as "cpu", and returns what does the work there. ``need``:
    the memory of one actor, of which there are as many as fit. ``networks``: for each of them an autoscaler is asked
    for a GPU, if GPUs are ``wanted``. Raises StageFailed where a piece raised, and UserError
    if the user can fix the cause, or no node has that memory.
    """
    there, kinds = results.finished(), ""
    missing = [piece for piece in pieces if piece.name not in there]
    if missing:
        ray_cluster.connect(results.store.uri, wanted)
        gpus = ray_cluster.gpus(wanted)
        places = ray_cluster.Places(stage, need, len(missing), networks, gpus).checked()
        create = PieceWorker.options(num_cpus=1, num_gpus=int(gpus is not None)).remote  # type: ignore[attr-defined]
        pool = Pool(lambda: create(results, make, gpus is not None), places)
        with Progress(stage, len(pieces), unit) as progress:
            progress.resume_at(len(pieces) - len(missing))
            try:
                pool.run(
                    missing,
                    lambda actor, piece: actor.do.remote(piece),
                    lambda piece, _result: progress.advance(1, piece.name),
                )
            except RayTaskError as error:
                reason = str(error).strip().splitlines()[-1][:200].rstrip(".")
                raise StageFailed(
                    f"{stage}: a piece of the work failed ({reason}). Finished pieces are kept, and the same command "
                    "goes on from here."
                ) from error
            finally:
                pool.close()
        kinds = pool.device
    return Computed(len(missing), kinds)
