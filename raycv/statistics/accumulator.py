"""Adding activations to joint moments: float32 products of blocks of samples, summed in float64.

Where samples are few, their products are in float64 too.

On a CPU, one kernel reads each block of samples once. It shifts the block, takes its sums and extremes, and writes it
next to the blocks of the other networks, into a buffer that fits the cache. The products read that buffer. The total
cost is little more than that of the upper strips of one float32 product XᵀX (`benchmarks/README.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from raycv.statistics.moments import Moments, from_strips, offsets

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# A float32 product over more samples than this loses digits before it is added in float64. Narrow products lose the
# most, because matrix libraries add their samples one by one.
ROWS_PER_PRODUCT = 1024
ROWS_PER_NARROW_PRODUCT = 256
NARROW = 64  # stacked units
FEW = 128  # up to so many stacked units, one call for many whole products is faster than one call per strip
ROWS_OF_STRIP = 1024  # units whose products are computed at once; those left of the diagonal mirror others
IN_CACHE = 2**18  # entries of a block of shifted samples
AT_ONCE = 2**27  # entries of all products that a GPU computes at once


class Accumulator:
    """Adds samples to joint moments on one device. Products in float32 or float64, sums of products in float64."""

    def __init__(self, widths: Sequence[int], pilot: np.ndarray, device: torch.device) -> None:
        import torch

        self.widths, self.bounds, self.device = list(widths), offsets(widths), device
        units = self.bounds[-1]
        self.step = ROWS_PER_PRODUCT if units >= NARROW else ROWS_PER_NARROW_PRODUCT
        self.pilot = torch.from_numpy(pilot).to(device)
        self.count = 0
        self.total = torch.zeros(units, dtype=torch.float64, device=device)
        self.minimum = torch.full((units,), torch.inf, device=device)
        self.maximum = torch.full((units,), -torch.inf, device=device)
        self.active = torch.zeros(units, dtype=torch.int64, device=device)
        self.gram = [
            torch.zeros(width, units - start, dtype=torch.float64, device=device)
            for width, start in zip(self.widths, self.bounds, strict=False)
        ]
        # Buffers for a CPU: a block of shifted samples, and the products of its pieces of ``step`` samples.
        pieces = max(1, IN_CACHE // (self.step * units)) if units <= FEW else 1
        entries = pieces * units**2 if units <= FEW else min(ROWS_OF_STRIP, max(self.widths)) * units
        on_cpu = device.type == "cpu"
        self.shifted = torch.empty(pieces * self.step if on_cpu else 0, units)
        self.products = torch.empty(entries if on_cpu else 0)

    def add(self, activations: Sequence[Tensor]) -> None:
        """Add the same samples of every network: one (samples, S_n) tensor per network, in network order."""
        if self.device.type == "cpu":
            self._add_on_cpu([values.numpy() for values in activations])
        else:
            self._add_on_gpu(activations)
        self.count += len(activations[0])

    def add_in_float64(self, activations: Sequence[Tensor]) -> None:
        """The same with float64 products, for layers of few samples: a float32 product loses units that seldom fire."""
        import torch

        values = torch.empty(0, dtype=torch.float64, device=self.device)
        torch.cat(list(activations), 1, out=values)
        self.active += (values > 0).sum(0)
        values -= self.pilot
        self.total += values.sum(0)
        torch.minimum(self.minimum, values.amin(0).float(), out=self.minimum)
        torch.maximum(self.maximum, values.amax(0).float(), out=self.maximum)
        for strip, first, last in zip(self.gram, self.bounds, self.bounds[1:], strict=False):
            strip.addmm_(values[:, first:last].T, values[:, first:])
        self.count += len(values)

    def is_finite(self) -> bool:
        """Whether every activation added was finite."""
        import torch

        return bool(torch.isfinite(self.total).all())

    def _add_on_cpu(self, activations: Sequence[np.ndarray]) -> None:
        pilot, shifted, total = self.pilot.numpy(), self.shifted.numpy(), self.total.numpy()
        minimum, maximum, active = self.minimum.numpy(), self.maximum.numpy(), self.active.numpy()
        for start in range(0, len(activations[0]), len(shifted)):
            rows = min(len(shifted), len(activations[0]) - start)
            for values, first in zip(activations, self.bounds, strict=False):
                _shift(values[start : start + rows], first, pilot, shifted, total, minimum, maximum, active)
            if shifted.shape[1] > FEW:
                self._multiply_strips(self.shifted[:rows])
            else:
                padded = -(-rows // self.step) * self.step
                shifted[rows:padded] = 0  # adds nothing
                self._multiply_pieces(self.shifted[:padded].view(-1, self.step, shifted.shape[1]))

    def _multiply_strips(self, block: Tensor) -> None:
        import torch

        for strip, first in zip(self.gram, self.bounds, strict=False):
            for row in range(0, len(strip), ROWS_OF_STRIP):
                sums = strip[row : row + ROWS_OF_STRIP, row:]
                product = self.products[: sums.numel()].view(sums.shape)
                begin = first + row
                torch.mm(block[:, begin : begin + len(sums)].T, block[:, begin:], out=product)
                _add(sums.numpy(), product.numpy())

    def _multiply_pieces(self, pieces: Tensor) -> None:
        import torch

        count, _, units = pieces.shape
        products = self.products[: count * units**2].view(count, units, units)
        torch.bmm(pieces.transpose(1, 2), pieces, out=products)
        whole = products.sum(0, dtype=torch.float64)
        for strip, first, last in zip(self.gram, self.bounds, self.bounds[1:], strict=False):
            strip += whole[first:last, first:]

    def _add_on_gpu(self, activations: Sequence[Tensor]) -> None:
        import torch

        at_once = self.step * max(1, AT_ONCE // self.bounds[-1] ** 2)
        for start in range(0, len(activations[0]), at_once):
            block = torch.cat([values[start : start + at_once] for values in activations], 1)
            self.active += (block > 0).sum(0)
            block -= self.pilot
            self.total += block.sum(0, dtype=torch.float64)
            low, high = torch.aminmax(block, dim=0)
            torch.minimum(self.minimum, low, out=self.minimum)
            torch.maximum(self.maximum, high, out=self.maximum)
            rest = -len(block) % self.step  # rows of zeros, which add nothing
            pieces = torch.nn.functional.pad(block, (0, 0, 0, rest)).view(-1, self.step, block.shape[1])
            for n, strip in enumerate(self.gram):
                of_net = pieces[:, :, self.bounds[n] : self.bounds[n + 1]]
                products = torch.bmm(of_net.transpose(1, 2), pieces[:, :, self.bounds[n] :])
                strip += products.sum(0, dtype=torch.float64)

    def moments(self) -> Moments:
        """The moments of all samples added so far."""
        for strip in self.gram:
            for row in range(ROWS_OF_STRIP, len(strip), ROWS_OF_STRIP):
                below = strip[row : row + ROWS_OF_STRIP, :row]
                below.copy_(strip[:row, row : row + len(below)].T)
        return Moments(
            widths=np.array(self.widths),
            pilot=self.pilot.cpu().numpy(),
            count=np.array(self.count),
            total=self.total.cpu().numpy(),
            minimum=self.minimum.cpu().numpy(),
            maximum=self.maximum.cpu().numpy(),
            active=self.active.cpu().numpy(),
            blocks=from_strips([strip.cpu().numpy() for strip in self.gram], self.widths),
        )


@njit(cache=True, nogil=True)
def _shift(
    values: NDArray[np.float32],
    first: int,
    pilot: NDArray[np.float32],
    shifted: NDArray[np.float32],
    total: NDArray[np.float64],
    minimum: NDArray[np.float32],
    maximum: NDArray[np.float32],
    active: NDArray[np.int64],
) -> None:
    """Write values (samples, S) minus the pilot from column ``first`` on, and update the sums and extremes.

    The float32 sums run over no more samples than one product does.
    """
    samples, units = values.shape
    last = first + units
    mean, low, high = pilot[first:last], minimum[first:last], maximum[first:last]
    sums, counts = np.zeros(units, np.float32), np.zeros(units, np.int32)
    for begin in range(0, samples, ROWS_PER_NARROW_PRODUCT):
        for i in range(begin, min(begin + ROWS_PER_NARROW_PRODUCT, samples)):
            row, out = values[i], shifted[i, first:last]
            for u in range(units):
                x = row[u]
                y = x - mean[u]
                out[u] = y
                sums[u] += y
                low[u] = y if y < low[u] else low[u]
                high[u] = y if y > high[u] else high[u]
                counts[u] += np.int32(x > np.float32(0))
        for u in range(units):
            total[first + u] += sums[u]
            sums[u] = 0
    for u in range(units):
        active[first + u] += counts[u]


@njit(cache=True, nogil=True)
def _add(sums: NDArray[np.float64], values: NDArray[np.float32]) -> None:
    """sums += values (rows, columns); PyTorch is several times slower at this."""
    for i in range(len(sums)):
        into, row = sums[i], values[i]
        for j in range(len(row)):
            into[j] += row[j]
