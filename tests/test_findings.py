"""README and the manual say what the tables say that are kept beside them."""

from __future__ import annotations

import importlib.util
import math
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from raycv.analysis.contrasts import contrast

ROOT = Path(__file__).parent.parent


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("findings", ROOT / "scripts" / "findings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_pages_follow_from_those_kept() -> None:
    findings = script()
    pages = [page.read_text() for page in findings.PAGES]
    assert set(findings.BLOCKS) == {name for page in pages for name in re.findall(r"<!-- (\w+) -->\n[|`-]", page)}
    for page in pages:
        assert findings.filled(page, findings.Tables(findings.COPIES)) == page


def test_the_sentences_of_the_page_follow_from_them_too() -> None:
    findings = script()
    tables = findings.Tables(findings.COPIES)
    said = " ".join((ROOT / "docs" / "findings.md").read_text().split())
    rows = tables("alignment").query("similarity == 'correlation' and method == 'semi'")
    semi = rows.groupby("layer").mean(numeric_only=True)
    convolutional = [f"conv{n}" for n in range(1, 6)]
    assert (semi.loc[convolutional, "untrained_mean"] > semi.loc[convolutional, "mean"]).all()
    assert (
        f"({_short(semi.loc['conv3', 'untrained_mean'])} against {_short(semi.loc['conv3', 'mean'])} in conv3)" in said
    )
    assert semi["untrained_prerelu_excess"].abs().max() < 0.0065
    assert "their excess is within .006 of 0" in said
    order = semi.loc[convolutional, "prerelu_excess"]
    assert order.idxmax() == "conv1"
    assert order.idxmin() == "conv4"
    assert semi["prerelu_excess"].idxmin() == "fc7"
    fc7 = semi.loc["fc7"]
    assert f"In fc7 it is smallest ({_short(fc7['prerelu_excess'], 3)})" in said
    assert f"units correlate most ({_short(fc7['mean'])})" in said
    assert semi["mean"].drop("fc8").idxmax() == "fc7"
    inner = [*convolutional, "fc6", "fc7"]
    averages = tables("alignment_by_layer").query(findings.SEMI).set_index(["quantity", "layer"])
    excess = averages.loc["prerelu_excess"].loc[inner]
    assert (excess["networks_low"] > excess["untrained"]).all()
    above, conv4 = excess.loc[["conv1", "conv2", "conv5"]], excess.loc["conv4"]
    assert (above["networks_low"] > conv4["networks_high"]).all()
    assert above["networks_low"].max() < above["value"].max()
    named, share = averages.loc["beyond_chance"].loc[inner], averages.loc["estimated_share"].loc[inner, "value"]
    assert named["untrained"].max() < 0.0015
    assert named.loc[["conv1", "conv2", "conv3", "conv5"], "value"].between(0.2, 0.31).all()
    assert named.loc["fc7", "value"] < 0.01
    assert (round(5 * share["fc7"]), round(5 * share["conv2"])) == (2, 4)
    mappings = tables("mappings").query("decay == 0").groupby(["solver", "layer"])["loss"].mean()
    badly = mappings["exact"].loc["conv3":"conv5"] / 0.5
    assert f"{100 * badly.min():.0f} to {badly.max():.0%} of the variance in conv3 to conv5" in said
    left = mappings["sgd"] - mappings["exact"]
    assert [_short(left[layer]) for layer in ("conv3", "conv4", "conv5")] == [".05", ".05", ".02"]
    assert "leaves .05 more loss than the optimum in conv3 and conv4, .02 in conv5" in said
    graphs = tables("clusterings").query("is_default").groupby("layer").mean(numeric_only=True).loc["conv2":"conv5"]
    assert f"modularity of {_span(graphs['modularity'])}" in said
    assert f"mixtures of another {_span(graphs['mixed_modularity'])}" in said
    active = tables("activity").groupby("layer").mean(numeric_only=True).loc["conv1":"fc7"]
    assert f"is {_percent(active['typical_ratio'] - 1)} more active" in said
    assert f"span {_short(active['decades'].min(), 1)} to {active['decades'].max():.0f} decades" in said
    settled = tables("epochs", "epochs").groupby(["epoch", "layer"])["settled"].mean()
    assert f"{_percent(1 - settled[4].loc['conv1':'fc7'])} of the units of conv1 to fc7 still change" in said


def test_what_the_page_of_the_paper_says_of_table_1() -> None:
    findings = script()
    rows = findings.Tables(findings.COPIES)("mappings", "first").query("solver == 'sgd' and sought == ''")
    loss = rows[rows["layer"].str.startswith("conv")].groupby(["layer", "decay"])["loss"].mean().unstack()
    at = {decay: loss[loss.columns[(abs(loss.columns - decay) < 1e-9)][0]] for decay in (0, 1e-3, 0.1)}
    assert at[0][["conv1", "conv2"]].max() < at[0].drop(["conv1", "conv2"]).min()
    assert (at[1e-3] - at[0])[["conv1", "conv2"]].max() < 0.01
    assert at[0.1].min() > 0.495


def test_four_networks_speak_for_eight_as_the_page_says() -> None:
    findings = script()
    tables = findings.Tables(findings.COPIES)
    four, eight = (
        tables("alignment_by_layer", run).query(findings.SEMI).set_index(["quantity", "layer"])
        for run in ("first", "eight")
    )
    inner = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]
    for quantity in ("prerelu_excess", "estimated_share"):
        ends, value = four.loc[quantity].loc[inner], eight.loc[quantity].loc[inner, "value"]
        assert (ends["networks_low"] <= value).all()
        assert (value <= ends["networks_high"]).all()
    widths = [
        (one["networks_high"] - one["networks_low"])
        for one in (rows.loc["prerelu_excess"].loc[inner] for rows in (four, eight))
    ]
    assert 0.35 < (widths[1] / widths[0]).median() < 0.65
    lower = eight.loc["prerelu_excess"].loc[["conv3", "conv4", "fc6", "fc7"], "networks_high"]
    assert lower.max() < eight.loc["prerelu_excess"].loc[["conv1", "conv2"], "networks_low"].min()
    assert (
        four.loc["prerelu_excess"].loc["conv1", "networks_low"] < four.loc["prerelu_excess"].loc["fc7", "networks_high"]
    )


def test_the_sentences_of_the_pages_on_what_units_do_follow_from_the_first_run() -> None:
    findings = script()
    tables = findings.Tables(findings.COPIES)
    units, merging = (
        " ".join((ROOT / "docs" / f"{name}.md").read_text().replace("−", "-").split())
        for name in ("matched_units", "merging")
    )
    last = tables("training", "first").sort_values("epoch").groupby("net")["validation_top1"].last()
    assert f"top-1 {last.min():.1%} to {last.max():.1%}" in units
    assert f"(each {100 * last.min():.1f} to {last.max():.1%} alone)" in merging
    ablated = tables("ablation_by_layer", "first").set_index(["quantity", "layer"])
    matched, unmatched = (ablated.loc[f"{group}_even"] for group in ("matched", "unmatched"))
    times = (matched["value"] / unmatched["value"]).loc["conv2":"fc7"]
    assert "on average five to nineteen times" in units
    assert (math.floor(times.min()), math.ceil(times.max())) == (5, 19)
    assert (matched["value_low"] > unmatched["value"]).loc["conv2":"fc7"].all()
    assert unmatched.loc[["fc6", "fc7"], "value"].max() < 0.04
    convolutional = [f"conv{n}" for n in range(1, 6)]
    for column, title in (("std", "rank correlation within a network "), ("partner", "best partner less (")):
        assert title + _span(ablated.loc[f"unit_loss_by_{column}"].loc[convolutional, "value"]) in units
    given = ablated.loc["unit_loss_by_partner_given_std"]
    assert (given["value_low"] < 0).all()
    assert set(given.index[given["value_high"] < 0]) == {"conv1", "fc6"}


def test_the_sentences_on_pruning_stitching_and_votes_follow_from_it_too() -> None:
    findings = script()
    tables = findings.Tables(findings.COPIES)
    units = " ".join((ROOT / "docs" / "matched_units.md").read_text().replace("−", "-").split())
    half = (
        tables("pruning_by_layer", "first")
        .query("fraction == 0.5")
        .set_index(["compensated", "removal_order", "layer"])
    )
    change = 100 * half["top1_change"]
    plain = change[False].unstack("layer")
    assert (plain.loc[["weights", "activation"], "conv2":"fc6"].max() > -3.5).all()
    from_conv2 = plain.loc[:, "conv2":"fc7"]
    assert (from_conv2.loc["partner_low"] > from_conv2.loc["random"]).all()
    assert (
        from_conv2.loc[["redundancy", "partner_high"]].max() < from_conv2.drop(["redundancy", "partner_high"]).min()
    ).all()
    whole = change[True].unstack("layer")
    taken = (1 - whole.loc["random"] / plain.loc["random"]).loc["conv3":"conv5"]
    assert 0.45 < taken.min() < taken.max() < 0.75
    assert f"all but {-whole['fc7'].min():.1f} points at the most" in units
    stitched = tables("stitching_by_layer", "first")
    lost = 100 * stitched[stitched["way"] == "mean"]["top1_change"]
    assert f"it is {lost.mean():.0f} in every layer" in units
    groups = tables("ensembles", "first")
    of_size = groups.groupby("size")[["top1_gain", "loss_gain", "top1"]].mean()
    assert (
        "gain {:.1f} points of top-1 in pairs, {:.1f} in threes and {:.1f} all four".format(
            *100 * of_size["top1_gain"].loc[2:]
        )
        in units
    )
    assert f"({of_size['top1'][1]:.1%} to {of_size['top1'][4]:.1%})" in units
    assert "by {}, {} and {} nats".format(*(_short(one, 3) for one in of_size["loss_gain"].loc[2:])) in units
    pairs = 100 * groups.query("size == 2")["top1_gain"]
    assert f"between {pairs.min():.1f} and {pairs.max():.1f} points" in units
    assert f"it is {groups.query('size == 1')['loss'].mean():.3f} for the whole networks" in units


def test_the_sentences_on_merging_follow_from_it_too() -> None:
    findings = script()
    tables = findings.Tables(findings.COPIES)
    units = " ".join((ROOT / "docs" / "matched_units.md").read_text().split())
    of_size = tables("ensembles", "first").groupby("size")[["top1"]].mean()
    merges = tables("merges", "first").query("matching == 'correlation' and up_to == ''")
    two = merges[merges["nets"].str.count("-") == 1]
    barrier = two.groupby("method")["barrier"].mean()
    said = [_short(barrier[name]) for name in ("permuted", "repaired_closed", "repaired")]
    assert (
        f"from {barrier['naive']:.2f} nats (naive) to {said[0]} (matched), {said[1]} (closed form) and {said[2]}"
        in units
    )
    tenth = two[two["alpha"].isin([0.1])].groupby("method")["top1"].mean()
    assert (
        f"classifies {tenth['naive']:.1%} right, the repaired one {tenth['repaired']:.1%}, of {of_size['top1'][1]:.1%}"
        in units
    )
    all_four = merges[(merges["nets"].str.count("-") == 3) & (merges["method"] == "repaired")]["top1"].iloc[0]
    assert f"this one network has {all_four:.1%}; the four as a vote have {of_size['top1'][4]:.1%}" in units
    assert merges["permuted_error"].max() < 0.005


def test_the_sentences_of_readme_and_manual_follow_from_the_first_run() -> None:
    findings = script()
    tables = findings.Tables(findings.COPIES)
    pages = {
        path.stem: " ".join(path.read_text().split())
        for path in (ROOT / "README.md", *findings.PAGES, ROOT / "docs" / "method.md")
    }
    last = tables("training", "first").sort_values("epoch").groupby("net")["validation_top1"].last()
    assert f"validation top-1 {100 * last.min():.1f} to {last.max():.1%}" in pages["README"]
    rows = tables("alignment_by_layer", "first").query(findings.SEMI).set_index(["quantity", "layer"])
    inner = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]
    excess = rows.loc["prerelu_excess"].loc[inner]
    assert (excess["networks_low"] > excess["untrained"]).all()
    assert set(excess.index[excess["value"] < 0.03]) == {"conv4", "fc6", "fc7"}
    assert rows.loc["estimated_share"].loc[inner, "value"].round(1).between(0.3, 0.7).all()
    named = rows.loc["beyond_chance"]["value"]
    assert named["conv2"] == pytest.approx(1 / 5, abs=0.02)
    assert named["conv1"] == pytest.approx(1 / 9, abs=0.01)
    assert named[["fc6", "fc7"]].max() < 0.005
    convolutional = inner[:5]
    mean = rows.loc["mean"].loc[convolutional]
    assert (mean["untrained"] > mean["value"]).all()
    _four_bullets(pages["README"], rows, tables("measures", "first"))
    losses = (
        tables("mappings", "first").query("decay == 0 and sought == ''").groupby(["solver", "layer"])["loss"].mean()
    )
    left = losses["exact"][convolutional[2:]] / 0.5
    assert (
        f"leaves {100 * left.min():.0f} to {left.max():.0%} of the other's variance in conv3 to conv5"
        in pages["mapping"]
    )
    most = (losses["sgd"] - losses["exact"])[convolutional].max()
    assert f"the optimiser adds at most {most:.3f}" in pages["mapping"]
    conv1 = tables("alignment", "first").query(f"{findings.SEMI} and layer == 'conv1'")
    half, spread = (conv1["mean_high"] - conv1["mean_low"]).mean() / 2, conv1["mean"].std()
    assert f"±{_short(half, 3)}, and the standard deviation between pairs" in pages["method"]
    assert f"between pairs of networks is {_short(spread, 3)}" in pages["method"]


def _four_bullets(said: str, rows: pd.DataFrame, measures: pd.DataFrame) -> None:
    """README's numbers, each with that of untrained networks."""
    excess, share, named, mean = (
        rows.loc[name] for name in ("prerelu_excess", "estimated_share", "beyond_chance", "mean")
    )
    value, low, high, untrained = (
        f"{excess.at['conv2', name]:.3f}" for name in ("value", "networks_low", "networks_high", "untrained")
    )
    assert f"Units of conv2 correlate {value} more with their best partners" in said
    assert f"(95% interval over networks: {low} to {high}). Untrained: {untrained}." in said
    conv2, conv5, fc6 = (f"{share.at[layer, 'value']:.0%}" for layer in ("conv2", "conv5", "fc6"))
    assert f"By estimate {conv2} of conv2, {conv5} of conv5 and {fc6} of fc6. Untrained: 0%." in said
    assert share.loc[["conv2", "conv5", "fc6"], "untrained"].max() < 0.005
    conv1, conv2 = (f"{named.at[layer, 'value']:.0%}" for layer in ("conv1", "conv2"))
    assert f"{conv2} of the units of conv2, {conv1} of conv1 and 0% of fc6 and fc7" in said
    assert named.loc[["conv1", "conv2", "fc6", "fc7"], "untrained"].max() < 0.005
    trained, untrained = (f"{mean.at['conv3', name]:.3f}" for name in ("value", "untrained"))
    assert f"conv3 correlate {trained} with their best partners, untrained ones *more*: {untrained}." in said
    conv3 = measures.query("measure == 'effective_dimension' and layer_a == 'conv3'")
    assert f"({conv3['chance'].mean():.1f}, not {conv3['value'].mean():.1f})" in said


def test_the_verdicts_on_the_paper_follow_from_the_tables() -> None:
    findings = script()
    tables = findings.Tables(findings.COPIES)
    said = " ".join((ROOT / "docs" / "reviewer.md").read_text().replace("−", "-").split())
    inner = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]
    rows = tables("alignment_by_layer").query(findings.SEMI).set_index(["quantity", "layer"])
    share, excess, one = (rows.loc[name].loc[inner] for name in ("estimated_share", "prerelu_excess", "one_unit_share"))
    assert f"By estimate {share['value'].min():.0%} to {share['value'].max():.0%} of the units of a layer" in said
    assert (share["networks_low"] > share["untrained"]).all()
    assert share["untrained"].max() <= 0
    assert share["networks_high"].max() < 1
    graphs = tables("clusterings").query("is_default").groupby("layer").mean(numeric_only=True)
    middle = graphs.loc["conv2":"conv5"]
    assert f"{_span(middle['modularity'])} in conv2 to conv5" in said
    assert f"units mixed {_span(middle['mixed_modularity'])}" in said
    others = (graphs["modularity"] - graphs["mixed_modularity"])[["conv1", "fc6", "fc7"]]
    assert f"it is only {_span(others)} more than with mixtures" in said
    assert f"the excess is +{_short(excess['value'].min(), 3)} to +{_short(excess['value'].max(), 3)}" in said
    assert (excess["networks_low"] > excess["untrained"]).all()
    low, high = (
        f"{share:.0%} ({layer})"
        for share, layer in zip(one["value"].sort_values().iloc[[0, -1]], ("conv4", "conv1"), strict=True)
    )
    assert (one["value"].idxmin(), one["value"].idxmax()) == ("conv4", "conv1")
    assert f"one unit holds {low} to {high}" in said
    sparse = tables("mappings").query("solver == 'exact' and sought == '' and decay > 9e-4 and decay < 1.1e-3")
    sparse = sparse.groupby("layer")[["loss", "prerelu_loss", "units_used"]].mean().loc[inner]
    assert f"{sparse['units_used'].min():.0f} to {sparse['units_used'].max():.0f} others" in said
    assert (sparse["loss"] < sparse["prerelu_loss"]).all()
    active = tables("activity").groupby("layer")["decades"].mean()[inner]
    assert f"They span {_short(active.min(), 1)} to {active.max():.0f} decades" in said
    dealt = findings.dealt(tables)
    assert (dealt["networks"] < dealt["high"]).all()
    assert dealt.at["fc7", "networks"] < dealt.at["fc7", "low"]


def reviewed() -> tuple[Any, str]:
    """The kept tables, and what the page says of claims."""
    findings = script()
    said = " ".join((ROOT / "docs" / "reviewer.md").read_text().replace("−", "-").split())
    return findings.Tables(findings.COPIES), said


def test_the_verdicts_on_what_the_paper_proposes_do_too() -> None:
    tables, said = reviewed()
    half = tables("pruning_by_layer", "first").query("fraction == 0.5 and not compensated")
    change = 100 * half.pivot(index="removal_order", columns="layer", values="top1_change")
    low, random = -change.loc[["partner_low", "random"], "fc6"]
    assert f"costs {low:.1f} points of top-1, a random half {random:.1f}" in said
    assert (change.loc["activation", "conv2":] >= change.loc["partner_low", "conv2":]).all()
    ways = tables("combinations", "first")
    fewest = ways["units"] == ways.groupby("way")["units"].transform("min")
    top1 = ways[fewest].groupby("way")["top1"].mean()
    shown = [f"{top1[way]:.1%}" for way in ("matched", "random", "both")]
    assert "partners kept once: top-1 {}; as many at random: {}; all units: {}".format(*shown) in said


def test_the_verdicts_on_platonic_representations_do_too() -> None:
    tables, said = reviewed()
    last = {
        run: tables("training", run).sort_values("epoch").groupby("net")["validation_top1"].last()
        for run in ("first", "cifar10")
    }
    small, large = (f"{of.min():.1%} to {of.max():.1%}" for of in last.values())
    assert f"({large} against {small})" in said
    one, other = (
        tables("alignment_by_layer", run).query(script().SEMI).set_index(["quantity", "layer"]).loc["prerelu_excess"]
        for run in ("first", "cifar10")
    )
    assert set(one.index[other["value"] < one["value"]]) == {"fc7"}
    both = one.index
    assert ((other["networks_low"] < one["networks_high"]) & (one["networks_low"] < other["networks_high"]))[both].all()
    cka = [
        tables("measures", run).query("measure == 'debiased_cka'").groupby("layer_a")[["value", "chance"]].mean()
        for run in ("first", "cifar10")
    ]
    more = cka[1]["value"] - cka[0]["value"]
    assert more[["conv2", "fc6", "fc7"]].between(0.05, 0.095).all()
    assert f"smaller by {_short(-more['conv5'])} in conv5" in said
    assert all((of["value"] < of["chance"])[[f"conv{n}" for n in range(1, 6)]].all() for of in cka)
    few = tables("attribution", "attribution-eight").query("cell == 'few' and measure == 'prerelu_excess'")
    assert ((few["difference"] < 0) & (few["q_value"] <= 0.05)).sum() == 6 == len(few) - 1
    top1 = tables("attribution_cells", "attribution-eight").groupby("cell")["validation_top1"].first()
    assert (
        f"(top-1 {top1['few']:.1%}) networks have less excess than trained on all with it ({top1['true']:.1%})" in said
    )


def test_the_verdicts_on_layers_and_universal_neurons_do_too() -> None:
    tables, said = reviewed()
    found = tables("layers_found", "first").groupby(["by", "networks"])["accuracy"].mean()
    trained, untrained = (found["unbiased_cka", networks] for networks in ("trained", "untrained"))
    assert set(tables("layers_found", "first")["layers"]) == {8}
    assert f"By CKA {trained:.0%} of the layers find their namesake" in said
    assert f"But {untrained:.0%} do so in networks that are not trained" in said
    found_by_cka = tables("layers_found", "first").query("by == 'unbiased_cka'").set_index(["net_a", "net_b"])
    pairs = [
        found_by_cka.loc[found_by_cka["networks"] == which, "accuracy"].to_dict() for which in ("trained", "untrained")
    ]
    added = contrast(*pairs).interval
    assert f"training adds {100 * added.low:.0f} to {100 * added.high:.0f} points" in said
    assert f"with their best partners it is {found['mean', 'trained']:.0%}" in said
    recurring = tables("recurrence_by_layer", "first").set_index(["quantity", "layer"])["value"].drop("fc8", level=1)
    named, in_all = recurring.loc["partner_share"], recurring.loc["recurring_share"]
    assert f"{named.min():.0%} to {named.max():.0%} of the units of a layer can be said" in said
    assert set(in_all.index[in_all > 0]) == {"conv2"}
    assert f"{in_all['conv2']:.1%} of them" in said
    assert tables("recurrence", "first")["excess"].max() < 0.5


def _short(value: float, digits: int = 2) -> str:
    """0.467 is ".47"."""
    return f"{value:.{digits}f}".replace("0.", ".", 1)


def _span(values: pd.Series) -> str:
    """From the smallest to the largest."""
    return f"{_short(values.min())} to {_short(values.max())}"


def _percent(shares: pd.Series) -> str:
    return f"{100 * shares.min():.0f} to {shares.max():.0%}"
