"""Adding activations to joint moments: float32 products of blocks of samples, summed in float64.

Where samples are few, their products are in float64 too.

On a CPU, one kernel reads each block of samples once. It shifts the block, takes its sums and extremes, and writes it
next to the blocks of the other networks, into a buffer that fits the cache. The products read that buffer. The total
cost is little more than that of the upper strips of one float32 product XᵀX (`benchmarks/README.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from raycv.statistics.moments import JointMoments, from_strips, offsets

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
IN_RANGE = 30  # powers of two by which a unit's largest value may differ from the one that it is divided by
LARGEST_EXPONENT, SMALLEST_EXPONENT = 1000, 500
FAR = 16.0  # variances between the square of a unit's mean and of its centre, from where products lose digits


class Accumulator:
    """Adds samples to joint moments on one device. Products in float32 or float64, sums of products in float64.

    What is multiplied is y = (x - centre) / 2^exponent, unit by unit: the centre is the pilot until a unit's mean is
    far from it, and the exponent 0 until a unit's values are so small or large that their products would leave the
    range of float32. Activations in float64 lose nothing before the centre is subtracted.
    """

    def __init__(self, widths: Sequence[int], pilot: np.ndarray, device: torch.device) -> None:
        import torch

        self.widths, self.bounds, self.device = list(widths), offsets(widths), device
        units = self.bounds[-1]
        self.step = ROWS_PER_PRODUCT if units >= NARROW else ROWS_PER_NARROW_PRODUCT
        self.pilot = torch.from_numpy(pilot.astype(np.float64)).to(device)
        self.count = 0
        self.total = torch.zeros(units, dtype=torch.float64, device=device)
        self.lowest = torch.full((units,), torch.inf, dtype=torch.float64, device=device)  # of x, not of y
        self.highest = torch.full((units,), -torch.inf, dtype=torch.float64, device=device)
        self.active = torch.zeros(units, dtype=torch.int64, device=device)
        self.gram = [
            torch.zeros(width, units - start, dtype=torch.float64, device=device)
            for width, start in zip(self.widths, self.bounds, strict=False)
        ]
        self._is_single = torch.ones(units, dtype=torch.bool, device=device)  # units of which no float64 was added
        self._exponent = torch.zeros(units, dtype=torch.int64, device=device)
        self._centre = self.pilot.clone()
        self._prepare()
        # Buffers for a CPU: a block of shifted samples, and the products of its pieces of ``step`` samples.
        pieces = max(1, IN_CACHE // (self.step * units)) if units <= FEW else 1
        entries = pieces * units**2 if units <= FEW else min(ROWS_OF_STRIP, max(self.widths)) * units
        on_cpu = device.type == "cpu"
        self.shifted = torch.empty(pieces * self.step if on_cpu else 0, units)
        self.products = torch.empty(entries if on_cpu else 0)

    def add(self, activations: Sequence[Tensor]) -> None:
        """Add the same samples of every network: one (samples, S_n) tensor per network, in network order."""
        import torch

        for values, units in zip(activations, self._units(), strict=True):
            if values.dtype == torch.float64:
                self._is_single[units] = False
        on_cpu = self.device.type == "cpu"
        at_once = len(self.shifted) if on_cpu else self.step * max(1, AT_ONCE // self.bounds[-1] ** 2)
        for start in range(0, len(activations[0]), at_once):
            block = [values[start : start + at_once] for values in activations]
            (self._add_on_cpu if on_cpu else self._add_on_gpu)(block)
            self.count += len(block[0])
            self._recentre()

    def add_in_float64(self, activations: Sequence[Tensor]) -> None:
        """The same with float64 products, for layers of few samples: a float32 product loses units that seldom fire."""
        import torch

        values = torch.empty(0, dtype=torch.float64, device=self.device)
        torch.cat(list(activations), 1, out=values)
        self._is_single[:] = False
        self.active += (values > 0).sum(0)
        self._note_extremes(*torch.aminmax(values, dim=0))
        if self._exponent.any():
            values *= self._scale
        values -= self._centre * self._scale
        self.total += values.sum(0)
        for strip, units in zip(self.gram, self._units(), strict=True):
            strip.addmm_(values[:, units].T, values[:, units.start :])
        self.count += len(values)
        self._recentre()

    def is_finite(self) -> bool:
        """Whether every activation added was finite."""
        import torch

        return bool(torch.isfinite(self.total).all())

    def _units(self) -> list[slice]:
        """Where each network's units stand among the stacked ones."""
        return [slice(first, last) for first, last in zip(self.bounds, self.bounds[1:], strict=False)]

    # -- the range and the centre of each unit ---------------------------------------------------------------------

    def _prepare(self) -> None:
        """Note by what is multiplied and what is subtracted, in single precision for networks where that is exact."""
        import torch

        self._scale = _power_of_two(-self._exponent)
        shift = self._centre * self._scale
        self._shifts: list[tuple[Tensor, Tensor]] = []
        for units in self._units():
            scale, centre = self._scale[units].float(), shift[units].float()
            exact = torch.equal(scale.double(), self._scale[units]) and torch.equal(centre.double(), shift[units])
            self._shifts.append((scale, centre) if exact else (self._scale[units], shift[units]))

    def _shift_of(self, network: int, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Activations of a network, and the scale and the shift for them, all in the precision that they need."""
        import torch

        scale, shift = self._shifts[network]
        kind = torch.promote_types(values.dtype, scale.dtype)
        return values.to(kind), scale.to(kind), shift.to(kind)

    def _note_extremes(self, lowest: Tensor, highest: Tensor) -> bool:
        """Note the extremes of activations that will be added; whether the exponents have changed with them."""
        import torch

        self.lowest = torch.minimum(self.lowest, lowest.double())
        self.highest = torch.maximum(self.highest, highest.double())
        half = self._centre / 2  # halves, as differences of the largest numbers are infinite
        extent = torch.maximum((self.highest / 2 - half).abs(), (self.lowest / 2 - half).abs())
        wanted = torch.frexp(extent).exponent.long() + 1
        far = ((wanted - self._exponent).abs() > IN_RANGE) & (extent > 0) & torch.isfinite(extent)
        if not far.any():
            return False
        wanted = torch.where(far, wanted.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT), self._exponent)
        factor = _power_of_two(self._exponent - wanted)
        self.total *= factor
        for strip, units in zip(self.gram, self._units(), strict=True):
            strip *= factor[units, None]
            strip *= factor[units.start :]
        self._exponent = wanted
        self._prepare()
        return True

    def _recentre(self) -> None:
        """Take the mean so far as the centre of units whose own is so far from it that products lose digits."""
        import torch

        offset = self.total / self.count
        squares = torch.cat([strip.diagonal() for strip in self.gram]) / self.count
        far = offset.square() > FAR * (squares - offset.square())
        if not far.any():
            return
        mean = torch.where(self.lowest == self.highest, self.lowest, self._centre + offset / self._scale)
        wanted = torch.where(far, torch.where(self._is_single, mean.float().double(), mean), self._centre)
        if not torch.equal(wanted, self._centre):
            self._move(wanted)

    def _move(self, centre: Tensor) -> None:
        """Change the centre, and the sums with it."""
        move = (centre - self._centre) * self._scale
        for strip, units in zip(self.gram, self._units(), strict=True):
            rest = slice(units.start, None)
            strip.addr_(move[units], self.total[rest], alpha=-1)
            strip.addr_(self.total[units] - self.count * move[units], move[rest], alpha=-1)
        self.total -= self.count * move
        self._centre = centre
        self._prepare()

    # -- blocks of samples -----------------------------------------------------------------------------------------

    def _add_on_cpu(self, block: list[Tensor]) -> None:
        read = self._read(block)
        if self._note_extremes(*read[1:3]):
            read = self._read(block)
        self.total += read[0]
        self.active += read[3]
        rows, shifted = len(block[0]), self.shifted
        if shifted.shape[1] > FEW:
            self._multiply_strips(shifted[:rows])
        else:
            padded = -(-rows // self.step) * self.step
            shifted[rows:padded] = 0  # adds nothing
            self._multiply_pieces(shifted[:padded].view(-1, self.step, shifted.shape[1]))

    def _read(self, block: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Shift a block into the buffer; its sums, lowest and highest values (U,) and how many are above 0."""
        import torch

        units = self.bounds[-1]
        total, lowest, highest = (np.zeros(units), np.empty(units), np.empty(units))
        active = np.zeros(units, np.int64)
        for network, (values, first) in enumerate(zip(block, self.bounds, strict=False)):
            x, scale, shift = (one.numpy() for one in self._shift_of(network, values))
            _shift(x, scale, shift, first, self.shifted.numpy(), total, lowest, highest, active)
        return torch.from_numpy(total), torch.from_numpy(lowest), torch.from_numpy(highest), torch.from_numpy(active)

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

    def _add_on_gpu(self, block: list[Tensor]) -> None:
        import torch

        lowest, highest = zip(*(torch.aminmax(values, dim=0) for values in block), strict=True)
        self._note_extremes(torch.cat([of.double() for of in lowest]), torch.cat([of.double() for of in highest]))
        self.active += torch.cat([(values > 0).sum(0) for values in block])
        parts = []
        for network, of_network in enumerate(block):
            values, scale, shift = self._shift_of(network, of_network)
            parts.append(torch.addcmul(-shift, values, scale).float())
        shifted = torch.cat(parts, 1)
        self.total += shifted.sum(0, dtype=torch.float64)
        rest = -len(shifted) % self.step  # rows of zeros, which add nothing
        pieces = torch.nn.functional.pad(shifted, (0, 0, 0, rest)).view(-1, self.step, shifted.shape[1])
        for strip, units in zip(self.gram, self._units(), strict=True):
            products = torch.bmm(pieces[:, :, units].transpose(1, 2), pieces[:, :, units.start :])
            strip += products.sum(0, dtype=torch.float64)

    def moments(self) -> JointMoments:
        """The moments of all samples added so far, around the pilot.

        Units of float64 that spread over less than 2^-500 count as constant: their squares are no numbers.
        """
        import torch

        if not torch.equal(self._centre, self.pilot):
            self._move(self.pilot)
        for strip in self.gram:
            for row in range(ROWS_OF_STRIP, len(strip), ROWS_OF_STRIP):
                below = strip[row : row + ROWS_OF_STRIP, :row]
                below.copy_(strip[:row, row : row + len(below)].T)
        total, gram = self.total, self.gram
        if self._exponent.any():
            back = torch.where(self._exponent < -SMALLEST_EXPONENT, 0.0, 1 / self._scale)
            total = total * back
            gram = [
                strip * back[units, None] * back[units.start :]
                for strip, units in zip(gram, self._units(), strict=True)
            ]
        return JointMoments(
            widths=np.array(self.widths),
            pilot=self.pilot.cpu().numpy(),
            count=np.array(self.count),
            total=total.cpu().numpy(),
            minimum=(self.lowest - self.pilot).cpu().numpy(),
            maximum=(self.highest - self.pilot).cpu().numpy(),
            active=self.active.cpu().numpy(),
            blocks=from_strips([strip.cpu().numpy() for strip in gram], self.widths),
        )

    @classmethod
    def going_on_from(cls, moments: JointMoments) -> Accumulator:
        """One that has added the samples of ``moments`` already."""
        import torch

        made = cls(moments.widths.tolist(), moments.pilot, torch.device("cpu"))
        made.count = int(moments.count)
        made.total, made.active = (torch.from_numpy(of.copy()) for of in (moments.total, moments.active))
        made.lowest = torch.from_numpy(moments.minimum + moments.pilot)
        made.highest = torch.from_numpy(moments.maximum + moments.pilot)
        made.gram = [torch.from_numpy(strip) for strip in moments.strips()]
        return made


def _power_of_two(exponent: Tensor) -> Tensor:
    """2^exponent, exactly; `torch.ldexp` goes through float32."""
    import torch

    return torch.from_numpy(np.ldexp(1.0, exponent.cpu().numpy())).to(exponent.device)


@njit(cache=True, nogil=True)
def _shift(
    values: NDArray[Any],
    scale: NDArray[Any],
    shift: NDArray[Any],
    first: int,
    shifted: NDArray[np.float32],
    total: NDArray[np.float64],
    lowest: NDArray[np.float64],
    highest: NDArray[np.float64],
    active: NDArray[np.int64],
) -> None:
    """Write values (samples, S) times the scale minus the shift from column ``first`` on, and their sums and extremes.

    Sums are in the precision of the values and run over no more samples than one product does.
    """
    samples, units = values.shape
    last = first + units
    sums, counts = np.zeros(units, values.dtype), np.zeros(units, np.int32)
    low, high = values[0].copy(), values[0].copy()
    for begin in range(0, samples, ROWS_PER_NARROW_PRODUCT):
        for i in range(begin, min(begin + ROWS_PER_NARROW_PRODUCT, samples)):
            row, out = values[i], shifted[i, first:last]
            for u in range(units):
                x = row[u]
                y = x * scale[u] - shift[u]
                out[u] = y
                sums[u] += y
                low[u] = x if x < low[u] else low[u]
                high[u] = x if x > high[u] else high[u]
                counts[u] += np.int32(x > 0)
        for u in range(units):
            total[first + u] += sums[u]
            sums[u] = 0
    for u in range(units):
        lowest[first + u], highest[first + u] = low[u], high[u]
        active[first + u] += counts[u]


@njit(cache=True, nogil=True)
def _add(sums: NDArray[np.float64], values: NDArray[np.float32]) -> None:
    """sums += values (rows, columns); PyTorch is several times slower at this."""
    for i in range(len(sums)):
        into, row = sums[i], values[i]
        for j in range(len(row)):
            into[j] += row[j]
