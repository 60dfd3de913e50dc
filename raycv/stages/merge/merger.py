"""What one actor does: merge some networks in every way, score what comes out and keep it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from raycv.analysis.merging import Site, can_be_zipped, interpolated, trunk_and_head, zipped, zipped_mean
from raycv.analysis.unit_groups import Order, UnitGroups, Weights
from raycv.networks import repair
from raycv.networks.bench import Bench
from raycv.networks.checkpoints import save_in
from raycv.networks.evaluation import Scores, score
from raycv.networks.unit_graph.tracing import unit_groups_of
from raycv.stages.merge.alignment import Similarities, orders_of, zips_of
from raycv.stages.merge.merged_networks import MergedNetworks
from raycv.statistics.reader import Statistics

COMPARED = 64  # images on which a permuted network is compared with itself
TABLE = "merges"


class Merged(NamedTuple):
    """One network that comes out. ``alpha``: NaN for three or more networks; ``head``: which of them is its own."""

    method: str
    alpha: float
    shares: tuple[float, ...]
    head: int | None
    weights: Weights


@dataclass(frozen=True)
class Merger:
    """Merges networks of a run. ``folder``: where the networks that come out are kept."""

    bench: Bench
    found: Statistics
    alphas: tuple[float, ...]
    up_to: str | None
    folder: str

    def on(self, device: str) -> Callable[[MergedNetworks], dict[str, pd.DataFrame]]:
        """Merges on one device: gives the rows of the table merges, by its name."""
        return replace(self, bench=self.bench.on(device)).merge

    def merge(self, piece: MergedNetworks) -> dict[str, pd.DataFrame]:
        """All ways of merging some networks."""
        torch.manual_seed(0)
        work = _Work(self, piece)
        rows = []
        for merged in work.all():
            scores = work.score(merged.weights)
            kept = self._kept(piece, merged)
            if kept:
                work.keep(f"{self.folder}/{piece.name}/{kept}", merged.weights, merged)
            rows.append(work.row(merged, scores) | {"network": f"merges/{piece.name}/{kept}" if kept else ""})
        frame = pd.DataFrame(rows)
        frame["barrier"] = frame.groupby(["method", "head"])["loss_excess"].transform("max")
        return {TABLE: frame}

    def _kept(self, piece: MergedNetworks, merged: Merged) -> str:
        """Under which name a network is kept: those in the middle of the path, and the permuted second network."""
        name = "" if merged.head is None else self.bench.networks[piece.networks[merged.head]].spec.name
        if len(piece.networks) > 2 or merged.alpha == min(self.alphas, key=lambda alpha: abs(alpha - 0.5)):
            return f"{merged.method}-{name}" if name else merged.method
        return "second" if (merged.method, merged.alpha, name) == ("permuted", 1.0, "") else ""


class _Work:
    """The networks of one piece and what is known of them."""

    def __init__(self, merger: Merger, piece: MergedNetworks) -> None:
        self.merger, self.piece, self.bench = merger, piece, merger.bench
        self.spec = self.bench.networks[piece.networks[0]].spec
        self.net: nn.Module = copy.deepcopy(self.bench.net(piece.networks[0]))
        self.groups: UnitGroups = unit_groups_of(self.spec.model_copy(update={"name": "net", "seed": 0}))
        self.own = [_weights(self.bench.net(number)) for number in piece.networks]
        similarities = None if piece.matching == "weights" else Similarities(merger.found, piece.matching)
        first, *others = piece.networks
        self.orders: list[dict[int, Order]] = [
            orders_of(self.groups, (self.own[0], weights), (first, number), similarities)
            for number, weights in zip(others, self.own[1:], strict=True)
        ]
        permuted = zip(self.own[1:], self.orders, strict=True)
        self.aligned = [self.own[0], *(self.groups.permuted(weights, orders) for weights, orders in permuted)]
        self.similarities = similarities
        self.trunk = frozenset(self.own[0]) if merger.up_to is None else self.groups.upstream[merger.up_to]

    def inputs(self) -> Iterator[Tensor]:
        """The validation images as networks take them."""
        return (part.inputs for part in self.bench.parts(1))

    @torch.inference_mode()
    def score(self, weights: Weights) -> Scores:
        """The scores of a network on the validation images."""
        repair.load(self.net, weights)
        total = sum((score(self.net(part.inputs), part.labels) for part in self.bench.parts(1)), torch.zeros(()))
        return Scores.of(total)

    @cached_property
    def losses(self) -> list[float]:
        """The loss of each network."""
        return [self.score(weights).loss for weights in self.own]

    @cached_property
    def sites(self) -> dict[str, Site]:
        """The moments of what is repaired, in the trunk."""
        images = next(self.inputs())[:2]
        names = [site for site in repair.sites_of(self.net, images) if f"{site}.weight" in self.trunk]
        nets = [copy.deepcopy(self.net) for _ in self.aligned]
        for net, weights in zip(nets, self.aligned, strict=True):
            repair.load(net, weights)
        return repair.moments(nets, names, self.inputs())

    @cached_property
    @torch.inference_mode()
    def permuted_error(self) -> float:
        """The largest difference that permuting makes to a logit."""
        images, largest = next(self.inputs())[:COMPARED], 0.0
        for own, aligned in zip(self.own[1:], self.aligned[1:], strict=True):
            logits = []
            for weights in (own, aligned):
                repair.load(self.net, weights)
                logits.append(self.net(images))
            largest = max(largest, float((logits[0] - logits[1]).abs().max()))
        return largest

    def all(self) -> Iterator[Merged]:
        """All networks to be scored: those of the path, method by method, then zipped ones."""
        several = len(self.own) > 2
        path = [float("nan")] if several else self.merger.alphas
        heads = [None] if self.merger.up_to is None else list(range(len(self.own)))
        for alpha in path:
            shares = (1 / len(self.own),) * len(self.own) if several else (1 - alpha, alpha)
            for head in heads:
                for method, weights in self._interpolated(shares, head):
                    yield Merged(method, alpha, shares, head, weights)
        if not several and self.similarities is not None:
            yield from self._zipped(heads)

    def _interpolated(self, shares: Sequence[float], head: int | None) -> Iterator[tuple[str, Weights]]:
        for method, networks in (("naive", self.own), ("permuted", self.aligned)):
            between: Weights = interpolated(networks, shares)
            if head is not None:
                between = trunk_and_head(between, networks[head], self.trunk)
            yield method, between
        wanted = {name: site.wanted(shares) for name, site in self.sites.items()}
        at_an_end = max(shares) == 1  # a network as it is
        yield "repaired", between if at_an_end else repair.by_a_pass(self.net, between, wanted, self.inputs())
        yield (
            "repaired_closed",
            (between if at_an_end else repair.in_closed_form(self.net, between, self.sites, shares)),
        )

    def _zipped(self, heads: Sequence[int | None]) -> Iterator[Merged]:
        """Both networks zipped at equal shares, as they are and repaired."""
        assert self.similarities is not None
        a, b = self.piece.networks
        allowed = can_be_zipped(self.groups, self.trunk)
        zips = zips_of(self.groups, self.similarities, (a, b), self.orders[0], allowed)
        both = zipped(self.groups, self.aligned[0], self.aligned[1], zips, self.trunk)
        wanted = {}
        for name, site in self.sites.items():
            deviations = np.sqrt(np.einsum("iis->is", site.covariance).clip(0))
            wanted[name] = (
                zipped_mean(self.groups, name, list(site.mean), zips),
                zipped_mean(self.groups, name, list(deviations), zips),
            )
        for head in heads:
            weights = both[head or 0]
            yield Merged("zipped", 0.5, (0.5, 0.5), head, weights)
            repaired = repair.by_a_pass(self.net, weights, wanted, self.inputs())
            yield Merged("zipped_repaired", 0.5, (0.5, 0.5), head, repaired)

    def row(self, merged: Merged, scores: Scores) -> dict[str, Any]:
        """The row of one network, but for barrier and folder."""
        head = merged.head
        if head is None:
            expected = sum(share * loss for share, loss in zip(merged.shares, self.losses, strict=True))
        else:
            expected = self.losses[head]
        return {
            "nets": self.piece.nets,
            "matching": self.piece.matching,
            "up_to": self.merger.up_to or "",
            "head": "" if head is None else self.bench.networks[self.piece.networks[head]].spec.name,
            "method": merged.method,
            "alpha": merged.alpha,
            **scores.columns(),
            "loss_excess": scores.loss - expected,
            "permuted_error": float("nan") if merged.method == "naive" else self.permuted_error,
        }

    def keep(self, folder: str, weights: Weights, merged: Merged) -> None:
        """Store a network that came out, with what it was made of."""
        spec = self.spec.model_copy(update={"name": self.piece.nets})
        tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in weights.items()}
        of = {"nets": self.piece.nets, "matching": self.piece.matching, "method": merged.method}
        save_in(self.bench.store, folder, spec, tensors, merged=of | {"shares": list(merged.shares)})


def _weights(net: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().cpu().numpy() for name, value in net.state_dict().items()}
