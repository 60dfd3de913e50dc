"""Networks that vote and units that are put together, against their definitions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from raycv import statistics
from raycv.data.sources import open_source
from raycv.networks.bench import Bench
from raycv.networks.checkpoints import weights_of
from raycv.networks.models import load_weights
from raycv.networks.stored import stored
from raycv.networks.taps import activation
from raycv.run import tables
from raycv.run.store import RunStore
from raycv.stages.ensemble.rows import DRAWS, SETS, Ensembler, agreement_rows, goings, pooled, sets_of
from tests.support.by_hand import images_of, loss_and_top1, outputs

Frames = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def found(aligned_run: RunStore) -> Frames:
    """The tables, read-outs of fc7 fitted on 200 training images."""
    of_run = statistics.read(aligned_run)
    bench = Bench.of(aligned_run, of_run.source())
    training = open_source(of_run.source().name, "train").first(200)
    ensembler = Ensembler(bench, of_run, "fc7", training)
    parts = [ensembler(piece) for piece in ensembler.pieces()]
    frames = {name: pd.concat(part[name] for part in parts if name in part) for name in ("ensembles", "combinations")}
    return frames | {"ensemble_agreement": agreement_rows(aligned_run)}


def test_every_set_votes_by_mean_probabilities(aligned_run: RunStore, found: Frames) -> None:
    labels = images_of(aligned_run)[1]
    probabilities = [outputs(aligned_run, number).double().softmax(1) for number in range(3)]
    rows = found["ensembles"].set_index("nets")
    assert len(rows) == 7
    for size in (1, 2, 3):
        for members in combinations(range(3), size):
            name = ",".join(f"net{n + 1}" for n in members)
            vote = torch.stack([probabilities[n] for n in members]).mean(0)
            expected = loss_and_top1(vote.log(), labels)
            alone = np.mean([loss_and_top1(probabilities[n].log(), labels) for n in members], axis=0)
            row = rows.loc[name]
            assert (row["loss"], row["top1"]) == pytest.approx(expected, rel=1e-5)
            assert (row["member_loss"], row["member_top1"]) == pytest.approx(alone, rel=1e-5)
            assert row["size"] == size
            if size == 1:  # an ensemble of one is the network
                assert row["top1_gain"] == row["loss_gain"] == 0
    assert rows.loc["net1,net2", "top1_gain"] == pytest.approx(0)  # they compute the same
    assert rows.loc["net1,net2", "loss_gain"] == pytest.approx(0, abs=1e-6)


def test_agreement_is_that_of_the_pairs_inside(aligned_run: RunStore, found: Frames) -> None:
    rows = found["ensemble_agreement"].set_index(["nets", "layer"])
    aligned = tables.read(aligned_run, "alignment").query("similarity == 'correlation' and method == 'semi'")
    mine = aligned[(aligned["layer"] == "fc7") & aligned["net_a"].isin(["net1", "net3"])]
    mine = mine[mine["net_b"].isin(["net1", "net3"])]
    assert len(mine) == 2
    assert rows.loc[("net1,net3", "fc7"), "agreement"] == pytest.approx(mine["mean"].mean())
    assert rows.loc[("net1,net2", "fc7"), "agreement"] == pytest.approx(1, abs=1e-4)
    assert "fc8" not in rows.index.get_level_values("layer")
    assert len(rows) == 4 * 2


def test_read_outs_are_logistic_regressions(aligned_run: RunStore, found: Frames) -> None:
    """Of the last hidden layer, fitted on 200 training images with the penalty in the table."""
    rows = found["combinations"]
    row = rows.query("net_a == 'net3' and way == 'alone'").iloc[0]
    network = stored(aligned_run)[2]
    net = load_weights(network.spec, weights_of(aligned_run, network))
    source = statistics.read(aligned_run).source()
    training = open_source(source.name, "train").first(200)
    pixels, fit_labels = training.decode(np.arange(200), network.spec.preprocessing.resizing)
    with torch.inference_mode():
        inputs = network.spec.preprocessing.evaluation(torch.from_numpy(pixels))
        fit = activation(net, "fc7", "fc8", inputs).double().numpy()
    scored, labels = outputs(aligned_run, 2, tap="fc7").double().numpy(), images_of(aligned_run)[1].numpy()
    mean, std = fit.mean(0), np.where(np.ptp(fit, 0) > 0, fit.std(0), np.inf)
    oracle = LogisticRegression(C=1 / (200 * row["penalty"]), tol=1e-9, max_iter=5000)
    oracle.fit((fit - mean) / std, fit_labels)
    assert row["top1"] == pytest.approx(oracle.score((scored - mean) / std, labels), abs=1 / 160 + 1e-9)
    assert row["units"] == fit.shape[1]
    assert set(rows["way"]) == {"alone", "ensemble", "both", "matched", "redundancy", "random"}
    units = rows.groupby("way")["units"].agg(set)
    width = fit.shape[1]
    assert units["both"] == units["ensemble"] == {2 * width}
    assert units["matched"] == units["redundancy"] == units["random"] == {width, round(1.5 * width)}
    assert len(rows) == 3 + 3 * (2 + 2 * (2 + DRAWS))


def test_partners_are_kept_once(aligned_run: RunStore) -> None:
    """net1 and net2 have the same units: half of both without partners is every unit once."""
    of_layer = statistics.read(aligned_run).among("fc7", (0, 1))
    width = of_layer.folds[0].widths[0]
    gone = goings(of_layer, seed=(0, 1))
    left_out = of_layer.left_out()
    matched = tables.read(aligned_run, "matchings").query("layer == 'fc7' and net_a == 'net1' and net_b == 'net2'")
    partner = matched.set_index("unit_a")["unit_b"]  # of equal networks the best ones are one to one
    for way in ("matched", "redundancy"):
        kept = {int(unit) for unit in gone[way, 0][width:] if not left_out[unit]}
        live = [unit for unit in range(width) if partner[unit] >= 0]
        assert all((unit in kept) != (width + partner[unit] in kept) for unit in live), way
    for order in gone.values():
        assert sorted(order) == list(range(2 * width))


def test_features_of_a_map_are_means_over_positions() -> None:
    x = torch.randn(3, 4, 2, 5)
    torch.testing.assert_close(pooled(x), x.mean((2, 3)))
    assert torch.equal(pooled(x[..., 0, 0]), x[..., 0, 0])


def test_many_networks_vote_in_small_sets() -> None:
    found = sets_of(30)
    assert len(found) == SETS
    assert found[0] == (0,)
    assert len(found[-1]) == 3


def test_every_value_is_known_but_penalties_of_votes(found: Frames) -> None:
    for name, frame in found.items():
        assert not frame.drop(columns="penalty", errors="ignore").isna().any().any(), name
