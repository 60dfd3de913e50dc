"""The paper's training on streamed activations, of real networks and images, beside its expectation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from raycv.analysis.mapping import lasso_path
from raycv.analysis.sgd import Schedule, sgd_path
from raycv.data.preprocessing import Resize
from raycv.data.sources import open_source
from raycv.networks import checkpoints
from raycv.networks.models import build
from raycv.networks.taps import Taps
from raycv.run.store import RunStore
from raycv.stages.mapping.streamed import Stream, streamed_paths
from raycv.statistics.accumulator import Accumulator
from raycv.statistics.folds import LayerStatistics, correlations
from tests.support.runs import spec

CPU = torch.device("cpu")
DECAYS = [0.0, 1e-3, 1e-2]
SHORT = Schedule(iterations=400, learning_rate=0.02, halve_every=100, momentum=0.9)


@pytest.fixture(scope="module")
def stream(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    store, networks = RunStore(str(tmp_path_factory.mktemp("run"))), []
    for number, width in ((1, 4), (2, 6)):
        networks.append(checkpoints.save(store, spec(number, width), build(spec(number, width)).state_dict()))
    return Stream(store, tuple(networks), open_source(str(images), "validation"))


def statistics_of(stream: Stream, layer: str) -> LayerStatistics:
    """Over all images, forwarded at once through the whole networks."""
    images, _ = stream.source.decode(np.arange(len(stream.source)), Resize(32))
    batch = stream.networks[0].spec.preprocessing.evaluation(torch.from_numpy(images))
    samples = []
    for network in stream.networks:
        found = Taps(build(network.spec), [layer], "fc8")(batch)[layer]
        samples.append(found.movedim(1, -1).reshape(-1, found.shape[1]))
    accumulator = Accumulator([s.shape[1] for s in samples], np.zeros(sum(s.shape[1] for s in samples), "f4"), CPU)
    accumulator.add(samples)
    return LayerStatistics((accumulator.moments(),))


@pytest.mark.parametrize("layer", ["conv2", "fc6", "fc8"])
def test_it_differs_from_its_expectation_by_the_noise_of_batches(stream: Stream, layer: str) -> None:
    of_layer = statistics_of(stream, layer)
    found = correlations(of_layer.all, of_layer.left_out())
    paths = streamed_paths(stream, of_layer, layer, DECAYS, device=CPU, schedule=SHORT)
    assert set(paths) == {(0, 1), (1, 0)}
    for (a, b), layers in paths.items():
        cross = found[0, 1] if a < b else found[0, 1].T
        expected = sgd_path(found[a, a], cross, DECAYS, schedule=SHORT)
        best = lasso_path(found[a, a], cross, DECAYS)
        for mapping, mean, least in zip(layers, expected, best, strict=True):
            assert mapping.decay == mean.decay
            assert mapping.loss == pytest.approx(mean.loss, abs=0.01)
            gap = [m.loss + m.alpha * np.nansum(np.abs(m.weights), 1).mean() for m in (mapping, least)]
            assert gap[0] >= gap[1] - 1e-9  # from above
    # The start is the same, so a training of no iterations is.
    nothing = Schedule(iterations=0)
    start = streamed_paths(stream, of_layer, layer, DECAYS, device=CPU, schedule=nothing)[0, 1]
    same = sgd_path(found[0, 0], found[0, 1], DECAYS, schedule=nothing)
    np.testing.assert_array_equal(start[0].weights, same[0].weights)


def test_batches_are_those_of_the_seed(stream: Stream) -> None:
    first, again, other = (next(stream.batches("conv3", CPU, seed)) for seed in (1, 1, 2))
    for net in range(2):
        assert first[net].shape == (32 * 49, (16, 24)[net])
        torch.testing.assert_close(first[net], again[net], rtol=0, atol=0)
        assert not torch.equal(first[net], other[net])
