"""Runs whose statistics are written here: no network is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from raycv.networks.catalogue import preprocessing_of
from raycv.networks.nonlinearity import RELU
from raycv.networks.spec import ALEXNET_LAYERS, NetworkSpec
from raycv.run.paths import NETS, STATISTICS, Key, moments_path
from raycv.run.store import RunStore
from raycv.stages.collect.nulls import by_chance, draws_by_chance
from raycv.stages.collect.reducer import Gathered
from raycv.stages.collect.task import Chance, Testing
from raycv.statistics.accumulator import Accumulator
from raycv.statistics.index import FORMAT
from raycv.statistics.moments import JointMoments
from raycv.statistics.parts import cut, parts, to_arrays

LAYERS = ("conv1", "conv2")
WIDTHS = (14, 16, 14)


def make_run(folder: Path, layers: tuple[str, ...] = LAYERS) -> Path:
    """Three networks whose units follow four hidden causes; unit 0 of net1 is dead and unit 1 rare."""
    store = RunStore(str(folder))
    folds: dict[str, list[JointMoments]] = {layer: [] for layer in layers}
    for seed, layer in enumerate(layers):
        rng = np.random.default_rng(seed)
        causes = rng.standard_normal((4, 800))
        before: list[list[np.ndarray]] = []
        for fold in range(2):
            part = causes[:, 400 * fold : 400 * (fold + 1)].T
            nets = [part[:, np.arange(width) % 4] + 0.9 * rng.standard_normal((400, width)) for width in WIDTHS]
            nets[0][:, 0] = 0.0
            nets[0][:, 1] *= 0.1 if fold else 1.0
            folds[layer].append(moments_of([np.maximum(net, 0) for net in nets]))
            before.append(nets)
        write_chance(store, layer, [np.concatenate(parts) for parts in zip(*before, strict=True)])
    write_statistics(store, specs(WIDTHS, layers), folds)
    return folder


def spec(
    number: int, width: int | None, layers: tuple[str, ...] = ALEXNET_LAYERS, model: str = "small-alexnet"
) -> NetworkSpec:
    """The description of one network, whose seed is its number."""
    return NetworkSpec(
        name=f"net{number}",
        model=model,
        classes=10,
        seed=number,
        layers=layers,
        preprocessing=preprocessing_of(model),
        width=width,
    )


def specs(widths: Sequence[int], layers: tuple[str, ...]) -> list[NetworkSpec]:
    """Descriptions of networks net1, net2, ... that nobody has trained."""
    return [spec(number, width, layers) for number, width in enumerate(widths, 1)]


def moments_of(activations: Sequence[np.ndarray]) -> JointMoments:
    """The joint moments of networks' activations (samples, S_n) of the same images."""
    widths = [net.shape[1] for net in activations]
    accumulator = Accumulator(widths, np.zeros(sum(widths), np.float32), torch.device("cpu"))
    accumulator.add([torch.from_numpy(net.astype(np.float32)) for net in activations])
    return accumulator.moments()


def write_statistics(
    store: RunStore, nets: Sequence[NetworkSpec], folds: Mapping[str, Sequence[JointMoments]], images: int = 800
) -> None:
    """Write the moments of each layer, fold by fold, as the pass leaves them."""
    for layer, of_layer in folds.items():
        for fold, moments in enumerate(of_layer):
            arrays = to_arrays(moments)
            for number, part in enumerate(parts(moments.widths.tolist())):
                path = moments_path("statistics/0123456789abcdef", Key(NETS, layer), fold, number)
                store.write_arrays(path, cut(arrays, "", part))
    store.write_json(
        STATISTICS,
        {
            "format": FORMAT,
            "groups": {NETS: [spec.model_dump(mode="json") for spec in nets]},
            "folds": {str(Key(NETS, layer)): len(of_layer) for layer, of_layer in folds.items()},
            "widths": {str(Key(NETS, layer)): of_layer[0].widths.tolist() for layer, of_layer in folds.items()},
            "folder": "statistics/0123456789abcdef",
            "images": images,
        },
    )


def write_chance(store: RunStore, layer: str, before_relu: Sequence[np.ndarray]) -> None:
    """Write what chance gives in the place of each network, from activations (samples, S_n) before the ReLU."""
    key, networks = Key(NETS, layer), len(before_relu)
    drawn = [Gathered(net.astype(np.float32), RELU, np.zeros(len(net), np.int64)) for net in before_relu]
    for network in range(networks):
        chance = Chance(key, network, 0, tuple(other for other in range(networks) if other != network))
        arrays = by_chance(chance, drawn.__getitem__, None, torch.device("cpu"))
        store.write_arrays(chance.path("statistics/0123456789abcdef"), arrays)
        write_draws(store, chance, drawn)


def write_draws(store: RunStore, chance: Chance, tested: Sequence[Gathered]) -> None:
    """Write the draws by which the units of the other networks of ``chance`` are tested; each sample is an image."""
    widths, samples = tuple(of_net.kept.shape[1] for of_net in tested), len(tested[0].kept)
    testing = Testing(chance.key, chance.network, chance.number, chance.others, 1, widths, samples)
    live = [np.zeros(width, bool) for width in widths]
    arrays = draws_by_chance(testing, tested.__getitem__, live, torch.device("cpu"))
    store.write_arrays(testing.path("statistics/0123456789abcdef"), arrays)


def write_networks(store: RunStore, nets: Sequence[NetworkSpec]) -> None:
    """Write the description of each network, without weights."""
    for spec in nets:
        content = {"spec": spec.model_dump(mode="json"), "weights_sha256": ""}
        store.write_json(f"networks/{spec.name}/network.json", content)
