"""A small causal language model of bytes: GPT-2's architecture (Radford et al., 2019), normalised before each part."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS, WIDTH, HEADS = 4, 96, 4
VOCABULARY = 256  # bytes
DEVIATION = 0.02  # of first weights
LAYERS = tuple(layer for n in range(BLOCKS) for layer in (f"blocks.{n}.mlp.act", f"blocks.{n}"))


class CausalAttention(nn.Module):
    """Every position attends to those up to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs, self.outputs = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, stream: Tensor) -> Tensor:
        """(B, T, WIDTH) to the same shape."""
        texts, length, _ = stream.shape
        parts = self.inputs(stream).view(texts, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind()
        found = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        given: Tensor = self.outputs(found.transpose(1, 2).reshape(texts, length, WIDTH))
        return given


class Neurons(nn.Module):
    """A hidden layer of four times the width; ``act`` gives its neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs, self.act, self.outputs = nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, stream: Tensor) -> Tensor:
        """(B, T, WIDTH) to the same shape."""
        given: Tensor = self.outputs(self.act(self.inputs(stream)))
        return given


class Block(nn.Module):
    """Attention, then neurons, each added to the stream, which the block gives."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention, self.attention = nn.LayerNorm(WIDTH), CausalAttention()
        self.before_mlp, self.mlp = nn.LayerNorm(WIDTH), Neurons()

    def forward(self, stream: Tensor) -> Tensor:
        """(B, T, WIDTH) to the same shape."""
        stream = stream + self.attention(self.before_attention(stream))
        given: Tensor = stream + self.mlp(self.before_mlp(stream))
        return given


class SmallGPT(nn.Module):
    """Maps bytes (B, T), T at most ``context``, to logits (B, T, 256) of the byte that follows each."""

    def __init__(self, context: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(context, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.last, self.logits = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=DEVIATION)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """The logits."""
        stream = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            stream = block(stream)
        given: Tensor = self.logits(self.last(stream))
        return given
