"""Decoding many images of a source at once."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np

from raycv.data.decoder_process import DecoderProcess
from raycv.data.preprocessing import Resize
from raycv.data.sources import Source

TOGETHER = 64  # images that are decoded at once
THREADS = 4  # up to so many decode side by side; more wait for one another's turn at the interpreter
Decoded = tuple[np.ndarray, np.ndarray]  # images (n, size, size, 3) uint8, labels (n,) int64


class Decoder:
    """Decodes images of ``source`` on several ``cores``, by threads or, where these would be many, by processes."""

    def __init__(self, source: Source, cores: int) -> None:
        self.pool, self.cores = ThreadPoolExecutor(cores), cores
        apart = cores > THREADS and sys.platform == "linux"  # whose memory without a folder they share
        # A reader keeps what it has read last, and serves one thread at a time.
        self.readers: SimpleQueue[Source | DecoderProcess] = SimpleQueue()
        for _ in range(cores):
            self.readers.put(DecoderProcess(source) if apart else copy.deepcopy(source))

    def begin(self, numbers: np.ndarray, resize: Resize, *, exact: bool = True) -> list[Future[Decoded]]:
        """Begin to decode some images, as `Source.decode` does; their parts in the order of ``numbers``."""
        parts = [numbers[n : n + TOGETHER] for n in range(0, len(numbers), TOGETHER)]
        return [self.pool.submit(self._decode, part, resize, exact) for part in parts]

    def in_parts(self, numbers: np.ndarray, resize: Resize) -> Iterator[Decoded]:
        """The same, part by part; not more than some parts wait to be taken."""
        step = 4 * TOGETHER * self.cores
        for start in range(0, len(numbers), step):
            yield from (part.result() for part in self.begin(numbers[start : start + step], resize))

    def close(self) -> None:
        """End the threads and processes; what they have not begun is left."""
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _decode(self, numbers: np.ndarray, resize: Resize, exact: bool) -> Decoded:
        reader = self.readers.get()
        try:
            return reader.decode(numbers, resize, exact=exact)
        finally:
            self.readers.put(reader)


def joined(parts: list[Future[Decoded]]) -> Decoded:
    """What `Decoder.begin` has begun, waited for."""
    images, labels = zip(*(part.result() for part in parts), strict=True)
    return np.concatenate(images), np.concatenate(labels)
