"""A process that decodes images for another one, into memory that both share.

It reads what is wanted from its standard input and ends with that, however the process that began it ends.
"""

from __future__ import annotations

import math
import mmap
import os
import pickle
import subprocess
import sys
from functools import lru_cache
from typing import Any

import numpy as np

from raycv.data.preprocessing import Resize
from raycv.data.sources import Source
from raycv.errors import StageFailed

DECODER_DEATHS = 3  # of processes with the same images in hand after which these are given up


class DecoderProcess:
    """Decodes images of ``source`` in a process of its own, which begins with the first of them."""

    def __init__(self, source: Source) -> None:
        self.source, self.memory = source, _Shared()
        self.process: subprocess.Popen[bytes] | None = None

    def decode(self, numbers: np.ndarray, resize: Resize, *, exact: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """As `Source.decode`. Raises StageFailed where the process has died again and again."""
        shape = len(numbers), resize.size, resize.size, 3
        images = self.memory.of(shape)
        labels = self._ask((self.memory.bytes, shape, numbers, resize, exact))
        return images.copy(), labels

    def _ask(self, wanted: Any) -> np.ndarray:
        for _ in range(DECODER_DEATHS):
            try:
                found = self._answer(wanted)
            except (EOFError, BrokenPipeError, pickle.UnpicklingError):  # it has died
                self._end()
                continue
            if isinstance(found, Exception):
                raise found
            labels: np.ndarray = found
            return labels
        raise StageFailed(
            f"Processes that decode images of {self.source.name} died {DECODER_DEATHS} times, most likely for lack of "
            "memory. The same command goes on from what is finished."
        )

    def _answer(self, wanted: Any) -> Any:
        if self.process is None:
            self.process = _begun(self.memory.handle)
            _send(self.process.stdin, self.source)
        assert self.process.stdout is not None
        _send(self.process.stdin, wanted)
        return pickle.load(self.process.stdout)

    def _end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def __del__(self) -> None:
        self._end()


def _begun(memory: int) -> subprocess.Popen[bytes]:
    # Not by multiprocessing, which would run a user's script again.
    code = f"import sys; sys.path[:] = {sys.path!r}; from raycv.data.decoder_process import serve; serve({memory})"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(memory,),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,  # Ctrl-C is for the process that began it
    )


class _Shared:
    """Memory that belongs to no folder: nothing is left behind, and no limit of /dev/shm applies.

    It is kept, as pages that a process has not used before cost more than to decode an image into them.
    """

    def __init__(self) -> None:
        self.handle = os.memfd_create("raycv-images")
        self.bytes = 0

    def of(self, shape: tuple[int, ...]) -> np.ndarray:
        """Images of that shape at its beginning, one at least."""
        if math.prod(shape) > self.bytes:
            self.bytes = math.prod(shape)
            os.ftruncate(self.handle, self.bytes)
            self.map = mmap.mmap(self.handle, self.bytes)
        return _images(self.map, shape)

    def __del__(self) -> None:
        os.close(self.handle)


def serve(memory: int) -> None:
    """Decode what is asked for into ``memory``, the number of an open file, until there is nobody left to ask."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is said while reading is no answer
    try:
        source: Source = pickle.load(sys.stdin.buffer)
        while True:
            _send(answers, _answer(source, memory, *pickle.load(sys.stdin.buffer)))
    except (EOFError, BrokenPipeError):
        os._exit(0)


def _answer(
    source: Source, memory: int, size: int, shape: tuple[int, ...], numbers: np.ndarray, resize: Resize, exact: bool
) -> np.ndarray | Exception:
    try:
        images = _images(_mapped(memory, size), shape)
        return source.decode(numbers, resize, exact=exact, out=images)[1]
    except Exception as error:
        return error


@lru_cache(maxsize=1)
def _mapped(memory: int, size: int) -> mmap.mmap:
    return mmap.mmap(memory, size)


def _images(memory: mmap.mmap, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(memory, np.uint8, math.prod(shape)).reshape(shape)


def _send(to: Any, what: Any) -> None:
    pickle.dump(what, to, protocol=pickle.HIGHEST_PROTOCOL)
    to.flush()
