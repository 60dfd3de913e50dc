"""A few weights of every tensor of a network, by which networks that share their first weights are told."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

OF_EACH = 1024  # weights of a tensor
KINDS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
FEWEST = 64  # weights of a tensor that counts; biases and what scales units, of one axis, do not


def sampled(weights: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Weights (1024,) float32 of every tensor of two axes or more; at the same places in tensors of one name and shape.

    They are drawn with replacement, by name and shape, which are the key.
    """
    found = {}
    for name, values in weights.items():
        if _is_plain(values) and values.ndim > 1 and values.numel() >= FEWEST:
            key = f"{name} {'x'.join(map(str, values.shape))}"
            chosen = np.random.default_rng(zlib.crc32(key.encode())).integers(values.numel(), size=OF_EACH)
            places = [torch.from_numpy(at).to(values.device) for at in np.unravel_index(chosen, values.shape)]
            found[key] = values.detach()[tuple(places)].float().cpu().numpy()
    return found


def _is_plain(values: Tensor) -> bool:
    return not is_lazy(values) and values.dtype in KINDS and values.layout == torch.strided and not values.is_meta
