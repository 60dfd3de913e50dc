"""Which axes count images, units and positions, against hooks of plain PyTorch on the same networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import timm
import torch
import transformers
from torch import Tensor, nn

import raycv
from raycv.analysis.arrays import Floats
from raycv.errors import UserError
from raycv.networks.taps import Taps, activation


class Block(nn.Module):
    """A block of a transformer that takes and gives (tokens, images, units)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention, self.mlp = nn.MultiheadAttention(width, 2), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.mlp(x + self.attention(x, x, x)[0]).relu()
        return found


class Tokens(nn.Module):
    """The same network with its tokens first or its images first."""

    def __init__(self, *, first: bool, seed: int = 0, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.blocks = first, nn.Sequential(Block(width), Block(width))

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            return self.blocks(x.transpose(0, 1)).mean(0)  # type: ignore[no-any-return]
        for block in self.blocks:
            cast(Block, block).attention.batch_first = True
        return self.blocks(x).mean(1)  # type: ignore[no-any-return]


def recorded(net: nn.Module, path: str, data: list[Any], turned: Callable[[Any], Tensor], call: int = 0) -> Floats:
    """(samples, units): what a module of a network gives, by a hook, made into samples by ``turned``."""
    found: list[Any] = []
    handle = net.get_submodule(path).register_forward_hook(lambda _m, _a, out: found.append(out))
    with torch.no_grad():
        for batch in data:
            at = len(found)
            net.eval()(batch)
            found[at:] = [turned(found[at + call])]
    handle.remove()
    samples: Floats = torch.cat([one.reshape(-1, one.shape[-1]) for one in found]).double().numpy()
    return samples


def assert_correlations(found: raycv.Comparison, a: str, b: str, x: Floats, y: Floats) -> None:
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.corrcoef(x, y, rowvar=False)[: x.shape[1], x.shape[1] :]
    (net_a, layer_a), (net_b, layer_b) = (name.split("/", 1) for name in (a, b))
    got = found.correlation((layer_a, layer_b), net_a, net_b)
    assert got.shape == expected.shape
    known = ~np.isnan(got)
    assert known.mean() > 0.2
    np.testing.assert_allclose(got[known], expected[known], atol=5e-6)


def tokens(images: int = 12, length: int = 5, width: int = 8, batches: int = 5) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(images, length, width, generator=generator) for _ in range(batches)]


@pytest.mark.parametrize(("images", "length", "width"), [(12, 5, 8), (5, 5, 8), (8, 8, 8), (8, 5, 8)])
def test_tokens_first_and_images_first_are_the_same(images: int, length: int, width: int) -> None:
    one, other, data = Tokens(first=True), Tokens(first=False), tokens(images, length, width)
    other.load_state_dict(one.state_dict())
    third = Tokens(first=True, seed=1)
    for positions, turned in (
        ("same", lambda out: out.transpose(0, 1)),
        ("mean", lambda out: out.mean(0)),
    ):
        nets: dict[str, Any] = {"first": one, "later": other, "third": third}
        found = raycv.compare(nets, data, layers=["blocks.*.mlp", "blocks.1"], positions=positions)  # type: ignore[arg-type]
        assert found.samples == 5 * images * (length if positions == "same" else 1)
        for layer in ("blocks.0.mlp", "blocks.1"):
            same = np.diagonal(found.correlation(layer, "first", "later"))
            np.testing.assert_allclose(same[~np.isnan(same)], 1, atol=1e-5)
            x, y = (recorded(net, layer, data, turned) for net in (one, third))
            assert_correlations(found, f"first/{layer}", f"third/{layer}", x, y)


def test_the_passes_of_a_run_find_the_axes_too() -> None:
    net, (batch, *_) = Tokens(first=True), tokens(5)
    taken = Taps(net.eval(), ["blocks.1"], "logits")(batch)["blocks.1"]
    with torch.no_grad():
        expected = net.blocks(batch.transpose(0, 1)).permute(1, 2, 0)
    torch.testing.assert_close(taken, expected)
    torch.testing.assert_close(activation(net, "blocks.1", "logits", batch[:3]), expected[:3])


def test_windows_are_positions_of_their_images() -> None:
    nets: dict[str, Any] = {}
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        nets[name] = timm.create_model(
            "swin_tiny_patch4_window7_224", img_size=56, window_size=7, embed_dim=8, depths=(2,), num_heads=(2,)
        )
    data, layer = [torch.randn(3, 3, 56, 56) for _ in range(4)], "layers.0.blocks.1.attn"
    found = raycv.compare(nets, data, layers=[layer], positions="mean")
    assert found.samples == 12
    x, y = (recorded(net, layer, data, lambda out: out.reshape(3, -1, 8).mean(1)) for net in nets.values())
    assert_correlations(found, f"a/{layer}", f"b/{layer}", x, y)
    assert raycv.compare(nets, data, layers=[layer]).samples == 12 * 4 * 49


class Crops(nn.Module):
    """Passes several crops of an image; those of one image lie together, or the first crops of all images do."""

    def __init__(self, *, together: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.together, self.conv, self.last = together, nn.Conv2d(3, 6, 2), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        crops = [x[..., :4], x[..., 1:5], x[..., 2:]]
        batch = torch.stack(crops, 1).flatten(0, 1) if self.together else torch.cat(crops)
        found: Tensor = self.last(self.conv(batch).mean((2, 3)))
        return found


def test_crops_in_either_order_are_positions_of_their_images() -> None:
    data = [torch.randn(4, 3, 4, 6) for _ in range(5)]
    nets = {"a": Crops(together=True), "b": Crops(together=False)}
    for positions in ("same", "mean"):
        found = raycv.compare(nets, data, positions=positions, layers=["last"])
        assert found.samples == 5 * 4 * (3 if positions == "same" else 1)
        np.testing.assert_allclose(np.diagonal(found.correlation("last", "a", "b")), 1, atol=1e-5)


class WithPositions(nn.Module):
    """An embedding of positions that has no axis of images, and a map of attention."""

    def __init__(self, length: int = 6, width: int = 6) -> None:
        super().__init__()
        self.embed, self.drop, self.query = nn.Embedding(length, width), nn.Dropout(0.5), nn.Linear(width, width)
        self.softmax, self.last = nn.Softmax(-1), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop(self.embed(torch.arange(x.shape[1], device=x.device)))
        heads = self.query(x).unflatten(2, (2, -1)).transpose(1, 2)
        weights = self.softmax(heads @ heads.transpose(-1, -2))
        found: Tensor = self.last((weights @ heads).transpose(1, 2).flatten(2))
        return found


def test_what_has_no_axis_of_images_or_no_axis_of_units_is_left_out_with_the_reason() -> None:
    nets, data = {"a": WithPositions(), "b": WithPositions()}, tokens(3, 6, 6)
    found = raycv.compare(nets, data)
    assert [member.layer for member in found.members if member.net == "a"] == ["query", "last"]
    assert found.left_out["a/drop"] == "it gives 6 x 6 for 6 images, and none of its axes follows the number of images"
    for layer, message in (
        ("embed", "Layer 'embed' of a cannot be compared: .* none of its axes follows the number of images"),
        ("softmax", "Layer 'softmax' of a cannot be compared: .* two axes count positions, as maps of attention have"),
    ):
        with pytest.raises(UserError, match=message):
            raycv.compare(nets, data, layers=[layer])
    found = raycv.compare(nets, data, layers=["softmax"], unit_axis={"softmax": 1})
    assert found.samples == 15 * 36
    x, y = (recorded(net, "softmax", data, lambda out: out.movedim(1, -1)) for net in nets.values())
    assert_correlations(found, "a/softmax", "b/softmax", x, y)


@pytest.mark.parametrize("length", [32, 16, 128, 7])
def test_neurons_of_a_gpt2_with_as_many_tokens_as_units(length: int) -> None:
    config = transformers.GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=50, n_positions=128)
    nets: dict[str, Any] = {}
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        nets[name] = transformers.GPT2Model(config)
    data, layer = [torch.randint(50, (3, length)) for _ in range(2)], "h.0.mlp.act"
    found = raycv.compare(nets, data, layers=[layer, "h.0", "h.0.mlp.c_fc", "h.0.attn.c_attn"])
    assert found.samples == 6 * length
    x, y = (recorded(net, layer, data, lambda out: out) for net in nets.values())
    assert x.shape[1] == 128
    assert_correlations(found, f"a/{layer}", f"b/{layer}", x, y)
    widths = found.units().query("net == 'a'").groupby("layer", sort=False)["unit"].size().to_dict()
    assert widths == {"h.0": 32, "h.0.attn.c_attn": 96, "h.0.mlp.c_fc": 128, "h.0.mlp.act": 128}


class ChannelsLast(nn.Module):
    """A convolution as Keras has it: (B, H, W, C), its weights in a list of parameters of another shape."""

    def __init__(self, channels: int, units: int) -> None:
        super().__init__()
        self.variables = nn.ParameterList([torch.randn(3, 3, channels, units), torch.randn(units)])

    def forward(self, x: Tensor) -> Tensor:
        kernel, bias = self.variables
        found = nn.functional.conv2d(x.movedim(-1, 1), kernel.permute(3, 2, 0, 1), bias, padding=1)
        return found.movedim(1, -1)


@pytest.mark.parametrize(("size", "units"), [(20, 16), (16, 16), (20, 20)])
def test_convolutions_of_another_library(size: int, units: int) -> None:
    torch.manual_seed(0)
    nets = {name: nn.Sequential(ChannelsLast(3, units), nn.Tanh(), ChannelsLast(units, 7)) for name in "ab"}
    data = [torch.randn(2, size, size, 3) for _ in range(2)]
    found = raycv.compare(nets, data, layers=["0", "1"])
    assert found.samples == 4 * size**2
    x, y = (recorded(net, "1", data, lambda out: out) for net in nets.values())
    assert_correlations(found, "a/1", "b/1", x, y)


def test_class_tokens_and_registers_are_what_the_model_says() -> None:
    sizes = {"img_size": (12, 20), "patch_size": 4, "embed_dim": 8, "depth": 1, "num_heads": 2, "num_classes": 0}
    plain, gap = (
        timm.models.VisionTransformer(**sizes, **more)  # type: ignore[arg-type]
        for more in ({}, {"class_token": False, "reg_tokens": 4, "global_pool": "avg"})
    )
    data, layer = [torch.randn(6, 3, 12, 20) for _ in range(3)], "blocks.0"
    nets: dict[str, Any] = {"a": plain, "b": gap}
    found = raycv.compare(nets, data, layers=[f"{layer}:patches"])
    assert found.samples == 18 * 15  # 3 x 5 patches, of 16 and of 19 tokens
    x, y = (recorded(net, layer, data, lambda out: out[:, -15:]) for net in nets.values())
    assert_correlations(found, f"a/{layer}:patches", f"b/{layer}:patches", x, y)
    with pytest.raises(UserError, match=r"'blocks.0' has no class token, as its model says; it has 4 others"):
        raycv.compare(nets, data, layers=[f"{layer}:class"])
    with pytest.raises(UserError, match="different positions: .*a/blocks.0 16, b/norm 19"):  # 4 x 4 would be made up
        raycv.compare(nets, data, compare=[(layer, "norm")], positions="resample")
    with pytest.raises(UserError, match="The model does not say which tokens of 'blocks.1' are its class"):
        raycv.compare({"a": Tokens(first=False), "b": Tokens(first=True)}, tokens(), layers=["blocks.1:class"])


class Tuples(nn.Module):
    """Modules that return more than a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru = nn.LSTM(8, 6, batch_first=True, bidirectional=True), nn.GRU(12, 5)
        self.attention, self.own = nn.MultiheadAttention(5, 1), Pair()
        self.flags, self.waves, self.last = Flags(), Waves(), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Any:
        h = self.gru(self.lstm(x)[0].transpose(0, 1))[0]
        h = self.own(self.attention(h, h, h)[0])["mask"][1]
        self.flags(h), self.waves(h)
        return {"logits": self.last(h.transpose(0, 1)), "none": None}


class Pair(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"steps": 3, "mask": (torch.ones(len(x), dtype=torch.bool), x.relu(), None)}


class Flags(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x > 0


class Waves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.fft.fft(x)
        return out


def test_the_first_tensor_of_activations_is_taken_of_whatever_a_module_returns() -> None:
    torch.manual_seed(0)
    nets, data = {"a": Tuples(), "b": Tuples()}, tokens(4, 3)
    found = raycv.compare(nets, data)
    assert [m.layer for m in found.members if m.net == "a"] == ["lstm", "gru", "attention", "own", "last"]
    assert found.left_out["b/flags"] == "its output is bool, which are no activations"
    assert found.left_out["b/waves"] == "its output is complex64, which are no activations"
    for layer, turned in (
        ("lstm", lambda out: out[0]),
        ("gru", lambda out: out[0].transpose(0, 1)),
        ("attention", lambda out: out[0].transpose(0, 1)),
        ("own", lambda out: out["mask"][1].transpose(0, 1)),
    ):
        x, y = (recorded(net, layer, data, turned) for net in nets.values())
        assert_correlations(found, f"a/{layer}", f"b/{layer}", x, y)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.one, self.two, self.relu, self.last = nn.Linear(8, 6), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)
        self.again = self.last

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.again(self.relu(self.two(self.relu(self.one(x)))))
        return found


def test_calls_and_second_names_of_a_module() -> None:
    nets, data = {"a": Twice(), "b": Twice()}, [torch.randn(20, 8) for _ in range(3)]
    found = raycv.compare(nets, data)
    assert [m.layer for m in found.members if m.net == "a"] == ["one", "relu#1", "two", "relu#2", "last"]
    assert [m.layer for m in raycv.compare(nets, data, layers="relu*").members][::2] == ["relu#1", "relu#2"]
    for call in (0, 1):
        x = recorded(nets["a"], "relu", data, lambda out: out, call)
        assert_correlations(found, f"a/relu#{call + 1}", f"b/relu#{call + 1}", x, x)
    second = raycv.compare(nets, data, layers=["again"])
    assert [str(member) for member in second.members] == ["a/again", "b/again"]
    np.testing.assert_array_equal(second.units()["mean"], found.units().query("layer == 'last'")["mean"])
    with pytest.raises(UserError, match=r"Layer 'relu' of a runs 2 times .* name one of its calls, relu#1 to relu#2"):
        raycv.compare(nets, data, layers=["relu"])


class Squeezes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool, self.last = nn.Conv2d(3, 5, 2), nn.AdaptiveAvgPool2d(1), nn.Linear(5, 4)
        self.squeeze = Squeeze()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(self.squeeze(self.pool(self.conv(x))))
        return found


class Squeeze(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.squeeze()


@pytest.mark.parametrize("sizes", [(4, 4, 1), (1, 4, 4), (1,) * 9])
def test_batches_of_one_image(sizes: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    nets, images = {"a": Squeezes(), "b": Squeezes()}, torch.randn(9, 3, 4, 4)[: sum(sizes)]
    found = raycv.compare(nets, list(torch.split(images, list(sizes))), layers=["squeeze", "last"])
    assert found.samples == sum(sizes)
    with torch.no_grad():
        x, y = (net.last(net.squeeze(net.pool(net.conv(images)))).double().numpy() for net in nets.values())
    assert_correlations(found, "a/last", "b/last", x, y)


def test_blocks_of_other_libraries() -> None:
    t5 = transformers.T5Config(d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, vocab_size=30)
    swin = transformers.SwinConfig(image_size=28, patch_size=4, embed_dim=8, depths=[1], num_heads=[2], window_size=7)
    texts, images = [torch.randint(30, (4, 6)) for _ in range(2)], [torch.randn(4, 3, 28, 28) for _ in range(2)]
    cases: list[tuple[Any, Any, list[Tensor], str]] = [
        (t5, transformers.T5EncoderModel, texts, "encoder.block.0"),
        (swin, transformers.SwinModel, images, "encoder.layers.0.blocks.0"),
    ]
    for config, kind, data, layer in cases:
        nets: dict[str, Any] = {name: kind(config) for name in "ab"}
        found = raycv.compare(nets, data, layers=[layer])
        x, y = (
            recorded(net, layer, data, lambda out: out[0] if isinstance(out, tuple) else out) for net in nets.values()
        )
        assert_correlations(found, f"a/{layer}", f"b/{layer}", x, y)


def test_networks_that_need_values_are_run_at_other_lengths_too() -> None:
    """Blocks that look at values, with as many tokens as units or heads, and one that turns its axes around inside."""
    sizes: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 40}
    sizes |= {"num_hidden_layers": 1, "max_position_embeddings": 64}
    alone: dict[str, Any] = {
        f"{part}_groups": 1 for part in ("q", "k", "v", "post_attention", "intermediate", "output")
    }
    squeeze = transformers.SqueezeBertConfig(**sizes, **alone, embedding_size=16)
    nystrom = transformers.NystromformerConfig(**sizes, num_landmarks=4, segment_means_seq_len=4)
    own, turned = "encoder.layer.0.attention.self", "encoder.layers.0.post_attention.layernorm"
    cases: list[tuple[Any, Any, str, Callable[[Any], Tensor]]] = [
        (nystrom, transformers.NystromformerModel, own, lambda out: out[0]),
        (squeeze, transformers.SqueezeBertModel, turned, lambda out: out.transpose(1, 2)),
    ]
    data = [torch.randint(40, (4, 16)) for _ in range(2)]
    for config, kind, layer, tokens_last in cases:
        nets: dict[str, Any] = {name: kind(config) for name in "ab"}
        found = raycv.compare(nets, data)
        x, y = (recorded(net, layer, data, tokens_last) for net in nets.values())
        assert x.shape == (8 * 16, 16)
        assert_correlations(found, f"a/{layer}", f"b/{layer}", x, y)
        maps = [layer for layer in found.left_out if layer.endswith(("softmax", "matmul_qk"))]
        assert all("where two axes count positions" in found.left_out[layer] for layer in maps)
        assert maps or kind is transformers.NystromformerModel


class Heads(nn.Module):
    """Attention of a fixed number of tokens, with its heads beside the images, and a gated neuron behind it."""

    def __init__(self, tokens: int = 16, width: int = 8) -> None:
        super().__init__()
        self.positions, self.first = nn.Parameter(torch.randn(tokens, width)), nn.Linear(width, 3 * width)
        self.queries, self.weights = nn.Identity(), nn.Softmax(-1)
        self.gated, self.value, self.last = nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.first(x + self.positions).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = parts.flatten(1, 2)
        mixed = self.weights(self.queries(q) @ k.transpose(1, 2)) @ v
        gate, value = self.gated(mixed.unflatten(0, (-1, 2)).transpose(1, 2).flatten(2)).chunk(2, -1)
        found: Tensor = self.last(gate * self.value(value))
        return found


def test_units_are_not_guessed_where_a_network_takes_one_length() -> None:
    """16 tokens of 8 units: the value of a gated neuron has as many tokens as the map before it has units."""
    nets, data = {"a": Heads(), "b": Heads()}, tokens(6, 16, 8)
    found = raycv.compare(nets, data)
    assert [member.layer for member in found.members if member.net == "a"] == ["first", "gated", "last"]
    for layer in ("queries", "weights", "value"):
        assert "more than one axis may count units; say which with unit_axis" in found.left_out[f"a/{layer}"]
    asked = raycv.compare(nets, data, layers=["value"], unit_axis=-1)
    x, y = (recorded(net, "value", data, lambda out: out) for net in nets.values())
    assert_correlations(asked, "a/value", "b/value", x, y)


def test_normalisation_over_whole_maps_says_nothing_of_units() -> None:
    nets: dict[str, Any] = {
        name: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.LayerNorm([4, 6, 6]), nn.Flatten(), nn.Linear(144, 3))
        for name in "ab"
    }
    data = [torch.randn(5, 3, 6, 6) for _ in range(3)]
    found = raycv.compare(nets, data, layers=["1"])
    x, y = (recorded(net, "1", data, lambda out: out.movedim(1, -1)) for net in nets.values())
    assert x.shape == (15 * 36, 4)
    assert_correlations(found, "a/1", "b/1", x, y)


class MapFirst(nn.Module):
    """A block that returns the map of its attention before what it gives, or what cannot be told before it."""

    def __init__(self, *, unclear: bool) -> None:
        super().__init__()
        self.unclear, self.linear, self.inner = unclear, nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, inner = self.linear(x), self.inner(x)
        first = inner.unflatten(-1, (2, 2)) if self.unclear else h @ h.transpose(1, 2)
        return first, h


def test_another_tensor_is_not_taken_for_one_whose_axes_are_unclear() -> None:
    data = tokens(4, 5, 8)
    for unclear in (False, True):
        nets = {name: nn.Sequential(MapFirst(unclear=unclear)) for name in "ab"}
        found = raycv.compare(nets, data)
        if unclear:
            assert "more than one axis may count units" in found.left_out["a/0"]
            continue
        x, y = (recorded(net, "0", data, lambda out: out[1]) for net in nets.values())
        assert_correlations(found, "a/0", "b/0", x, y)
