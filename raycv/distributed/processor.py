"""The processor on which a process runs networks."""

from __future__ import annotations

import torch


def settle(device: torch.device) -> None:
    """Have this process compute the same on ``device`` wherever and whenever it does, in the precision asked for."""
    if device.type == "cpu":
        torch.set_num_threads(1)  # with several, the rounding of a product would depend on their number
    else:
        torch.backends.cudnn.allow_tf32 = False  # PyTorch's default: float32 convolutions of ten bits
        torch.backends.cudnn.deterministic = True
