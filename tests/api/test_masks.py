"""Padding and tokens that are left out by name are no samples, whatever the lengths of sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import raycv
from raycv.errors import UserError

WIDTH, WORDS = 6, 30


class Reader(nn.Module):
    """Reads tokens by a recurrence, so that padding on the left changes what comes after it unless it is masked."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed, self.one, self.act = nn.Embedding(WORDS, 8), nn.Linear(8, WIDTH), nn.ReLU()
        self.pooled = nn.Linear(WIDTH, 4)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        kept = attention_mask[..., None]
        before = (self.embed(input_ids) * kept).cumsum(1) / kept.cumsum(1).clamp(min=1).sqrt()
        h = self.act(self.one(before))
        h = torch.where(kept == 0, torch.tensor(1e3), h)  # what is padded may be anything
        found: Tensor = self.pooled((h * kept).sum(1))
        return found


class Plain(nn.Module):
    """Takes tokens alone."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed, self.one = nn.Embedding(WORDS, 8), nn.Linear(8, WIDTH)

    def forward(self, input_ids: Tensor) -> Tensor:
        found: Tensor = self.one(self.embed(input_ids))
        return found


def texts(count: int = 60, seed: int = 0) -> list[Tensor]:
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.integers(1, WORDS, rng.integers(2, 12))) for _ in range(count)]


def batches(
    given: Sequence[Tensor], size: int = 16, *, left: bool = False, longest: int = 0
) -> list[dict[str, Tensor]]:
    found = []
    for start in range(0, len(given), size):
        some = given[start : start + size]
        length = max(longest, *map(len, some))
        ids, mask = torch.zeros(2, len(some), length, dtype=torch.long)
        for row, one in enumerate(some):
            where = slice(length - len(one), None) if left else slice(0, len(one))
            ids[row, where], mask[row, where] = one, 1
        found.append({"input_ids": ids, "attention_mask": mask, "labels": ids.clone()})
    return found


def networks(kind: type[nn.Module] = Reader) -> dict[str, nn.Module]:
    return {"a": kind(1), "b": kind(2)}


def expected(nets: Mapping[str, nn.Module], given: Sequence[Tensor], skip: int = 0) -> np.ndarray:
    """Correlations of the units of act, token by token, of texts without any padding."""
    rows = {}
    for name, net in nets.items():
        seen: list[Tensor] = []
        hook = net.get_submodule("act").register_forward_hook(lambda _m, _a, out, seen=seen: seen.append(out[0, skip:]))
        with torch.no_grad():
            for one in given:
                net(one[None], torch.ones(1, len(one), dtype=torch.long))
        hook.remove()
        rows[name] = torch.cat(seen).double().numpy()
    both = np.corrcoef(rows["a"].T, rows["b"].T)
    return np.asarray(both[:WIDTH, WIDTH:])


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("longest", [0, 40])
def test_padding_is_no_sample(left: bool, longest: int) -> None:
    given = texts()
    nets = networks()
    found = raycv.compare(nets, batches(given, left=left, longest=longest), layers=["act"])
    assert found.samples == sum(map(len, given))
    truth = np.abs(expected(nets, given))
    rows = found.matching().query("net_a == 'a'")
    np.testing.assert_allclose(rows["value"].abs(), np.nanmax(truth, 1), atol=1e-5)
    np.testing.assert_array_equal(rows["unit_b"], np.nanargmax(truth, 1))


def test_results_do_not_depend_on_batches_or_on_which_side_is_padded() -> None:
    given = texts()
    one = raycv.compare(networks(), batches(given, 60), layers=["act"])
    for other in (batches(given, 7, left=True), batches(given, 1)):
        same = raycv.compare(networks(), other, layers=["act"])
        np.testing.assert_allclose(same.matching()["value"], one.matching()["value"], atol=1e-5)


def test_the_first_token_and_special_ones_can_be_left_out() -> None:
    given, nets = texts(), networks()
    data = batches(given, left=True)
    found = raycv.compare(nets, data, layers=["act"], without=["first"])
    assert found.samples == sum(len(one) - 1 for one in given)
    truth = np.abs(expected(nets, given, skip=1))
    np.testing.assert_allclose(found.matching().query("net_a == 'a'")["value"].abs(), np.nanmax(truth, 1), atol=1e-5)
    special = [batch | {"special_tokens_mask": (batch["input_ids"] % 5 == 0).long()} for batch in data]
    found = raycv.compare(nets, special, layers=["act"], without=["special"])
    assert found.samples == sum(int((one % 5 != 0).sum()) for one in given)


def test_networks_that_take_no_mask_need_not() -> None:
    given = texts()
    found = raycv.compare(networks(Plain), batches(given), layers=["one"])
    assert found.samples == sum(map(len, given))
    everything = raycv.compare(networks(Plain), batches(given, longest=12), layers=["one"], mask=None)
    assert everything.samples == 12 * len(given)
    by_function = raycv.compare(
        networks(Plain), batches(given), layers=["one"], mask=lambda batch: batch["input_ids"] > 0
    )
    np.testing.assert_array_equal(by_function.matching()["value"], found.matching()["value"])


def test_means_are_over_what_counts() -> None:
    given, nets = texts(), networks()
    short, long = (raycv.compare(nets, batches(given, longest=n), layers=["act"], positions="mean") for n in (0, 40))
    assert short.samples == long.samples == len(given)
    np.testing.assert_allclose(short.matching()["value"], long.matching()["value"], atol=1e-5)


def test_layers_without_positions_have_a_sample_for_every_sequence() -> None:
    found = raycv.compare(networks(), batches(texts()), layers=["pooled"])
    assert found.samples == 60


def test_units_of_padded_sequences_are_tested_in_whole_ones() -> None:
    """Networks that share what every sequence is about have no partners among units that are drawn anew in each."""

    class About(nn.Module):
        def __init__(self, seed: int, *, is_copy: bool) -> None:
            super().__init__()
            self.made, self._seed, self._is_copy = nn.Identity(), seed, is_copy

        def forward(self, input_ids: Tensor) -> Tensor:
            topic = input_ids[:, :1, None].float()
            noise = torch.stack([torch.sin((n + self._seed) * topic + n) for n in range(1, 25)], -1)[:, 0]
            found: Tensor = self.made(noise.expand(-1, input_ids.shape[1], -1).contiguous())
            return found

    rng = np.random.default_rng(0)
    given = [
        torch.full((int(n),), int(topic))
        for n, topic in zip(rng.integers(2, 12, 60), rng.permutation(600), strict=False)
    ]
    same = raycv.compare(
        {"a": About(1, is_copy=True), "b": About(1, is_copy=True)}, batches(given), layers=["made"]
    ).matching()
    other = raycv.compare(
        {"a": About(1, is_copy=False), "b": About(40, is_copy=False)}, batches(given), layers=["made"]
    ).matching()
    assert (same["q_value"] <= 0.05).mean() > 0.9
    assert (other["q_value"] <= 0.05).mean() < 0.1


@pytest.mark.parametrize(
    ("change", "how", "said"),
    [
        (lambda b: b, {"mask": "padding"}, "mask is 'padding', and a batch of data has 'input_ids', 'attention_mask'"),
        (lambda b: b, {"without": ["last"]}, 'without has \'last\'; allowed are "first" and "special".'),
        (lambda b: b, {"without": ["special"]}, "tokenizers give it with return_special_tokens_mask=True"),
        (lambda b: b | {"attention_mask": b["attention_mask"] * 2}, {}, "'attention_mask' holds 2, and a mask holds 1"),
        (lambda b: b | {"attention_mask": b["attention_mask"][:, None]}, {}, "'attention_mask' has shape (16, 1, "),
        (lambda b: b, {"mask": lambda b: b["attention_mask"][:, 1:]}, "the mask says which of"),
        (lambda b: b | {"attention_mask": b["attention_mask"] * 0}, {}, "two samples or more, and there is none"),
        (
            lambda b: b | {"attention_mask": b["attention_mask"] * (torch.arange(16)[:, None] != 3)},
            {"positions": "mean"},
            "Sequence 4 of a batch has no position that counts",
        ),
        (lambda b: b, {"run": "/tmp/none", "without": ["first"]}, "and a run has images"),
    ],
)
def test_what_is_no_mask_is_refused(change: Any, how: dict[str, Any], said: str) -> None:
    data = [change(batch) for batch in batches(texts(32))]
    nets = networks(Plain) if how.get("mask") != "padding" else networks()
    with pytest.raises(UserError) as raised:
        raycv.compare(nets, data, layers=["one"], **how)
    assert said in str(raised.value)


def test_padding_is_in_no_top_sample() -> None:
    given, nets = texts(), networks()
    found = raycv.compare(nets, batches(given, longest=40), layers=["act"])
    rows = found.top_samples("a", "act", 2)
    assert rows["value"].max() < 1e3
    lengths = np.array([len(one) for one in given])
    assert (rows["position"] < lengths[rows["sample"]]).all()
