"""What `raycv.compare` is given is taken for what it is, or refused in one sentence."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import raycv
from raycv.errors import UserError


class Graph(nn.Module):
    """A network of nodes that takes features and edges."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.one, self.two = nn.Linear(6, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor, edges: Tensor, scale: Tensor | None = None) -> Tensor:
        h = self.one(x).tanh()
        found: Tensor = self.two(h.index_add(0, edges[1], h[edges[0]]))
        return found if scale is None else found * scale


class Named(nn.Module):
    """A network of texts as transformers call it, by names."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed, self.last = nn.Embedding(9, 6), nn.Linear(6, 5)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        h = self.embed(input_ids) * attention_mask[..., None]
        return {"logits": self.last(h.sum(1) / attention_mask.sum(1, keepdim=True))}


class Keyword(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.last = nn.Linear(6, 5)

    def forward(self, *, image: Tensor) -> Tensor:
        found: Tensor = self.last(image)
        return found


def graphs() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(30, 6, generator=generator), torch.randint(30, (2, 50))) for _ in range(3)]


def texts() -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    ids = [torch.randint(9, (20, 7), generator=generator) for _ in range(3)]
    return [{"input_ids": one, "attention_mask": (one > 1).long(), "labels": one[:, 0]} for one in ids]


def outputs(net: nn.Module, batches: list[Any], call: Callable[[nn.Module, Any], Tensor]) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = torch.cat([call(net, batch) for batch in batches]).double().numpy()
    return found


@pytest.mark.parametrize(
    ("kind", "data", "layer", "call", "forward"),
    [
        (Graph, graphs(), "two", lambda net, batch: net(*batch), None),
        (Graph, [(*one, torch.zeros(30)) for one in graphs()], "two", lambda net, batch: net(*batch[:2]), None),
        (
            Graph,
            [{"nodes": x, "links": edges} for x, edges in graphs()],
            "two",
            lambda net, batch: net(batch["nodes"], batch["links"]),
            lambda net, batch: net(batch["nodes"], batch["links"]),
        ),
        (Named, texts(), "last", lambda net, batch: net(batch["input_ids"], batch["attention_mask"])["logits"], None),
        (Keyword, [x for x, _ in graphs()], "last", lambda net, batch: net(image=batch), None),
        (Keyword, [(x,) for x, _ in graphs()], "last",
         lambda net, batch: net(image=batch[0]), None),
        (lambda _: nn.Sequential(nn.Linear(6, 5)), [(x, x[:, 0]) for x, _ in graphs()], "0",
         lambda net, batch: net(batch[0]), None),
        (lambda _: nn.Sequential(nn.Linear(6, 5)), [{"image": x, "label": x[:, 0]} for x, _ in graphs()], "0",
         lambda net, batch: net(batch["image"]), None),
        (lambda _: nn.Sequential(nn.Linear(6, 5)), [x.numpy() for x, _ in graphs()], "0",
         lambda net, batch: net(torch.from_numpy(batch)), None),
        (lambda _: nn.Sequential(nn.Linear(6, 5)), [x.tolist() for x, _ in graphs()], "0",
         lambda net, batch: net(torch.tensor(batch)), None),
    ],
)  # fmt: skip
def test_networks_are_called_with_all_that_they_take(
    kind: Any, data: list[Any], layer: str, call: Any, forward: Any
) -> None:
    nets = {"a": kind(1), "b": kind(2)}
    found = raycv.compare(nets, data, layers=[layer], forward=forward)
    x, y = (outputs(net, data, call) for net in nets.values())
    expected = np.corrcoef(x, y, rowvar=False)[: x.shape[1], x.shape[1] :]
    np.testing.assert_allclose(found.correlation(layer, "a", "b"), expected, atol=5e-6)


def linear(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh())


class Raises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise OSError


X = torch.randn(12, 6)
PAIR = {"a": linear(), "b": linear(1)}


class Meta(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 5, device="meta"))


@pytest.mark.parametrize(
    ("networks", "data", "more", "message"),
    [
        ({linear(), linear()}, [X], {}, r'networks is a set; name the networks, as in \{"a": one, "b": other\}'),
        (["x.npy", "y/x.npy"], None, {}, "Two networks are named 'x'; name them"),
        (PAIR, X[:, 0], {}, r"data is one tensor of shape \(12,\); samples have axes of their own"),
        (PAIR, 3, {}, "data is a int, and must be batches"),
        (PAIR, [[[1.0, 2], [3.0]]], {}, "A batch of data is a list that makes no tensor"),
        (PAIR, [{"x": X, "y": X}], {}, "A batch of data has 'x', 'y', of which 2 may be what a network takes"),
        (PAIR, ["text"], {}, "A batch of data has no tensor of images for a"),
        (PAIR, [X], {"positions": "avg"}, "positions is 'avg'; allowed are same, resample, mean"),
        (PAIR, [X], {"compare": "layer1"}, 'compare is \'layer1\'; allowed are "same", "all" and a list'),
        (PAIR, [X], {"layers": "14"}, "a has no layer '14'; the nearest are 1"),
        (PAIR, [X], {"layers": {"c": ["0"]}}, "layers names 'c', which is no network; the networks are a, b"),
        (PAIR, [X], {"unit_axis": 0, "layers": ["0"]}, "'0' of a cannot be compared: unit_axis is 0, which is no axis"),
        ({"a": Meta(), "b": Meta()}, [X], {}, "Network a is on the device meta and has no values; load its weights"),
        ({"a": 3, "b": linear()}, [X], {}, "a is a int, which is neither a PyTorch module nor recorded activations"),
        ({"a": Raises(), "b": linear()}, [X], {}, "The forward of a fails on batch 1 of data: OSError"),
        (PAIR, [X[:, :4]], {}, "The forward of a fails on batch 1 of data: RuntimeError: .*mat1 and mat2 shapes"),
        (
            {"a": Graph(0), "b": Graph(1)},
            [X],
            {},
            r"The forward of a needs 2 inputs \(x, edges\), and a batch of data has 1; give tuples, or say how",
        ),
        (
            {"a": Graph(0), "b": Graph(1)},
            [(*graphs()[0], X)],
            {},
            "has 3 parts, and the forward of a may take more than 2, so that it is not clear what part 3 is",
        ),
        (
            {"a": Named(0), "b": Named(1)},
            [texts()[0] | {"token_types": texts()[0]["input_ids"]}],
            {},
            "'token_types', of which 3 may be what a network takes, and the forward of a takes input_ids",
        ),
        ({"a": nn.Sequential(nn.Flatten(0)), "b": linear()}, [X], {}, "Network a has no layer that can be compared: 0"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(networks: Any, data: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        raycv.compare(networks, data, **more)
    assert "\n" not in str(refused.value)


def test_one_pattern_is_one_pattern_and_a_scripted_network_is_refused() -> None:
    nets = {"a": nn.Sequential(*[nn.Linear(6, 6) for _ in range(15)]), "b": nn.Sequential(*[nn.Linear(6, 6)] * 1)}
    found = raycv.compare(nets, [X], layers={"a": "14", "b": "0"}, compare="all")
    assert [str(member) for member in found.members] == ["a/14", "b/0"]
    with pytest.raises(UserError, match="Network a is compiled by TorchScript"):
        raycv.compare({"a": torch.jit.script(linear()), "b": linear()}, [X])


def test_names_that_a_recording_really_has() -> None:
    values = np.random.default_rng(0).standard_normal((50, 4))
    for name in ("layer[0]", "a:class", "b#2", "*"):
        found = raycv.compare({"a": {name: values, "l": values}, "b": {name: values, "x": values}}, layers=[name])
        assert [str(member) for member in found.members] == [f"a/{name}", f"b/{name}"]


class Stubborn(nn.Module):
    """Cannot be copied, so that its own pass must tell which axes are which."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.lock = nn.Linear(6, 5), threading.Lock()

    def forward(self, x: Tensor) -> Tensor:
        with self.lock:
            found: Tensor = self.first(x.transpose(0, 1)).mean(0)
        return found


def test_a_network_that_cannot_be_copied_tells_by_its_own_pass_where_lengths_differ() -> None:
    nets = {"a": Stubborn(0), "b": Stubborn(1)}
    data = [torch.randn(images, 3, 6) for images in (4, 8, 2)]
    found = raycv.compare(nets, data)
    assert found.samples == 14 * 3
    with torch.no_grad():
        x, y = (torch.cat([net.first(one).flatten(0, 1) for one in data]).numpy() for net in nets.values())
    expected = np.corrcoef(x, y, rowvar=False)[:5, 5:]
    np.testing.assert_allclose(found.correlation("first", "a", "b"), expected, atol=5e-6)
    with pytest.raises(UserError, match="it gives 3 x 3 x 5 for 3 images, and more than one of its axes may"):
        raycv.compare(nets, [torch.randn(3, 3, 6)], layers=["first"])


def test_samples_are_told_layer_by_layer_where_they_differ() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(36, 5))
    found = raycv.compare({"a": net, "b": net}, [torch.randn(8, 3, 3, 3)])
    assert found.units().groupby("layer")["samples"].first().to_dict() == {"0": 72, "1": 8, "2": 8}
    assert repr(found).splitlines()[0].endswith("in 8 to 72 samples")
    with pytest.raises(UserError, match="different numbers of samples, as a/1 8 and a/0 72"):
        _ = found.samples


def test_moments_may_be_fed_by_threads() -> None:
    generator = np.random.default_rng(0)
    values = generator.standard_normal((64, 50, 3)).astype(np.float32)
    moments = raycv.Moments()

    def feed(parts: range) -> None:
        for part in parts:
            moments.update(range(50 * part, 50 * part + 50), a=values[part])

    threads = [threading.Thread(target=feed, args=(range(n, 64, 4),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert moments.samples == 3200
    np.testing.assert_allclose(
        moments.correlation("a", "a"), np.corrcoef(values.reshape(-1, 3), rowvar=False), atol=5e-6
    )
