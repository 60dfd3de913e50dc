"""What the report says of the stages that come after a run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from raycv.run import record, tables
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.stages.report.effects import sentences
from tests.support.effects import effect_tables


def test_only_what_is_of_the_networks_that_the_run_has(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "run"))
    frames = effect_tables(("conv1", "fc7"), ("net1", "net2"))
    for name, frame in frames.items():
        tables.write(store, name, frame.reindex(columns=BY_NAME[name].schema.names))
    record.finish(store, "collect", "1", {}, {})
    assert sentences(store) == []
    for stage in ("prune", "ablate", "ensemble", "stitch"):
        record.finish(store, stage, "x", {}, {"of": "1"})
    found = sentences(store)
    titles = ["Units removed", "Matched units and others", "Networks together", "Two networks joined"]
    assert list(dict.fromkeys(sentence["title"] for sentence in found)) == titles
    text = "\n".join(sentence["text"] for sentence in found).replace("−", "-")
    pruned = frames["pruning_by_layer"].query("removal_order == 'partner_high' and fraction == 0.5 and compensated")
    assert f"{100 * pruned['top1_change'].mean():+.1f} points where those most alike go first" in text
    ablated = frames["ablation_by_layer"].query("quantity == 'unmatched_even'")["value"].mean()
    assert f"without as many unmatched ones by {ablated:.3f} (means over layers)" in text
    both = frames["ensembles"].query("size == 2").iloc[0]
    assert f"2 networks that vote classify {both['top1']:.1%} right" in text
    stitched = frames["stitching_by_layer"].query("way == 'matching'").set_index("layer")["top1_change"]
    assert f"joined by one-to-one partners, accuracy changes by {100 * stitched.min():+.1f} points" in text
    rescaled = frames["stitching_by_layer"].query("way == 'rescaled' and decay == 0")["top1_change"]
    assert f"standard deviation, accuracy changes by {100 * rescaled.min():+.1f} points" in text
    record.finish(store, "collect", "2", {}, {})
    assert sentences(store) == []


@pytest.mark.parametrize(("shares", "said"), [((0.0, 1.0), 0.0), ((0.0, 0.4, 1.0), 0.4)])
def test_networks_merged_at_the_shares_asked_for(tmp_path: Path, shares: tuple[float, ...], said: float) -> None:
    """Zipped networks are halves of each whatever was asked for, and say nothing of averages there."""
    ways = [(way, alpha) for way in ("naive", "permuted", "repaired") for alpha in shares]
    ways += [("zipped", 0.5), ("zipped_repaired", 0.5)]
    rows = [
        {"nets": "net1-net2", "matching": "correlation", "method": way, "alpha": alpha, "top1": number / 100}
        for number, (way, alpha) in enumerate(ways)
    ]
    store = RunStore(str(tmp_path / "run"))
    tables.write(store, "merges", pd.DataFrame(rows).reindex(columns=BY_NAME["merges"].schema.names))
    record.finish(store, "collect", "1", {}, {})
    record.finish(store, "merge", "x", {}, {"of": "1"})
    (sentence,) = sentences(store)
    assert f"(share of the second {said:g})" in sentence["text"]
    assert f"classify {ways.index(('naive', said)) / 100:.1%} right" in sentence["text"]
