"""Rows of the tables attribution and attribution_cells, against what the runs' tables say, by pandas."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control

from raycv.analysis.similarity import mean_over_networks
from raycv.config import MAPPED_DECAY
from raycv.run import tables
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.stages.attribute.rows import Measured, cell_rows, contrast_rows, measured
from raycv.stages.attribute.summary import summary

LAYERS = ["conv2", "conv1", "fc8"]  # not in the order of the alphabet
NETS = [f"net{number}" for number in range(1, 12)]  # net10 after net9
MEASURES = ["prerelu_excess", "excess", "estimated_share", "debiased_cka", "correlation"]


def write_run(folder: Path, seed: int, *, nets: int = 4, trained: bool = True, mapped: bool = False) -> RunStore:
    """A run with the tables that an attribution reads; fc8 has no ReLU."""
    rng, store = np.random.default_rng(seed), RunStore(str(folder))
    keys = [(layer, a, b) for layer in LAYERS for a, b in itertools.permutations(NETS[:nets], 2)]
    alignment = pd.DataFrame(keys, columns=["layer", "net_a", "net_b"])
    columns = ["excess", "rotated_mean", "prerelu_excess", "estimated_share"]
    alignment[columns] = rng.uniform(0, 0.3, (len(keys), 4))
    alignment.loc[alignment["layer"] == "fc8", "prerelu_excess"] = np.nan
    kinds = [("correlation", "semi"), ("correlation", "bipartite"), ("mutual_information", "semi")]
    rows = [
        alignment.assign(similarity=s, method=m, excess=alignment["excess"] + 9 * n) for n, (s, m) in enumerate(kinds)
    ]
    pairs = [(layer, a, b) for layer in LAYERS for a, b in itertools.combinations_with_replacement(NETS[:nets], 2)]
    measures = pd.DataFrame(pairs, columns=["layer_a", "net_a", "net_b"]).assign(measure="debiased_cka")
    measures["value"] = np.where(measures["net_a"] == measures["net_b"], 1.0, rng.uniform(0, 1, len(pairs)))
    frames = {"alignment": pd.concat(rows), "measures": measures.assign(layer_b=measures["layer_a"])}
    if trained:
        epochs = [
            {"net": net, "seed": 1, "epoch": e, "train_loss": 3.0 - e - n, "validation_top1": 0.1 * e}
            for n, net in enumerate(NETS[:nets])
            for e in (1, 2)
        ]
        frames["training"] = pd.DataFrame(epochs)
    if mapped:
        of_net = alignment.rename(columns={"net_a": "source_net", "net_b": "target_net", "excess": "heldout_loss"})
        others = of_net.assign(decay=0.1, heldout_loss=7.0)
        frames["mappings"] = pd.concat([of_net.assign(decay=MAPPED_DECAY), others]).assign(solver="exact")
    for name, frame in frames.items():
        tables.write(store, name, frame.reindex(columns=BY_NAME[name].schema.names))
    return store


def read(
    store: RunStore, cell: str, against: str | None = "true", *, apart: bool = False, mapped: bool = False
) -> Measured:
    return measured(store, cell, against, apart=apart, is_mapped=mapped)


def test_a_cell_is_the_mean_over_its_pairs(tmp_path: Path) -> None:
    store = write_run(tmp_path, 1, mapped=True)
    rows = cell_rows([read(store, "true", None, mapped=True)])
    assert list(dict.fromkeys(rows["layer"])) == LAYERS
    assert {*rows["measure"]} == {*MEASURES, "heldout_loss"}
    assert not ((rows["layer"] == "fc8") & (rows["measure"] == "prerelu_excess")).any()
    alignment = tables.read(store, "alignment").query("similarity == 'correlation' and method == 'semi'")
    alignment["correlation"] = alignment["excess"] + alignment["rotated_mean"]
    mappings = tables.read(store, "mappings").query("decay == @MAPPED_DECAY")
    similar = tables.read(store, "measures").query("net_a != net_b").rename(columns={"value": "debiased_cka"})
    for row in rows.to_dict("records"):
        frame, layer = {"heldout_loss": (mappings, "layer"), "debiased_cka": (similar, "layer_a")}.get(
            row["measure"], (alignment, "layer")
        )
        of_layer = frame[frame[layer] == row["layer"]]
        assert row["value"] == pytest.approx(of_layer[row["measure"]].mean())
        nets = ["source_net", "target_net"] if row["measure"] == "heldout_loss" else ["net_a", "net_b"]
        values = {
            (NETS.index(a), NETS.index(b)): value
            for a, b, value in of_layer[[*nets, row["measure"]]].itertuples(index=False)
        }
        _, interval = mean_over_networks(values)
        assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
        assert (row["pairs"], row["networks"]) == (6, 4)
        assert row["train_loss"] == pytest.approx(-0.5)  # of the last epoch
        assert row["validation_top1"] == pytest.approx(0.2)
    assert tables.typed("attribution_cells", rows).schema.names == list(rows.columns)


def test_of_disjoint_halves_only_networks_of_both_are_compared(tmp_path: Path) -> None:
    store = write_run(tmp_path, 1, nets=11)
    rows = cell_rows([read(store, "apart", apart=True)]).set_index(["layer", "measure"])
    alignment = tables.read(store, "alignment").query("similarity == 'correlation' and method == 'semi'")
    number = {net: n for n, net in enumerate(NETS)}
    across = (alignment["net_a"].map(number) + alignment["net_b"].map(number)) % 2 == 1
    expected = alignment[across].groupby("layer")["excess"].mean()
    for layer in LAYERS:
        assert rows.loc[(layer, "excess"), "value"] == pytest.approx(expected[layer])
        assert rows.loc[(layer, "excess"), "pairs"] == 5 * 6


def test_untrained_networks_have_no_loss(tmp_path: Path) -> None:
    rows = cell_rows([read(write_run(tmp_path, 1, trained=False), "untrained")])
    assert rows[["train_loss", "validation_top1"]].isna().all(axis=None)


def test_differences_are_those_of_pairs_and_their_rates_those_of_scipy(tmp_path: Path) -> None:
    one, other, third = (write_run(tmp_path / str(n), n) for n in (1, 2, 3))
    found = [read(one, "true", None), read(other, "half"), read(third, "apart", "half", apart=True)]
    rows = contrast_rows(found)
    cells = cell_rows(found).set_index(["cell", "layer", "measure"])["value"]
    assert list(dict.fromkeys(zip(rows["cell"], rows["against"], strict=True))) == [("half", "true"), ("apart", "half")]
    for row in rows.to_dict("records"):
        here, there = (cells[row[side], row["layer"], row["measure"]] for side in ("cell", "against"))
        assert row["difference"] == pytest.approx(here - there)
        assert row["low"] < row["difference"] < row["high"]
    for _, of_measure in rows.groupby("measure"):
        assert len(of_measure) in (4, 6)
        np.testing.assert_allclose(of_measure["q_value"], false_discovery_control(of_measure["p_value"]))
    assert tables.typed("attribution", rows).schema.names == list(rows.columns)
    said = summary(cell_rows(found), rows)
    assert f"{'half - true':<34}" in said
    (line,) = {line for line in said.splitlines() if line.startswith("  apart - half") and line.count(".") == 2}
    shown = rows.query("cell == 'apart' and measure == 'prerelu_excess'")["difference"]
    assert [float(value.rstrip("*")) for value in line.split()[3:]] == pytest.approx(shown.tolist(), abs=6e-4)


def test_one_cell_alone_has_no_differences(tmp_path: Path) -> None:
    rows = contrast_rows([read(write_run(tmp_path, 1), "true", None)])
    assert not len(rows)
    assert tables.typed("attribution", rows).schema.names == list(rows.columns)
