"""A pool of actors that do pieces of work, each of which leaves rows under its name until all are there."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal, Protocol, TypeVar

import ray
import torch
from ray.exceptions import RayTaskError

from raycv.distributed import ray_cluster
from raycv.distributed.pool import Pool
from raycv.distributed.processor import settle
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

    def __init__(self, results: PieceResults, make: Callable[[str], Work[Any]], device: str) -> None:
        self.results, self.make, self.device = results, make, device
        self.work: Work[Any] | None = None

    def __repr__(self) -> str:
        return f"PieceWorker({self.results.folder})"

    def ready(self) -> None:
        """Return once the actor can work."""

    def do(self, piece: Piece) -> None:
        """Keep what one piece gives. The work is made at the first: Ray would retry a failing __init__ for ever."""
        if self.work is None:
            settle(torch.device(self.device))
            self.work = self.make(self.device)
        self.results.keep(piece.name, self.work(piece))


def run_pieces(
    results: PieceResults,
    stage: str,
    pieces: Sequence[AnyPiece],
    make: Callable[[str], Work[AnyPiece]],
    device: Literal["auto", "cpu", "gpu"],
    need: Need,
    unit: str = "pieces",
) -> int:
    """Do the ``pieces`` that have no result yet, each on a CPU or a GPU; returns how many they were.

    ``make`` is called in every actor with its device, "cpu" or "cuda", and returns what does the work there. ``need``:
    the memory of one actor, of which there are as many as fit. Raises StageFailed where a piece raised, and UserError
    if the user can fix the cause, or no node has that memory.
    """
    there = results.finished()
    missing = [piece for piece in pieces if piece.name not in there]
    if missing:
        ray_cluster.connect(results.store.uri, device)
        on_gpu = ray_cluster.on_gpus(device)
        room = ray_cluster.room_for(stage, need, int(ray_cluster.amount("GPU" if on_gpu else "CPU")))
        part = ray_cluster.Share(cpus=1, gpus=int(on_gpu))
        create = PieceWorker.options(num_cpus=part.cpus, num_gpus=part.gpus).remote  # type: ignore[attr-defined]
        pool = Pool(lambda: create(results, make, "cuda" if on_gpu else "cpu"), min(room, len(missing)))
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
    return len(missing)
