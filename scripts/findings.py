"""Fill the manual with the numbers of runs: `python scripts/findings.py first=runs/first ...`.

Five runs are known: ``first`` (README's main job), ``cifar10``, ``epochs`` and ``eight`` (docs/findings.md says how
they were made), and ``attribution-eight`` (docs/attribution.md). Of each that is named, the tables and figures that the
pages rest on are copied to docs/findings/. Then every block of the pages between ``<!-- NAME -->`` and ``<!-- end -->``
is replaced by what the function of that name makes of the copies; without arguments only this is done.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from raycv.analysis.matching import semi_matching
from raycv.analysis.nulls import rotated
from raycv.analysis.significance import FALSE_DISCOVERIES, pooled_p_values, q_values
from raycv.stages.align.health import summary

ROOT = Path(__file__).parent.parent
PAGES = tuple(
    ROOT / "docs" / f"{name}.md"
    for name in ("output", "mapping", "findings", "matched_units", "merging", "paper", "attribution", "reviewer")
)
COPIES = ROOT / "docs" / "findings"
ALIGNED = ("training", "alignment", "alignment_by_layer", "measures", "mappings", "units")
AFTER = ("ablation_by_layer", "pruning_by_layer", "stitching_by_layer", "combinations", "ensembles", "merges")
# By run: the tables and figures that the pages rest on.
RUNS = {
    "first": ((*ALIGNED, *AFTER, "recurrence", "recurrence_by_layer"), ("figure-04-layers",)),
    "cifar10": (
        (*ALIGNED, "clusterings", "activity"),
        ("figure-04-layers",),
    ),
    "epochs": (("epochs", "training"), ("epochs",)),
    "eight": (("alignment_by_layer",), ()),
    "attribution-eight": (("attribution", "attribution_cells"), ("attribution",)),
}
ZEROS = {  # cells whose networks learn nothing in common, and the excess that is to be 0 there
    "untrained": "prerelu_excess",
    "random_different": "prerelu_excess",
    "memorised_each": "prerelu_excess",
    "equivariant": "excess",
}
PAPERS_DECAY = 10**-2.6
PAPERS_DECAYS = (0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
PAPERS_TABLE_1 = {  # by layer, at these decays
    "conv1": (0.170, 0.169, 0.162, 0.172, 0.484, 0.517),
    "conv2": (0.372, 0.368, 0.337, 0.392, 0.518, 0.514),
    "conv3": (0.434, 0.427, 0.383, 0.462, 0.497, 0.496),
    "conv4": (0.478, 0.470, 0.423, 0.477, 0.489, 0.488),
    "conv5": (0.484, 0.478, 0.439, 0.436, 0.478, 0.477),
}
PAPERS_CONV1 = ROOT / "tests" / "published" / "conv1_correlations_recovered.npz"
ORDERS = {
    "weights": "smallest incoming weights",
    "activation": "least active",
    "partner_low": "least alike a partner",
    "excess_low": "least excess",
    "random": "at random",
    "redundancy": "most redundant",
    "partner_high": "most alike a partner",
}
STITCHED = (
    ("matching", None, "one-to-one partners"),
    ("mapping", 0.0, "least squares (decay 0)"),
    ("rescaled", 0.0, "the same, rescaled"),
    ("mapping", 1e-3, "decay 10^-3"),
    ("mapping", PAPERS_DECAY, "decay 10^-2.6, the paper's"),
    ("rescaled", PAPERS_DECAY, "the same decay, rescaled"),
)
COMBINED = {
    "alone": "one network",
    "matched": "two networks, partners kept once",
    "redundancy": "two networks, least redundant",
    "random": "two networks, at random",
    "both": "two networks, all units",
    "ensemble": "two read-outs that vote",
}
MERGED = {
    "naive": "weights averaged as they are (`naive`)",
    "permuted": "units first matched by correlation (`permuted`)",
    "repaired_closed": "and moments repaired in closed form (`repaired_closed`)",
    "repaired": "or by a pass (`repaired`)",
    "zipped": "units paired within and across both networks (`zipped`)",
    "zipped_repaired": "and repaired by a pass (`zipped_repaired`)",
}
OUTPUTS = ("fc8", "logits")
NETWORKS = ("trained", "untrained")
SEMI = "similarity == 'correlation' and method == 'semi'"


class Tables:
    """The copied tables, each read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, run: str = "cifar10") -> pd.DataFrame:
        """Table ``name`` of one of the two runs."""
        return pd.read_parquet(self.folder / run / f"{name}.parquet")


def markdown(rows: pd.DataFrame, first: str) -> str:
    """A table of strings, whose index is the first column and has the heading ``first``."""
    lines = [[first, *map(str, rows.columns)], ["---"] * (len(rows.columns) + 1)]
    filled_in = rows.fillna("–").to_numpy().tolist()
    lines += [[str(name), *values] for name, values in zip(rows.index, filled_in, strict=True)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def by_layer(values: pd.Series, form: str) -> list[str]:
    """The values as text; a dash where there is none."""
    return [format(value, form).replace("-", "−") if pd.notna(value) else "–" for value in values]


def in_layers(frame: pd.DataFrame, columns: dict[str, tuple[str, str]], key: str = "layer") -> pd.DataFrame:
    """Means of ``columns`` (column: its heading and form) over the rows of each layer, layers from left to right."""
    means = frame.groupby(key, sort=False).mean(numeric_only=True)
    text = [by_layer(means[column], form) for column, (_, form) in columns.items()]
    return pd.DataFrame(text, index=[title for title, _ in columns.values()], columns=means.index)


def accuracy(tables: Tables) -> str:
    """Validation accuracy of every network at the end."""
    last = tables("training").sort_values("epoch").groupby("net").last()
    return markdown(pd.DataFrame({"top-1": by_layer(last["validation_top1"], ".1%")}, index=last.index).T, "")


def alignment(tables: Tables) -> str:
    """What matched units have beyond chance."""
    rows = tables("alignment").query(SEMI)
    found = in_layers(
        rows,
        {
            "prerelu_excess": ("excess over units mixed before the ReLU", "+z.3f"),
            "untrained_prerelu_excess": ("the same, untrained networks", "+z.3f"),
            "excess": ("excess over units mixed after it", "+z.3f"),
            "untrained_excess": ("the same, untrained networks", "+z.3f"),
            "one_unit_share": ("one unit's share of what all predict", ".2f"),
            "mean": ("correlation with the best partner", ".3f"),
            "untrained_mean": ("the same, untrained networks", ".3f"),
            "agreement": ("same partner when matched one to one", ".0%"),
        },
    )
    dimensions = tables("measures").query("measure == 'effective_dimension'")
    columns = {"value": ("effective dimensions", ".1f"), "chance": ("the same before training", ".1f")}
    return markdown(pd.concat([found, in_layers(dimensions, columns, "layer_a")]), "")


def mapping(tables: Tables) -> str:
    """Loss of the mapping layers, of the optimum and of the paper's training."""
    rows = tables("mappings")
    parts = []
    for decay, name in ((0.0, "decay 0"), (1e-3, "decay 0.001"), (PAPERS_DECAY, "decay 10^−2.6")):
        at = rows[(rows["decay"] - decay).abs() < 1e-9]
        exact, sgd = (at[(at["solver"] == solver) & (at["sought"] == "")] for solver in ("exact", "sgd"))
        parts.append(
            in_layers(exact, {"loss": (f"{name}: optimum", ".3f"), "heldout_loss": (f"{name}: held out", ".3f")})
        )
        null = {"prerelu_loss": (f"{name}: from as many mixtures of the units", ".3f")}
        parts.append(in_layers(exact, null))
        parts.append(in_layers(sgd, {"loss": (f"{name}: the paper's training", ".3f")}))
        parts.append(in_layers(exact, {"units_used": (f"{name}: units used", ".1f")}))
    return markdown(pd.concat(parts), "loss (0.5 predicts nothing)")


def clusters(tables: Tables) -> str:
    """Clusters of two networks' units at the default k."""
    rows = tables("clusterings").query("is_default").copy()
    rows["one"] = rows["one_net"] / rows["k"]
    units = tables("units").groupby(["layer", "net"], sort=False).size().groupby("layer", sort=False).first()
    of_both = 2 * rows["layer"].map(units)
    rows["two"], rows["mixed_two"] = (rows[name] / of_both for name in ("units_two_net", "mixed_units_two_net"))
    columns = {
        "k": ("k", ".0f"),
        "one": ("clusters of one network", ".0%"),
        "two": ("units in clusters of both", ".0%"),
        "mixed_two": ("the same, one network's units mixed", ".0%"),
        "modularity": ("modularity", ".2f"),
        "mixed_modularity": ("the same, one network's units mixed", ".2f"),
    }
    return markdown(in_layers(rows, columns), "")


def means(tables: Tables) -> str:
    """How alike the networks' mean activations are, rank by rank."""
    columns = {
        "decades": ("spread within a network, decades", ".2f"),
        "distance": ("distance between networks, decades", ".2f"),
        "typical_ratio": ("largest to smallest of four networks, typical rank", ".2f"),
        "top_ratio": ("the same at the top rank", ".2f"),
    }
    return markdown(in_layers(tables("activity"), columns), "")


def epochs(tables: Tables) -> str:
    """How the alignment comes about."""
    rows = tables("epochs", "epochs")
    means = rows.groupby(["epoch", "layer"], sort=False).mean(numeric_only=True)
    parts = []
    for column, title, form in (("prerelu_excess", "excess", "+z.3f"), ("settled", "settled", ".0%")):
        wide = means[column].unstack("layer").sort_index()[list(dict.fromkeys(rows["layer"]))]
        text = wide.apply(lambda of_layer, form=form: by_layer(of_layer, form))
        text.index = [f"{title}, after epoch {epoch}" for epoch in wide.index]
        parts.append(text)
    return markdown(pd.concat(parts), "")


def papers_conv1(_tables: Tables) -> str:
    """The paper's own conv1, from correlations that its authors published as pictures, against mixtures of units."""
    with np.load(PAPERS_CONV1) as given:
        cross = given["between_net1_net2"].astype(np.float64)
        within = [given[f"within_net{n}"].astype(np.float64) for n in (1, 2)]
    columns = {}
    for title, of_pair, of_other in (("net1 in net2", cross, within[1]), ("net2 in net1", cross.T, within[0])):
        best = np.abs(of_pair).max(1)
        null = rotated(of_pair, of_other, rotations=200)
        beyond = q_values(pooled_p_values(best, null.values)) <= 0.05
        weak = semi_matching(of_pair).values < 0.5
        columns[title] = [
            f"{semi_matching(of_pair).values.mean():.3f}",
            f"{null.mean:.3f}",
            f"{best.mean() - null.mean:+.3f}",
            f"{beyond.sum()} of {len(best)}",
            f"{(beyond & weak).sum()} of {weak.sum()}",
        ]
    rows = (
        "correlation with the best partner",
        "the same with mixtures of the other network's units",
        "excess (absolute correlations)",
        "units whose partner is beyond the mixtures",
        "the same of units without a partner above .5",
    )
    return markdown(pd.DataFrame(columns, index=rows), "conv1 of the paper's networks")


def first_sharing(tables: Tables) -> str:
    """What the main job's trained networks share, with intervals over networks, and untrained ones beside it."""
    return _sharing(tables("alignment_by_layer", "first"))


def sharing(tables: Tables) -> str:
    """The same of the networks that were trained on all of CIFAR-10."""
    return _sharing(tables("alignment_by_layer"))


def _sharing(averages: pd.DataFrame) -> str:
    rows = averages.query(SEMI).set_index(["quantity", "layer"])
    layers = [layer for layer in rows.loc["mean"].index if layer != "fc8"]
    columns: dict[str, list[str]] = {}
    for quantity, title, form in (
        ("prerelu_excess", "excess over mixed units (95% interval)", ".3f"),
        ("estimated_share", "units with a partner, estimated (95% interval)", ".0%"),
        ("beyond_chance", "units whose partner can be named", ".0%"),
    ):
        of_layers = rows.loc[quantity].loc[layers]
        value, low, high = (by_layer(of_layers[name], form) for name in ("value", "networks_low", "networks_high"))
        whole = [f"{one} ({least} to {most})" for one, least, most in zip(value, low, high, strict=True)]
        columns[title] = value if quantity == "beyond_chance" else whole
        # The estimate may fall below 0: the p-values of units without a partner are larger than uniform ones.
        untrained = of_layers["untrained"].clip(lower=0) if "share" in quantity else of_layers["untrained"]
        columns[f"untrained{' ' * len(columns)}"] = by_layer(untrained, form)
    return markdown(pd.DataFrame(columns, index=layers), "")


def four_and_eight(tables: Tables) -> str:
    """Excess from the main job's four networks, and from eight of which these are the first."""
    columns: dict[str, list[str]] = {}
    for run in ("first", "eight"):
        rows = tables("alignment_by_layer", run).query(SEMI).set_index(["quantity", "layer"])
        for quantity, title, form in (
            ("prerelu_excess", "excess over mixed units", ".3f"),
            ("estimated_share", "units with a partner, estimated", ".0%"),
        ):
            of_layers = rows.loc[quantity].loc[[layer for layer in rows.loc[quantity].index if layer != "fc8"]]
            ends = (by_layer(of_layers[name], form) for name in ("value", "networks_low", "networks_high"))
            name = "four" if run == "first" else run
            columns[f"{title}, {name}"] = [f"{one} ({low} to {high})" for one, low, high in zip(*ends, strict=True)]
    return markdown(pd.DataFrame(columns, index=of_layers.index), "95% intervals over networks")


def first_correlation(tables: Tables) -> str:
    """Correlations alone, and why they say little."""
    rows = tables("alignment", "first").query(SEMI)
    columns = {
        "mean": ("correlation with the best partner, trained", ".3f"),
        "untrained_mean": ("untrained", ".3f"),
    }
    dimensions = tables("measures", "first").query("measure == 'effective_dimension'")
    of_layers = {"value": ("effective dimensions, trained", ".1f"), "chance": ("untrained ", ".1f")}
    both = pd.concat([in_layers(rows, columns), in_layers(dimensions, of_layers, "layer_a")])
    return markdown(both.drop(columns="fc8").T, "")


def first_output(tables: Tables) -> str:
    """The lines in which the main job ends."""
    return f"```\n{summary(tables('alignment', 'first'), 'fc8', [])}\n```"


def first_mapping(tables: Tables) -> str:
    """Loss of mapping layers in the main job's networks, of the optimum and of the paper's training."""
    rows = tables("mappings", "first")
    rows = rows[rows["layer"].str.startswith("conv") & (rows["sought"] == "")]
    columns: dict[str, list[str]] = {}
    for decay, name in ((0.0, "decay 0"), (PAPERS_DECAY, "decay 10^-2.6")):
        means = rows[(rows["decay"] - decay).abs() < 1e-9].groupby(["solver", "layer"]).mean(numeric_only=True)
        ends = (by_layer(means.loc["exact", column], ".3f") for column in ("loss", "heldout_loss"))
        columns[f"exact, {name}: fitted, held out"] = [f"{fitted}, {left}" for fitted, left in zip(*ends, strict=True)]
        columns[f"sgd, {name}"] = by_layer(means.loc["sgd", "loss"], ".3f")
    return markdown(pd.DataFrame(columns, index=sorted(rows["layer"].unique())), "")


def _halves(rows: pd.DataFrame, column: str, form: str) -> list[str]:
    """Values with half of their 95% intervals over networks."""
    half = (rows[f"{column}_high"] - rows[f"{column}_low"]) / 2
    return [f"{one} ± {two}" for one, two in zip(by_layer(rows[column], form), by_layer(half, form), strict=True)]


def _points(share: pd.Series) -> list[str]:
    """Changes of top-1 in points."""
    return by_layer(100 * share, "+.1f")


def groups_ablated(tables: Tables) -> str:
    """What the loss rises by without as many matched and unmatched units."""
    rows = tables("ablation_by_layer", "first").set_index("quantity")
    text = {}
    for group, title in (("matched", "rise without matched ones"), ("unmatched", "rise without unmatched ones")):
        even = rows.loc[f"{group}_even"].set_index("layer")
        text["units removed"] = by_layer(even["units"], ".1f")
        text[title] = _halves(even, "value", ".3f")
    return markdown(pd.DataFrame(text, index=even.index).T, "")


def single_units_ablated(tables: Tables) -> str:
    """What goes with the rise of the loss without one unit."""
    rows = tables("ablation_by_layer", "first").set_index("quantity")
    text = {}
    for column, title in (("std", "its standard deviation"), ("partner", "its correlation with its best partner")):
        text[title] = by_layer(rows.loc[f"unit_loss_by_{column}"].set_index("layer")["value"], ".2f")
    given = rows.loc["unit_loss_by_partner_given_std"].set_index("layer")
    text["the same at equal standard deviation"] = _halves(given, "value", ".2f")
    return markdown(pd.DataFrame(text, index=given.index).T, "rank correlation of the rise without one unit with")


def pruned(tables: Tables) -> str:
    """Change of top-1 without half of a layer, and with compensation in brackets."""
    rows = tables("pruning_by_layer", "first").query("fraction == 0.5").set_index(["removal_order", "layer"])
    plain, compensated = (rows[rows["compensated"] == which]["top1_change"] for which in (False, True))
    layers = list(dict.fromkeys(plain.index.get_level_values("layer")))
    text = {}
    for order, title in ORDERS.items():
        both = zip(_points(plain[order][layers]), _points(compensated[order][layers]), strict=True)
        text[title] = [f"{one} ({other})" for one, other in both]
    return markdown(pd.DataFrame(text, index=layers).T, "first to go")


def stitched(tables: Tables) -> str:
    """What networks lose that run on another's layers, and how well these predict."""
    rows = tables("stitching_by_layer", "first")
    text: dict[str, list[str]] = {}
    for way, decay, title in STITCHED:
        of_way = rows[
            (rows["way"] == way) & (rows["decay"].isna() if decay is None else (rows["decay"] - decay).abs() < 1e-9)
        ]
        at = of_way.set_index("layer")
        text[title] = _points(at["top1_change"])
        text[f"{title}: prediction loss"] = by_layer(at["prediction_loss"], ".3f")
        if way == "mapping" and decay:
            text[f"{title}: units used"] = by_layer(at["units_used"], ".1f")
    return markdown(pd.DataFrame(text, index=at.index).T, "")


def combined(tables: Tables) -> str:
    """Linear read-outs of one and of two networks."""
    rows = tables("combinations", "first")
    as_few = rows["units"] == rows.groupby("way")["units"].transform("min")  # as one network has, where that is asked
    rows = rows[as_few].groupby("way", sort=False)[["units", "top1", "loss"]].mean()
    return markdown(
        pd.DataFrame(
            {
                "units": by_layer(rows["units"][list(COMBINED)], ".0f"),
                "top-1": by_layer(rows["top1"][list(COMBINED)], ".1%"),
                "loss": by_layer(rows["loss"][list(COMBINED)], ".3f"),
            },
            index=list(COMBINED.values()),
        ),
        "",
    )


def merged(tables: Tables) -> str:
    """Top-1 of networks made of two, and of all, at equal shares."""
    rows = tables("merges", "first")
    rows = rows[
        (rows["matching"] == "correlation") & (rows["up_to"] == "") & (rows["alpha"].isna() | (rows["alpha"] == 0.5))
    ]
    text = {}
    for method, title in MERGED.items():
        of_method = rows[rows["method"] == method].set_index("nets")["top1"]
        pairs = of_method[[nets for nets in of_method.index if nets.count("-") == 1]]
        whole = of_method[[nets for nets in of_method.index if nets.count("-") > 1]]
        shares = (f"{100 * pairs.min():.1f} to {100 * pairs.max():.1f}", f"{pairs.mean():.1%}")
        text[title] = [f"{shares[1]} ({shares[0]})", f"{whole.iloc[0]:.1%}" if len(whole) else "–"]
    return markdown(pd.DataFrame(text, index=["pairs", "all four"]).T, "")


def papers_table1(tables: Tables) -> str:
    """The paper's Table 1 beside the same training of the main job's networks."""
    rows = tables("mappings", "first").query("solver == 'sgd' and sought == ''")
    text = {}
    for layer, papers in PAPERS_TABLE_1.items():
        of_layer = rows[rows["layer"] == layer]
        ours = [of_layer[(of_layer["decay"] - decay).abs() < 1e-9]["loss"].mean() for decay in PAPERS_DECAYS]
        text[f"{layer}, the paper"] = [f"{value:.3f}" for value in papers]
        text[f"{layer}, here"] = [f"{value:.3f}" for value in ours]
    return markdown(pd.DataFrame(text, index=[f"decay {decay:g}" for decay in PAPERS_DECAYS]).T, "")


def _of_cells(tables: Tables, measure: str) -> pd.DataFrame:
    """Rows of attribution_cells of one measure and the layers before the logits, by cell and layer, in their order."""
    rows = tables("attribution_cells", "attribution-eight").query("measure == @measure and layer not in @OUTPUTS")
    return rows.set_index(["cell", "layer"])


def _contrasts(tables: Tables) -> pd.DataFrame:
    rows = tables("attribution", "attribution-eight")
    return rows[(rows["measure"] == "prerelu_excess") & ~rows["layer"].isin(OUTPUTS)]


def _by_cell(rows: pd.DataFrame, text: Sequence[str]) -> str:
    """A table of ``text``, one for each of ``rows``: cells below one another, layers from left to right."""
    wide = pd.Series(list(text), index=rows.index).unstack("layer")
    order = [list(dict.fromkeys(rows.index.get_level_values(level))) for level in ("cell", "layer")]
    wide = wide.loc[order[0], order[1]]
    wide.index = [f"`{cell}`" for cell in wide.index]
    return markdown(wide, "")


def _within(rows: pd.DataFrame, form: str) -> list[str]:
    """Values with half of their intervals."""
    half = (rows["high"] - rows["low"]) / 2
    return [f"{one} ± {two}" for one, two in zip(by_layer(rows["value"], form), by_layer(half, form), strict=True)]


def attributed_trained(tables: Tables) -> str:
    """How far the networks of every cell were trained."""
    cells = tables("attribution_cells", "attribution-eight").groupby("cell", sort=False).first()
    cells.index = [f"`{cell}`" for cell in cells.index]
    text = {
        "loss in the last epoch, nats": by_layer(cells["train_loss"], ".2f"),
        "top-1 on all validation images": by_layer(cells["validation_top1"], ".1%"),
    }
    return markdown(pd.DataFrame(text, index=cells.index), "")


def attributed_excess(tables: Tables) -> str:
    """The excess of every cell, with half of its interval over networks."""
    rows = _of_cells(tables, "prerelu_excess")
    return _by_cell(rows, _within(rows, "z.3f"))


def attributed_shares(tables: Tables) -> str:
    """The estimated share of units with a partner."""
    rows = _of_cells(tables, "estimated_share")
    return _by_cell(rows, _within(100 * rows[["value", "low", "high"]], "z.0f"))


def attributed_cka(tables: Tables) -> str:
    """CKA without bias, and the correlation with the best partner: what does not tell the cells apart."""
    rows, beside = (_of_cells(tables, measure) for measure in ("debiased_cka", "correlation"))
    both = zip(by_layer(rows["value"], ".2f"), by_layer(beside.loc[rows.index, "value"], ".2f"), strict=True)
    return _by_cell(rows, [f"{cka}, {correlation}" for cka, correlation in both])


def zeros(tables: Tables) -> pd.DataFrame:
    """Of the cells whose networks learn nothing in common: the excess, and how many standard errors it is from 0."""
    cells = [_of_cells(tables, measure).query("cell == @cell") for cell, measure in ZEROS.items()]
    rows = pd.concat([of_cell for of_cell in cells if len(of_cell)])
    error = (rows["high"] - rows["low"]) / 2 / stdtrit(rows["networks"] - 1, 0.975)
    return rows.assign(errors=rows["value"] / error)


def attributed_zeros(tables: Tables) -> str:
    """The zero cells, and how many of them are within two standard errors of 0."""
    rows = zeros(tables)
    both = zip(by_layer(rows["value"], "+z.3f"), by_layer(rows["errors"], "+z.1f"), strict=True)
    said = []
    for cell, of_cell in rows.groupby("cell", sort=False):
        far = of_cell[of_cell["errors"].abs() > 2].index.get_level_values("layer")
        of_all = f"{len(of_cell) - len(far)} of {len(of_cell)} layers"
        said.append(f"- `{cell}`: within two in {of_all}{f'; not in {_listed(far)}' if len(far) else ''}.")
    chance = 2 * stdtr(int(rows["networks"].min()) - 1, -2)
    expected = f"{len(rows) * chance:.1f} of {len(rows)}"
    said.append(f"- By chance one in {1 / chance:.0f} lies farther off, where all are 0: {expected}.")
    table = _by_cell(rows, [f"{value} ({errors})" for value, errors in both])
    return "\n".join([table, "", "The numbers in brackets are standard errors:", "", *said])


def attributed_differences(tables: Tables) -> str:
    """Differences between cells in excess, with their false discovery rates; those of at most 5% are bold."""
    rows = _contrasts(tables).copy()
    rows["cell"] = rows["cell"] + "` − `" + rows["against"]
    rows = rows.set_index(["cell", "layer"])
    text = []
    for value, q in zip(by_layer(rows["difference"], "+z.3f"), rows["q_value"], strict=True):
        rate = f"{q:.3f}" if q >= 0.001 else "< 0.001"
        text.append(f"**{value}** ({rate})" if q <= FALSE_DISCOVERIES else f"{value} ({q:.2f})")
    return _by_cell(rows, text)


def attributed_found(tables: Tables) -> str:
    """The same in sentences, with intervals: what is found, and how large what is not found could be."""
    said = []
    for (cell, against), rows in _contrasts(tables).groupby(["cell", "against"], sort=False):
        parts = []
        for sign, word in ((1, "more"), (-1, "less")):
            of_sign = rows[(rows["q_value"] <= FALSE_DISCOVERIES) & (np.sign(rows["difference"]) == sign)]
            each = [f"{row.layer} ({_signed(row.low)} to {_signed(row.high)})" for row in of_sign.itertuples()]
            parts += [f"{word} in {_listed(each)}"] if each else []
        unknown = rows[rows["q_value"] > FALSE_DISCOVERIES]
        each = [f"{row.layer} ({_signed(row.low)} to {_signed(row.high)})" for row in unknown.itertuples()]
        parts += [f"not known in {_listed(each)}"] if each else []
        said.append(f"- `{cell}` beside `{against}`: {'; '.join(parts)}.")
    return "\n".join(said)


def reviewed_units(tables: Tables) -> str:
    """How many units have a partner in another network and in all others; how far single ones are beyond chance."""
    rows = tables("recurrence_by_layer", "first").set_index(["quantity", "layer"])
    layers = [layer for layer in rows.loc["partner_share"].index if layer != "fc8"]
    shares = {"partner_share": "with a partner in another network", "recurring_share": "with one in all three others"}
    text = {}
    for quantity, title in shares.items():
        text[title] = by_layer(rows.loc[quantity].loc[layers, "value"], ".1%")
        text[f"{title}: untrained"] = by_layer(rows.loc[quantity].loc[layers, "untrained"], ".1%")
    excess = tables("recurrence", "first").groupby("layer")["excess"]
    text["largest excess of a unit"] = by_layer(excess.max()[layers], ".2f")
    text["units with an excess above .5"] = by_layer((excess.apply(lambda of: (of > 0.5).sum()))[layers], "d")
    return markdown(pd.DataFrame(text, index=layers).T, "of all units")


def dealt(tables: Tables) -> pd.DataFrame:
    """How far networks' mean activations are apart, rank by rank, in decades, and the same of units dealt at random.

    (layers,): means over pairs of networks; ``low`` and ``high`` hold 95% of 200 deals of two networks' units.
    """
    units = tables("units").query("not is_dead and layer != 'fc8'")
    rng, rows = np.random.default_rng(0), {}
    for layer, of_layer in units.groupby("layer", sort=False):
        nets = [np.log10(of_net["mean"].to_numpy()) for _, of_net in of_layer.groupby("net")]
        found = []
        for one, other in combinations(nets, 2):
            count, both = min(len(one), len(other)), np.concatenate([one, other])
            orders = [rng.permutation(len(both)) for _ in range(200)]
            pairs = [(one, other), *((both[o[: len(one)]], both[o[len(one) :]]) for o in orders)]
            at = (np.arange(count) + 0.5) / count
            found.append([np.abs(np.quantile(a, at) - np.quantile(b, at)).mean() for a, b in pairs])
        mean = np.mean(found, axis=0)
        rows[layer] = (mean[0], np.mean(mean[1:]), *np.quantile(mean[1:], (0.025, 0.975)))
    return pd.DataFrame(rows, index=["networks", "dealt", "low", "high"]).T


def reviewed_means(tables: Tables) -> str:
    """Whether mean activations are more alike in two networks than units dealt at random to them would be."""
    rows = dealt(tables)
    ends = zip(*(by_layer(rows[name], ".3f") for name in ("dealt", "low", "high")), strict=True)
    text = {
        "two networks": by_layer(rows["networks"], ".3f"),
        "their units dealt at random (95%)": [f"{mean} ({low} to {high})" for mean, low, high in ends],
    }
    return markdown(pd.DataFrame(text, index=rows.index).T, "distance, decades")


def reviewed_layers(tables: Tables) -> str:
    """How many layers find the one of their own name in another network."""
    rows = tables("layers_found", "first").groupby(["by", "networks"], sort=False)["accuracy"]
    titles = {"unbiased_cka": "CKA without bias", "mean": "correlation with the best partner"}
    of = dict(list(rows))
    text = {
        title: [f"{of[by, n].mean():.0%} ({of[by, n].min():.0%} to {of[by, n].max():.0%})" for n in NETWORKS]
        for by, title in titles.items()
    }
    return markdown(pd.DataFrame(text, index=list(NETWORKS)).T, "layers that find their namesake by")


def reviewed_growth(tables: Tables) -> str:
    """Networks of two sizes, trained on as many images as they say: their excess and their CKA."""
    columns = {}
    for run, title in (("first", "18 units in conv1, 8,000 images"), ("cifar10", "24 units in conv1, 50,000 images")):
        rows = tables("alignment_by_layer", run).query(SEMI).set_index(["quantity", "layer"])
        layers = [layer for layer in rows.loc["mean"].index if layer != "fc8"]
        excess = rows.loc["prerelu_excess"].loc[layers]
        ends = (by_layer(excess[name], ".3f") for name in ("value", "networks_low", "networks_high"))
        columns[f"excess, {title}"] = [f"{one} ({low} to {high})" for one, low, high in zip(*ends, strict=True)]
        cka = tables("measures", run).query("measure == 'debiased_cka'").groupby("layer_a")[["value", "chance"]].mean()
        columns[f"CKA, {title}"] = by_layer(cka.loc[layers, "value"], ".2f")
        columns[f"CKA untrained, {title}"] = by_layer(cka.loc[layers, "chance"], ".2f")
    return markdown(pd.DataFrame(columns, index=layers).T, "")


def _signed(value: float) -> str:
    return f"{value:+z.3f}".replace("-", "−")


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


BLOCKS: dict[str, Callable[[Tables], str]] = {
    function.__name__: function
    for function in (
        *(first_sharing, first_correlation, first_output, first_mapping),
        *(groups_ablated, single_units_ablated, pruned, stitched, combined, merged, papers_table1),
        *(attributed_trained, attributed_excess, attributed_zeros, attributed_differences, attributed_found),
        *(attributed_shares, attributed_cka, reviewed_units, reviewed_means, reviewed_layers, reviewed_growth),
        *(four_and_eight, accuracy, papers_conv1, alignment, sharing, mapping, clusters, means, epochs),
    )
}


def filled(page: str, tables: Tables) -> str:
    """A page with every block made anew."""

    def block(found: re.Match[str]) -> str:
        return f"<!-- {found[1]} -->\n{BLOCKS[found[1]](tables)}\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", block, page, flags=re.DOTALL)


def copy(run: Path, name: str, tables: Sequence[str], figures: Sequence[str]) -> None:
    """Copy what the page needs of one run."""
    folder = COPIES / name
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        pd.read_parquet(run / "tables" / table).to_parquet(folder / f"{table}.parquet", compression="zstd", index=False)
    for figure in figures:
        shutil.copy(run / "figures" / f"{figure}.png", folder)


def main() -> None:
    """Copy what is named, and fill the pages."""
    for given in sys.argv[1:]:
        name, _, run = given.partition("=")
        if name not in RUNS or not run:
            raise SystemExit(__doc__)
        copy(Path(run), name, *RUNS[name])
    for page in PAGES:
        page.write_text(filled(page.read_text(), Tables(COPIES)))


if __name__ == "__main__":
    main()
