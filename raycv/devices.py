"""The processors on which PyTorch computes: which there are, what they are called, and what each can do.

The only module that knows their kinds. It asks PyTorch and not Ray, whose label "GPU" also stands for those of Apple
and Intel, and for what somebody said to `ray start`. Where a device has no float64, as Apple's have none, what must
be summed in it is summed on the CPU (`for_float64`).
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from raycv.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Device = Literal["auto", "cpu", "gpu"]  # as the settings name it


@dataclass(frozen=True)
class Processors:
    """Which processors a user wants: ``device``, and at most so many ``gpus``; None is no limit."""

    device: Device = "auto"
    gpus: int | None = None


@dataclass(frozen=True)
class Usable:
    """What PyTorch can use in one process: ``kind`` of accelerator, "CPU" where there is none, and then ``why``."""

    kind: str
    float64: bool = True
    why: str = ""


def found() -> Usable:
    """What PyTorch can use in this process, tried out by an addition."""
    import torch

    device = torch.accelerator.current_accelerator()
    if device is None:
        return Usable("CPU", why=f"PyTorch {torch.__version__} was built for CPUs alone")
    if not torch.accelerator.is_available():
        return Usable("CPU", why=f"PyTorch {torch.__version__} finds no {kind(device)} device")
    try:
        (torch.ones(2, device=device) + 1).cpu()
    except (RuntimeError, NotImplementedError) as error:
        return Usable("CPU", why=str(error).strip().splitlines()[0].rstrip("."))
    return Usable(kind(device), has_float64(device))


def kind(device: torch.device | str) -> str:
    """What a device is called in what is printed and recorded: CPU, CUDA, ROCm, MPS, XPU or PyTorch's name for it."""
    import torch

    name = torch.device(device).type
    return "ROCm" if name == "cuda" and torch.version.hip else name.upper()


@lru_cache  # tried once in a process
def of_worker(*, use_gpu: bool) -> torch.device:
    """Where a worker computes to which Ray has given a GPU, or none.

    Raises UserError where PyTorch cannot use the GPU.
    """
    import torch

    if not use_gpu:
        return torch.device("cpu")
    there, device = found(), torch.accelerator.current_accelerator()
    if there.kind == "CPU" or device is None:
        raise UserError(unusable(platform.node(), there.why))
    return device


def unusable(node: str, why: str) -> str:
    """The sentence on a node whose GPU PyTorch cannot use."""
    return (
        f"Ray counts a GPU on {node} that PyTorch cannot use ({why}); use --device cpu, or start Ray on that node with "
        "--num-gpus=0."
    )


def local(device: Device) -> torch.device:
    """Where this process computes what needs float64, outside of Ray's bookkeeping: auto uses what there is."""
    import torch

    there = found() if device != "cpu" else Usable("CPU")
    accelerator = torch.accelerator.current_accelerator() if there.kind != "CPU" and there.float64 else None
    return accelerator or torch.device("cpu")


@lru_cache
def _adds_float64(name: str) -> bool:
    import torch

    try:
        (torch.ones(2, dtype=torch.float64, device=name) + 1).cpu()
    except (RuntimeError, TypeError, NotImplementedError):  # MPS raises a TypeError, an XPU without them a RuntimeError
        return False
    return True


def has_float64(device: torch.device | str) -> bool:
    """Whether a device computes in double precision."""
    import torch

    name = torch.device(device).type
    return name in ("cpu", "cuda") or _adds_float64(name)


def for_float64(device: torch.device | str) -> torch.device:
    """The same device, or the CPU where it has no float64."""
    import torch

    return torch.device(device) if has_float64(device) else torch.device("cpu")


def in_float64(values: Tensor) -> Tensor:
    """The same values in float64, where they are or on the CPU."""
    return values.to(for_float64(values.device)).double()


def is_cuda(device: torch.device) -> bool:
    """Whether a device has what CUDA has, ROCm included: streams, pinned memory, fused updates of the weights."""
    return device.type == "cuda"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether hardware multiplies bfloat16; of accelerators that are not CUDA's this is not asked."""
    import torch

    if is_cuda(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(able.get(name) for name in ("avx512_bf16", "amx_bf16"))


def settle(device: torch.device) -> None:
    """Have this process compute the same on ``device`` wherever and whenever it does, in the precision asked for."""
    import torch

    if device.type == "cpu" or not has_float64(device):
        torch.set_num_threads(1)  # with several, the rounding of a product would depend on their number
    if device.type != "cpu":
        torch.backends.cudnn.allow_tf32 = False  # PyTorch's default: float32 convolutions of ten bits
        torch.backends.cudnn.deterministic = True


class Copies:
    """Copies to a device; of CUDA's in a stream of their own, while the device computes."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self._device = device
        self._stream = torch.cuda.Stream(device) if is_cuda(device) else None  # type: ignore[no-untyped-call]

    def of(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """The same tensors on the device, once they are there."""
        import torch

        with torch.cuda.stream(self._stream) if self._stream is not None else nullcontext():
            copied = [part.to(self._device, non_blocking=self._stream is not None) for part in parts]
        if self._stream is not None:
            self._stream.synchronize()
        return copied

    def use(self, parts: Sequence[Tensor]) -> None:
        """To be called before copies are used: their memory is not for the next ones until that has ended."""
        import torch

        if self._stream is not None:
            for part in parts:
                part.record_stream(torch.cuda.current_stream(self._device))


def random_states() -> list[Tensor]:
    """The states of PyTorch's generators: the CPU's, and those of the accelerators that this process has used."""
    import torch

    module = _module_in_use()
    if module is None:
        return [torch.get_rng_state()]
    of_devices = getattr(module, "get_rng_state_all", lambda: [module.get_rng_state()])
    return [torch.get_rng_state(), *of_devices()]


def set_random_states(states: Sequence[Tensor]) -> None:
    """Put back what `random_states` gave."""
    import torch

    torch.set_rng_state(states[0])
    module = _module_in_use()
    if module is None or len(states) == 1:
        return
    if hasattr(module, "set_rng_state_all"):
        module.set_rng_state_all(states[1:])
    else:
        module.set_rng_state(states[1])


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Leave PyTorch's generators as they were, whatever is drawn meanwhile."""
    states = random_states()
    try:
        yield
    finally:
        set_random_states(states)


def _module_in_use() -> Any:
    """What PyTorch has for the accelerator of this process, such as `torch.cuda`; None until that has been used."""
    import torch

    device = torch.accelerator.current_accelerator(check_available=True)
    if device is None:
        return None
    module = torch.get_device_module(device)
    return module if getattr(module, "is_initialized", lambda: True)() else None
