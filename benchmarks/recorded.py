"""Recorded activations that fit no memory: `python -m benchmarks.recorded --samples 1000000 --folder F`.

Two networks in float16 files, the second a permutation of the first with noise, are compared by `raycv.compare`.
Printed: the processor time, over that of the float32 product XᵀX of the same samples, of which NumPy computes one half
and PyTorch all, and which hold them in memory; the peak of the memory of the process; the largest error of
correlations against float64, for units spread over both networks. The files take samples x units x 4 bytes; they are
removed afterwards.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

import raycv
from benchmarks.machine import in_words
from raycv.analysis.arrays import Floats

STEP = 4096  # samples at once
CHECKED = 96  # units of each network whose correlations are computed again in float64
PRODUCTS = 3  # of STEP samples, for the rate


def units_of(network: int, order: np.ndarray, samples: int, start: int) -> np.ndarray:
    """Samples of one network: rectified, with means and sizes that differ between units; float16."""
    shape = (min(STEP, samples - start), len(order))
    values = np.random.default_rng([1, start]).random(shape, dtype=np.float32)
    if network:
        values += 0.75 * np.random.default_rng([2, start]).random(shape, dtype=np.float32)
        values = values[:, order]
    values -= 0.4
    values *= np.linspace(0.5, 2, len(order), dtype=np.float32)
    return np.maximum(values, 0, out=values).astype(np.float16)


def write(path: Path, network: int, order: np.ndarray, samples: int) -> None:
    """One network's file, step by step."""
    with path.open("wb") as file:
        shape = (samples, len(order))
        np.lib.format.write_array_header_2_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
        for start in range(0, samples, STEP):
            file.write(units_of(network, order, samples, start).tobytes())


@contextmanager
def watched(peak: dict[str, int]) -> Iterator[None]:
    """Note the largest VmRSS, and the largest anonymous part of it, in MiB, twenty times a second."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in ("VmRSS", "RssAnon"):
                    peak[name] = max(peak.get(name, 0), int(value.split()[0]) // 1024)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def in_float64(paths: list[Path], columns: list[np.ndarray]) -> Floats:
    """The correlations of some units of each network, from two passes in float64."""
    arrays = [np.load(path, mmap_mode="r") for path in paths]
    samples = len(arrays[0])
    steps = range(0, samples, STEP)

    def block(start: int) -> Floats:
        return np.hstack(
            [a[start : start + STEP][:, c].astype(np.float64) for a, c in zip(arrays, columns, strict=True)]
        )

    mean = np.sum([block(start).sum(0) for start in steps], axis=0) / samples
    products = np.zeros((len(mean), len(mean)))
    for start in steps:
        centred = block(start) - mean
        products += centred.T @ centred
    spread = np.sqrt(np.diagonal(products))
    found: Floats = products / np.outer(spread, spread)
    return found[: len(columns[0]), len(columns[0]) :]


def seconds_of_product(paths: list[Path], samples: int) -> tuple[float, float]:
    """Processor time of XᵀX of all samples of both networks, held in float32: in NumPy and in PyTorch."""
    x = np.hstack([np.load(path, mmap_mode="r")[:STEP] for path in paths]).astype(np.float32)
    tensor = torch.from_numpy(x)
    found = []
    for product in (lambda: x.T @ x, lambda: tensor.T @ tensor):
        product()
        began = time.process_time()
        for _ in range(PRODUCTS):
            product()
        found.append((time.process_time() - began) / PRODUCTS * samples / len(x))
    return found[0], found[1]


def main() -> None:
    """Print one row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--units", type=int, default=4096)
    parser.add_argument("--folder", default=None, help="where the files go for a while")
    parser.add_argument("--memmap", action="store_true", help="give raycv mapped arrays instead of the files' names")
    options = parser.parse_args()
    order = np.random.default_rng(0).permutation(options.units)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        paths = [Path(folder) / f"{name}.npy" for name in "ab"]
        for network, path in enumerate(paths):
            write(path, network, order, options.samples)
        peak: dict[str, int] = {}
        compare = raycv.compare  # imports what it needs
        with watched(peak):
            clock = time.perf_counter()
            began = time.process_time()
            given = [np.load(path, mmap_mode="r") if options.memmap else path for path in paths]
            found = compare(dict(zip("ab", given, strict=True)))
            taken, wall = time.process_time() - began, time.perf_counter() - clock
            correlation = found.correlation("activations", "a", "b")
            partners = found.matching("bipartite").query("net_a == 'b'")["unit_b"].to_numpy()
        del found
        columns = [np.linspace(0, options.units - 1, CHECKED).astype(int)] * 2
        error = np.abs(correlation[np.ix_(*columns)] - in_float64(paths, columns)).max()
        products = seconds_of_product(paths, options.samples)
    print(f"{in_words()}\n")
    print("| samples | units | seconds | processors | over NumPy | over PyTorch | MiB, anonymous | all | error |")
    print("|---" * 9 + "|")
    print(
        f"| {options.samples:,} | 2 x {options.units:,} | {wall:.0f} | {taken:.0f} | {taken / products[0]:.2f} | "
        f"{taken / products[1]:.2f} | {peak['RssAnon']:,} | {peak['VmRSS']:,} | {error:.1e} |"
    )
    print(f"\n{(partners == order).mean():.1%} of the units of b find the unit of a that they were made from.")


if __name__ == "__main__":
    main()
