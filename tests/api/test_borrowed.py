"""Networks come back from `raycv.compare` as they were, whatever they are and whatever happens."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import raycv
from raycv.errors import UserError


def data(batches: int = 2, images: int = 7) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(images, 3, 6, 6, generator=generator) for _ in range(batches)]


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(4, 5)
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        found: Tensor = self.last(self.drop(self.relu(self.norm(self.conv(x))).mean((2, 3))))
        return found


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.LazyLinear(5)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(self.norm(self.conv(x)).mean((2, 3)))
        return found


class Cached(Plain):
    """Keeps a mask that it makes in its first pass, and returns another tensor that it keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.mask: Tensor | None = None
        self.tokens = Position()

    def forward(self, x: Tensor) -> Tensor:
        if self.mask is None:
            self.mask = torch.ones_like(x[:1])
        out: Tensor = super().forward(x * self.mask) + self.tokens(x)
        return out


class Position(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kept = torch.linspace(0, 1, 5)[None]

    def forward(self, _: Tensor) -> Tensor:
        return self.kept


class Counting(Plain):
    """Moves its buffers in every pass, one in place and one by putting another in its place."""

    seen: Tensor
    average: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("average", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        self.average = 0.9 * self.average + 0.1 * x.mean((0, 2, 3))
        return super().forward(x)


class Energy(nn.Module):
    """Its force is the gradient of its energy, as in models of molecules; it does not switch gradients on itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.energy = nn.Linear(108, 6), nn.Linear(6, 1)
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        x = x.flatten(1).requires_grad_()
        energy = self.energy(torch.tanh(self.first(x))).sum()
        return torch.autograd.grad(energy, x, create_graph=self.training)[0]


class Saliency(Plain):
    """Its forward works out gradients by backward, which adds to those of all its parameters."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            out = super().forward(x)
            out.sum().backward(retain_graph=self.training)  # type: ignore[no-untyped-call]
        assert x.grad is not None
        return out + x.grad.mean()


class Tied(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.again = self.last
        self.more = nn.Linear(4, 5)
        self.more.weight = self.last.weight


class LooksAtValues(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.sum() > -(10**9) else -x)


class Custom(Plain):
    """Does more than to note the mode: its weights are another's in evaluation, as those of merged adapters."""

    def train(self, mode: bool = True) -> Custom:
        if mode != self.training:
            with torch.no_grad():
                self.last.weight.mul_(2 if mode else 0.5)
        super().train(mode)
        return self


def spectral(old: bool) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        net = Plain()
        (torch.nn.utils.spectral_norm if old else parametrizations.spectral_norm)(net.conv)
        return net

    return make


def weight_normed() -> nn.Module:
    net = Plain()
    parametrizations.weight_norm(net.conv)
    prune.l1_unstructured(net.last, "weight", 0.3)  # type: ignore[no-untyped-call]
    net(data()[0])  # the pruned weight is no leaf any more
    return net


def hooked() -> nn.Module:
    net = Plain()
    net.conv.register_forward_hook(lambda _m, _a, out: out * 2)
    net.conv.register_forward_pre_hook(lambda _m, args: (args[0] + 1,))
    net.last.register_full_backward_hook(lambda *_: None)
    return net


def compiled() -> nn.Module:
    net = cast(nn.Module, torch.compile(Plain(), backend="eager"))
    net(data()[0])
    return net


def compiled_inside() -> nn.Module:
    net = Plain()
    net.conv = torch.compile(net.conv, backend="eager")  # type: ignore[assignment]
    net.norm.compile(backend="eager")
    net(data()[0])
    return net


KINDS: dict[str, Callable[[], nn.Module]] = {
    "plain": Plain,
    "lazy": Lazy,
    "cached": Cached,
    "counting": Counting,
    "energy": Energy,
    "saliency": Saliency,
    "tied": Tied,
    "values": LooksAtValues,
    "own train": Custom,
    "spectral": spectral(old=False),
    "old spectral": spectral(old=True),
    "weight norm": weight_normed,
    "hooks": hooked,
    "compiled": compiled,
    "compiled inside": compiled_inside,
    "copied": lambda: copy.deepcopy(Plain()),
    "parallel": lambda: nn.DataParallel(Plain()),
}


def state(net: nn.Module) -> dict[str, Any]:
    """All that must not change; lazy parameters have no values yet."""
    modules = dict(net.named_modules(remove_duplicate=False))
    lazy = nn.parameter.is_lazy
    return {
        "modes": {path: module.training for path, module in modules.items()},
        "hooks": {
            (path, kind): list(hooks.values())
            for path, module in modules.items()
            for kind, hooks in vars(module).items()
            if kind.endswith("_hooks") and isinstance(hooks, dict) and not any(map(lazy, module.parameters()))
        },
        "buffers": {name: (id(b), b.clone()) for name, b in net.named_buffers() if not lazy(b)},
        "parameters": {
            name: (id(p), p.requires_grad, p.detach().clone()) for name, p in net.named_parameters() if not lazy(p)
        },
        "gradients": {name: (id(p.grad), p.grad.clone()) for name, p in net.named_parameters() if p.grad is not None},
    }


def assert_same(before: Any, after: Any) -> None:
    if isinstance(before, dict):
        assert before.keys() <= after.keys()
        for key, value in before.items():
            assert_same(value, after[key])
    elif isinstance(before, tuple):
        for one, other in zip(before, after, strict=True):
            assert_same(one, other)
    elif isinstance(before, Tensor):
        assert torch.equal(before, after)
    else:
        assert before == after


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_of_any_kind_comes_back_as_it_was_and_trains(kind: str) -> None:
    torch.manual_seed(0)
    net, other = KINDS[kind](), KINDS[kind]()
    net.train()
    next(net.children()).eval()  # some part is frozen
    for parameter in net.parameters():
        if not nn.parameter.is_lazy(parameter):
            parameter.grad = torch.ones_like(parameter)  # as between two steps
    before = state(net)
    if kind == "lazy":
        before["hooks"] = before["parameters"] = {}
    raycv.compare({"a": net, "b": other}, data())
    assert_same(before, state(net))
    inside = getattr(net, "module", getattr(net, "_orig_mod", net))
    assert getattr(inside, "passes", 2) == 2 + (kind in ("compiled", "compiled inside", "weight norm"))
    for parameter in net.parameters():
        assert not parameter.is_inference()
    if kind not in ("hooks", "compiled", "compiled inside"):  # which cannot be pickled before either
        pickle.dumps(net.state_dict())
        copy.deepcopy(net)
    net.train()
    net.zero_grad()
    net(data()[0]).square().sum().backward()
    moving = [p for p in net.parameters() if p.requires_grad and p.grad is None]
    assert len(moving) <= (2 if kind == "tied" else 1)  # the energy's offset; what stands beside


def test_whole_modules_are_pickled_after_a_comparison() -> None:
    net = Plain()
    raycv.compare({"a": net, "b": Plain()}, data())
    again = pickle.loads(pickle.dumps(net))
    torch.testing.assert_close(again.eval()(data()[0]), net.eval()(data()[0]))


def test_a_user_s_hooks_are_told_of_each_batch_once_and_what_they_change_is_compared() -> None:
    net, told = Plain(), []

    def tell(_module: nn.Module, _args: Any, out: Tensor) -> Tensor:
        told.append(len(out))
        return out.abs()

    net.conv.register_forward_hook(tell)
    found = raycv.compare({"a": net, "b": net}, data(), layers=["conv"])
    assert told == [7, 7, 7, 7]  # of a and of b
    with torch.no_grad():
        expected = torch.cat([net.eval().conv(batch) for batch in data()]).mean((0, 2, 3))
    np.testing.assert_allclose(found.units().query("net == 'a'")["mean"], expected, rtol=1e-5)


def test_a_callback_in_a_training_loop_changes_nothing_of_the_training() -> None:
    def trained(*, compares: bool) -> tuple[list[float], nn.Module]:
        torch.manual_seed(1)
        net, losses = Plain(), []
        optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
        for _ in range(4):
            loss = net(data()[0]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if compares:
                raycv.compare({"now": net, "start": net}, data())
        return losses, net

    (losses, net), (others, other) = trained(compares=False), trained(compares=True)
    assert losses == others
    for name, value in net.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


class Fails(Plain):
    error: BaseException = RuntimeError("no such thing\nand more")

    def forward(self, x: Tensor) -> Tensor:
        if self.passes == 1:
            raise self.error
        return super().forward(x)


@pytest.mark.parametrize("error", [RuntimeError("no such thing\nand more"), KeyboardInterrupt(), SystemExit(0)])
def test_after_an_error_or_control_c_too(error: BaseException) -> None:
    net, other = Fails(), Plain()
    net.error = error
    before = state(net), state(other)
    expected = UserError if isinstance(error, RuntimeError) else type(error)
    with pytest.raises(expected) as raised:
        raycv.compare({"other": other, "net": net}, data())
    if expected is UserError:
        assert str(raised.value) == "The forward of net fails on batch 2 of data: RuntimeError: no such thing."
        assert raised.value.__cause__ is error
    assert_same(before, (state(net), state(other)))
    net.passes = 5
    raycv.compare({"other": other, "net": net}, data())  # nothing is lent any more


def test_a_stream_of_batches_that_fails_leaves_networks_as_they_were() -> None:
    def stream() -> Iterator[Tensor]:
        yield data()[0]
        raise ValueError("the disk is full")

    net = Plain()
    before = state(net)
    with pytest.raises(ValueError, match="the disk is full"):
        raycv.compare({"a": net, "b": Plain()}, stream())
    assert_same(before, state(net))


def test_one_comparison_after_the_other_leaves_nothing_behind() -> None:
    net, other = Plain(), Plain()
    raycv.compare({"a": net, "b": other}, data(), layers=["last"])
    before, count = state(net), len(gc.get_objects())
    for _ in range(10):
        raycv.compare({"a": net, "b": other}, data(), layers=["last"])
    assert_same(before, state(net))
    gc.collect()
    assert len(gc.get_objects()) - count < 500


def test_a_network_in_two_comparisons_at_once_is_refused_and_comes_back() -> None:
    net, refused, started, go_on = Plain(), [], threading.Event(), threading.Event()

    def stream() -> Iterator[Tensor]:
        yield data()[0]
        started.set()
        go_on.wait(30)
        yield data()[1]

    before, found = state(net), []
    first = threading.Thread(target=lambda: found.append(raycv.compare({"a": net, "b": Plain()}, stream())))
    first.start()
    started.wait(30)
    try:
        raycv.compare({"x": Plain(), "y": net.last}, [torch.randn(5, 4)])
    except UserError as error:
        refused.append(str(error))
    raycv.compare({"x": Plain(), "y": Plain()}, data())  # others may be compared
    go_on.set()
    first.join()
    assert refused == [
        "Network y is being compared already, by another thread or by what called this, and would be in two states at "
        "once; wait for the other comparison, or give a copy (copy.deepcopy)."
    ]
    assert_same(before, state(net))
    alone = raycv.compare({"a": net, "b": net}, data())
    assert found[0].samples == alone.samples if len(set(alone.units()["samples"])) == 1 else True
    np.testing.assert_array_equal(
        found[0].units().query("net == 'a'")["mean"], alone.units().query("net == 'a'")["mean"]
    )


class Wipes(nn.Module):
    """Changes its input and what its layers gave, by ways that PyTorch counts and by others, in some batches only."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(3)
        h = self.first(x)
        g: Tensor = self.second(h)
        if h.mean() > 0:
            h.data.clamp_(max=0)
        g.data.zero_()
        return g


def test_changes_in_place_reach_neither_what_is_compared_nor_the_other_network_nor_the_data() -> None:
    torch.manual_seed(2)
    net, batches = Wipes(), [torch.randn(9, 6) + n for n in range(4)]
    kept = [batch.clone() for batch in batches]
    other = nn.Sequential(nn.Linear(6, 5))
    found = raycv.compare({"a": net, "b": other}, batches, compare=[("first", "0"), ("second", "0")])
    for batch, expected in zip(batches, kept, strict=True):
        assert torch.equal(batch, expected)
    with torch.no_grad():
        x = torch.cat(kept)
        h = net.first(3 * x)
        means = [h.mean(0), net.second(h).mean(0), other(x).mean(0)]
    units = found.units()
    for member, expected in zip(("first", "second", "0"), means, strict=True):
        got = units[units["layer"] == member]["mean"].to_numpy()[: len(expected)]
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


class Noisy(nn.Module):
    def __init__(self, p: float, used: bool) -> None:
        super().__init__()
        self.first, self.second, self.p, self.used = nn.Linear(6, 8), nn.Linear(8, 4), p, used

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        noisy = nn.functional.dropout(h, self.p)
        found: Tensor = self.second(noisy if self.used else h)
        return found


class Learns(Plain):
    """Changes its own weights whenever it is called."""

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            next(self.parameters()).mul_(1.01)
        return super().forward(images)


def test_a_network_that_changes_its_own_weights_is_refused() -> None:
    with pytest.raises(UserError, match="Network b changes its own weights while it is used"):
        raycv.compare({"a": Plain(), "b": Learns()}, [torch.randn(4, 3, 8, 8) for _ in range(2)])


class OwnNoise(nn.Module):
    """Draws from a generator of its own."""

    def __init__(self, generator: Any) -> None:
        super().__init__()
        self.generator, self.linear = generator, nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        is_torch = isinstance(self.generator, torch.Generator)
        drawn = (
            torch.randn(len(x), 6, generator=self.generator) if is_torch else self.generator.normal(size=(len(x), 6))
        )
        out: Tensor = self.linear(x + torch.as_tensor(drawn, dtype=x.dtype))
        return out


@pytest.mark.parametrize("made", [torch.Generator, np.random.default_rng])
def test_random_numbers_of_a_networks_own_generator_are_seen(made: Any) -> None:
    nets = {name: nn.Sequential(OwnNoise(made())) for name in "ab"}
    with pytest.raises(UserError, match="'0' of a depends on random numbers that its forward draws in evaluation"):
        raycv.compare(nets, [torch.randn(9, 6) for _ in range(3)], layers=["0"])


def test_random_numbers_are_refused_where_they_reach_what_is_compared() -> None:
    batches, plain = [torch.randn(9, 6) for _ in range(3)], Noisy(0.0, used=True)
    with pytest.raises(UserError, match="'second' of a depends on random numbers that its forward draws in evaluation"):
        raycv.compare({"a": Noisy(0.5, used=True), "b": plain}, batches)
    for layers, used in ((["first"], True), (None, False)):
        net = Noisy(0.5, used=used)
        found = raycv.compare({"a": net, "b": net}, batches, layers=layers)
        np.testing.assert_allclose(np.diagonal(found.correlation("first", "a", "b")), 1, atol=1e-6)
