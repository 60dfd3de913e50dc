"""A network whose units are reordered throughout computes the same, whatever the architecture."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from raycv.analysis.unit_groups import UnitGroups
from raycv.errors import UserError
from raycv.networks.models import build
from raycv.networks.taps import Taps
from raycv.networks.unit_graph.tracing import unit_groups, unit_groups_of
from tests.support.architectures import MAKERS, PARTLY_FIXED, architecture, images_for, loaded, weights_of
from tests.support.runs import spec

QUICK = (
    "alexnet",
    "resnet",
    "vit",
    "mobilenet",
    "mixture",
    "shared",
    "attention",
)  # the others take minutes and are among the longer tests
MOST = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in MAKERS]


@cache
def traced(name: str) -> UnitGroups:
    return unit_groups(architecture(name), images_for(name))


@cache
def logits_of(name: str) -> Tensor:
    with torch.inference_mode():
        found: Tensor = architecture(name)(images_for(name))
    return found


@pytest.mark.parametrize("name", MOST)
@settings(max_examples=3)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_network_with_reordered_units_gives_the_same_logits(name: str, seed: int) -> None:
    net, groups = architecture(name), traced(name)
    weights = weights_of(net)
    permuted = groups.permuted(weights, groups.drawn(seed))
    assert sum(not np.array_equal(weights[one], permuted[one]) for one in weights) > len(weights) / 2
    with torch.inference_mode():
        logits = loaded(net, permuted)(images_for(name))
    torch.testing.assert_close(logits, logits_of(name), rtol=1e-9, atol=1e-9 * float(logits_of(name).std()))


@pytest.mark.parametrize("name", MOST)
def test_all_units_can_be_moved_or_it_is_said_why_not(name: str) -> None:
    groups = traced(name)
    assert set(groups.fixed.values()) == ({PARTLY_FIXED[name]} if name in PARTLY_FIXED else set())
    weights = weights_of(architecture(name))
    free = {block.name for block in groups.blocks if block.groups and block.groups[0] is not None}
    last = list(weights)[-1].rpartition(".")[0]
    matrices = {one for one, value in weights.items() if value.ndim > 1 and len(value) > 1}
    beside = {one for one in matrices if one.endswith(("pos_embedding", "position", "relative_position_index"))}
    assert matrices - free - beside - set(groups.fixed) <= {f"{last}.weight", "classifier.1.weight"}


@pytest.mark.parametrize("name", ["resnet", "vit", "mobilenet", "densenet"])
def test_the_units_of_every_layer_move_as_said(name: str) -> None:
    net, groups = architecture(name), traced(name)
    layers = [layer for layer, blocks in groups.layers.items() if any(block.groups for block in blocks)]
    orders = groups.drawn(3)
    images = images_for(name)
    taps = Taps(net, layers, "logits")
    before = taps(images)
    loaded(net, groups.permuted(weights_of(net), orders))
    for layer, values in taps(images).items():
        expected = before[layer].index_select(1, torch.from_numpy(groups.order_of(layer, orders)))
        torch.testing.assert_close(values, expected, rtol=1e-9, atol=1e-9)


def test_the_groups_of_a_vision_transformer_are_the_known_ones() -> None:
    groups = traced("vit").groups
    heads = [number for number, group in enumerate(groups) if group.size == 4 and not group.parents]
    within = [group for group in groups if group.parents]
    assert len(heads) == 2  # one set of heads a block
    assert sorted(group.parents[0][1] or 0 for group in within) == sorted(
        2 * heads
    )  # query with key, value with output
    assert sorted(group.size for group in groups if not group.parents) == [4, 4, 16, 24, 24]  # one residual stream


def test_all_that_a_residual_stream_adds_up_is_one_group() -> None:
    groups = traced("resnet")
    names = ("layer2.0.conv2.weight", "layer2.0.downsample.0.weight", "layer2.0.bn2.running_var")
    made = [next(b.groups[0] for b in groups.blocks if b.name == name) for name in names]
    read = next(b.groups[1] for b in groups.blocks if b.name == "layer3.0.conv1.weight")
    assert {*made, read} == {made[0]}
    assert next(b.summed for b in groups.blocks if b.name == "layer3.0.conv1.weight") == (False, True, False, False)


def test_where_neighbours_are_normalised_the_order_matters_a_little_and_that_is_said() -> None:
    small = spec(1, 6)
    net, groups = build(small).double(), unit_groups_of(small)
    images = 3 * torch.randn(4, 3, 32, 32, dtype=torch.float64)
    near = {number for number, group in enumerate(groups.groups) if group.nearly}
    assert {groups.groups[number].size for number in near} == {6, 16}
    orders, weights = groups.drawn(0), weights_of(net)
    with torch.inference_mode():
        before = net(images)
        exact = loaded(net, groups.permuted(weights, {n: o for n, o in orders.items() if n not in near}))(images)
        nearly = loaded(net, groups.permuted(weights, orders))(images)
    torch.testing.assert_close(exact, before, rtol=1e-9, atol=1e-9)
    assert 1e-9 < float((nearly - before).abs().max()) < 0.1 * float(before.std())


class _Reversed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x).relu()
        out: Tensor = self.last(hidden + hidden.cumsum(1))
        return out


def test_an_operation_that_is_not_known_fixes_its_units() -> None:
    groups = unit_groups(_Reversed(), torch.zeros(2, 12))
    assert not groups.groups
    assert groups.fixed == {"first.weight": "the order matters to aten.cumsum.default"}


class _Scaled(nn.Module):
    """Numbers that are no part of what is stored."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 8), nn.Linear(8, 3)
        self.register_buffer("scale", torch.rand(8), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.first(x).relu() * self.get_buffer("scale"))
        return out


def test_what_is_not_stored_cannot_be_moved() -> None:
    groups = unit_groups(_Scaled(), torch.zeros(2, 12))
    assert not groups.groups
    assert groups.fixed == {"first.weight": "it is not stored with the weights"}


def test_units_whose_order_is_another_in_every_head_are_no_evidence() -> None:
    groups = traced("attention")
    assert not groups.layers.get("of_head")
    assert groups.layers["out"]


class _Ranked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x).relu()
        largest, which = hidden.max(1)
        out: Tensor = self.last(hidden) + (largest * which)[:, None]
        return out


def test_which_unit_is_the_largest_depends_on_their_order() -> None:
    groups = unit_groups(_Ranked(), torch.zeros(2, 12))
    assert not groups.groups
    assert groups.fixed == {"first.weight": "the order matters to aten.max.dim"}


class _Deciding(nn.Module):
    """Goes one way or another by what it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        out: Tensor = self.last(hidden.relu() if float(hidden.sum()) > 0 else hidden)
        return out


def test_a_network_that_decides_by_what_it_computes_is_refused() -> None:
    with pytest.raises(UserError, match="_Deciding cannot be merged: its forward cannot be followed without an image"):
        unit_groups(_Deciding(), torch.zeros(2, 12))


class _Shifted(nn.Module):
    """Sums over neighbouring units, as local response normalisation has them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x).relu()
        padded = nn.functional.pad(hidden, (1, 1))
        out: Tensor = self.last(hidden * (padded[:, :-2] + padded[:, 2:]))
        return out


def test_sums_over_neighbours_leave_no_unit_free() -> None:
    groups = unit_groups(_Shifted(), torch.zeros(2, 12))
    assert not groups.groups
    assert groups.fixed == {"first.weight": "each place is used in its own way"}


class _Constant(nn.Module):
    """Makes or keeps a tensor beside its parameters, as many networks do."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.temperature = kind, torch.tensor(2.0)
        self.mean, self.mask = torch.rand(8), torch.arange(8) > 2
        self.first, self.second, self.last = nn.Linear(12, 8), nn.Linear(8, 7), nn.Linear(7, 3)
        self.few = nn.Linear(2, 7)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x).relu()
        if self.kind == "few":
            hidden = self.few(hidden[:, [5, 1]])
        else:
            numbers = [0.1 * n for n in range(8)]
            made = {
                "mean": lambda: hidden - self.mean,
                "tensor": lambda: hidden * torch.tensor(numbers),
                "new": lambda: hidden + hidden.new_tensor(numbers),
                "mask": lambda: hidden.masked_fill(self.mask, 0.5),
                "temperature": lambda: hidden / self.temperature,
            }
            hidden = self.second(made[self.kind]())
        out: Tensor = self.last(hidden.relu())
        return out


@pytest.mark.parametrize("kind", ["mean", "tensor", "new", "mask", "temperature", "few"])
def test_a_constant_is_in_fixed_order_and_all_else_moves(kind: str) -> None:
    torch.manual_seed(0)
    net, images = _Constant(kind).double(), torch.randn(5, 12, dtype=torch.float64)
    groups = unit_groups(net, images)
    weights = weights_of(net)
    permuted = groups.permuted(weights, groups.drawn(1))
    moved = {name.partition(".")[0] for name in weights if not np.array_equal(weights[name], permuted[name])}
    assert ("few" if kind == "few" else "second") in moved
    assert ("first" in moved) == (kind == "temperature")
    with torch.no_grad():
        before = net(images)
        torch.testing.assert_close(loaded(net, permuted)(images), before, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_language_models_of_transformers_are_followed(kind: str) -> None:
    torch.manual_seed(0)
    config: transformers.PretrainedConfig = {  # type: ignore[no-untyped-call]
        "gpt2": lambda: transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=11, n_positions=16),
        "llama": lambda: transformers.LlamaConfig(
            hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, vocab_size=11
        ),
    }[kind]()
    net, texts = _Language(config).double(), torch.randint(11, (3, 5))
    groups = unit_groups(net, texts)
    weights = weights_of(net)
    permuted = groups.permuted(weights, groups.drawn(2))
    moved = [name for name in weights if not np.array_equal(weights[name], permuted[name])]
    assert any(".mlp." in name for name in moved)
    with torch.no_grad():
        before = net(texts)
        torch.testing.assert_close(loaded(net, permuted)(texts), before, rtol=1e-9, atol=1e-9)


class _Language(nn.Module):
    def __init__(self, config: transformers.PretrainedConfig) -> None:
        super().__init__()
        self.inside = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()  # type: ignore[no-untyped-call]

    def forward(self, texts: Tensor) -> Tensor:
        out: Tensor = self.inside(texts, use_cache=False).logits[:, -1]
        return out
