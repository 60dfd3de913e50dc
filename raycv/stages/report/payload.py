"""The numbers behind the page: one JSON object per layer, its arrays packed into strings.

Networks are meant by their number, pairs as ``[a][b]``: what is said of net a's units with respect to net b.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from raycv.paper import SPARSE_DECAY, TOP_PATCHES
from raycv.stages.report.sprites import Pictures, Sheets

PREDICTORS = 5  # shown of a unit, at most
MOST_CELLS = 2_000_000  # of the matrices of all layers; those that do not fit any more are left out
MOST_NUMBER_BYTES = 18e6  # of the numbers of all layers; with more networks than fit, the first are shown
UNIT_BYTES = 139  # what is said of a unit and one other network; all layers of four of the paper's networks fit
MOST_SAMPLED = 1_500_000  # activations in sampled images, of all layers, a byte each and two more for its place ...
LEAST_SAMPLED = 32  # ... which are left out where they do not leave room for so many images
MOST_CONTEXTS, MOST_UNITS = 40_000, 100_000  # of texts around tokens, of all layers; of units that have one at least
MOST_MAPPING_BYTES = 5e5  # of a layer with several decays; beyond it only the one nearest to the paper's is kept

PARTNER = {
    "unit": "unit_b",
    "value": "value",
    "chance": "rotated_value",
    "excess": "excess",
    "q": "q_value",
}  # columns of the table matchings

CLUSTERING = {  # columns of the table clusterings, and their names in the page
    "is_default": "is_default",
    "chosen": "chosen",
    "threshold": "threshold",
    "size_limit": "size_limit",
    "modularity": "modularity",
    "mixed_modularity": "mixed",
}
EDGES = ("top_edge", "left_edge", "bottom_edge", "right_edge")

Pair = Callable[[str, str], Any]


def packed(values: Any) -> str:
    """An array as KIND:BASE64 of its bytes, little-endian; KIND is f4 (float32), or i1, i2 or i4 (integers)."""
    array = np.asarray(values)
    kind = (
        "i1"
        if array.dtype == np.int8
        else "f4"
        if array.dtype.kind == "f"
        else "i2"
        if not array.size or array.max() < 2**15
        else "i4"
    )
    return f"{kind}:{base64.b64encode(array.astype(f'<{kind}').tobytes()).decode()}"


def of_pairs(nets: Sequence[str], fact: Pair) -> list[list[Any]]:
    """``fact(net a, net b)`` of every ordered pair, None for a network with itself."""
    return [[None if a == b else fact(a, b) for b in nets] for a in nets]


def unit_columns(units: pd.DataFrame, nets: Sequence[str]) -> list[dict[str, Any]]:
    """For every network the activation of its units, in the order of their numbers. ``units``: rows of one layer."""
    result = []
    for net in nets:
        rows = units[units["net"] == net].sort_values("unit")
        numbers = {name: packed(rows[name]) for name in ("mean", "std", "active_fraction")}
        state = np.where(rows["is_dead"], 1, np.where(rows["is_rare"], 2, 0))
        result.append({"width": len(rows), **numbers, "state": packed(state)})
    return result


def recurrence_columns(recurrence: pd.DataFrame, nets: Sequence[str]) -> list[dict[str, Any]]:
    """For every network in how many others each unit has a partner above chance. ``recurrence``: rows of one layer."""
    of_net = {str(net): rows.sort_values("unit") for net, rows in recurrence.groupby("net")}
    columns = {
        "partners": "partners",
        "mutual": "mutual",
        "excess": "excess",
        "q": "q_value",
        "group": "recurring_group",
    }
    return [{name: packed(of_net[net][column]) for name, column in columns.items()} for net in nets]


def label_columns(labels: pd.DataFrame, nets: Sequence[str], widths: Sequence[int]) -> list[str]:
    """For every network the class of each unit's top patches, (S, TOP_PATCHES), -1 where there is none."""
    result = []
    for net, width in zip(nets, widths, strict=True):
        rows = labels[labels["net"] == net]
        found = np.full((width, TOP_PATCHES), -1)
        found[rows["unit"], rows["rank"] - 1] = rows["label"]
        result.append(packed(found))
    return result


def image_columns(top: pd.DataFrame, nets: Sequence[str], widths: Sequence[int]) -> list[str]:
    """For every network the images of each unit's top patches, (S, TOP_PATCHES), -1 where there is none."""
    result = []
    for net, width in zip(nets, widths, strict=True):
        rows = top[top["net"] == net]
        found = np.full((width, TOP_PATCHES), -1)
        found[rows["unit"], rows["rank"] - 1] = rows["image"]
        result.append(packed(found))
    return result


def contexts_shown(widths: Mapping[str, Sequence[int]]) -> int:
    """Of how many tokens for every unit the page has room for the text around; ``widths``: units by layer."""
    units = sum(map(sum, widths.values()))
    return max(int(units <= MOST_UNITS), min(TOP_PATCHES, MOST_CONTEXTS // units))


def context_columns(contexts: pd.DataFrame, nets: Sequence[str], widths: Sequence[int]) -> list[list[list[list[str]]]]:
    """For every network and unit its texts [before, token, after], by rank. ``contexts``: rows of one layer."""
    found: list[list[list[list[str]]]] = [[[] for _ in range(width)] for width in widths]
    place = {net: number for number, net in enumerate(nets)}
    rows = contexts[contexts["net"].isin(place)].sort_values("rank")
    columns = ["net", "unit", "before", "token", "after"]
    for net, unit, *texts in rows[columns].itertuples(index=False, name=None):
        found[place[net]][unit].append(texts)
    return found


def sampled_images(widths: Mapping[str, Sequence[int]], there: int) -> int:
    """Of how many of the sampled images the page has room for the activations; ``widths``: units by layer."""
    units = sum(map(sum, widths.values()))
    room = MOST_SAMPLED // units
    return 0 if room < min(LEAST_SAMPLED, there) else min(there, room)


def sample_columns(
    sampled: pd.DataFrame, images: Sequence[int], nets: Sequence[str], widths: Sequence[int]
) -> dict[str, Any]:
    """The activations of all units in the sampled ``images`` that all networks have, as far as they go.

    ``sampled``: rows of one layer in the table sampled_activations. ``values`` (S, images) are in 254 steps from a
    unit's ``low`` to its ``high``; ``box`` (S, images) are the numbers of rows of ``boxes`` (n, 4), thousandths of the
    input: top, left, bottom, right. A layer whose units see everything has no boxes, and a network that saw no images
    is None.
    """
    of_net = {str(net): rows for net, rows in sampled.groupby("net")}
    there = set.intersection(*(set(rows["image"]) for rows in of_net.values()))
    images = [image for image in images if image in there]
    place = pd.Series(np.arange(len(images)), images)
    edges = [(1000 * sampled[edge]).round().astype(int) for edge in EDGES]
    boxes, number = np.unique(np.stack(edges, axis=1), axis=0, return_inverse=True)
    numbered = pd.Series(number, sampled.index)
    found: list[dict[str, str] | None] = []
    for net, width in zip(nets, widths, strict=True):
        if net not in of_net:
            found.append(None)
            continue
        rows = of_net[net][of_net[net]["image"].isin(place.index)]
        at = rows["unit"].to_numpy(), place[rows["image"]].to_numpy()
        values, box = np.zeros((width, len(images))), np.zeros((width, len(images)), dtype=int)
        values[at], box[at] = rows["value"], numbered[rows.index]
        low, high = values.min(axis=1), values.max(axis=1)
        part = (values - low[:, None]) / np.where(high > low, high - low, 1)[:, None]
        about = {"low": packed(low), "high": packed(high), "values": packed(np.round(254 * part - 127).astype(np.int8))}
        found.append(about | ({"box": packed(box)} if len(boxes) > 1 else {}))
    return {"images": len(images), "boxes": packed(boxes), "nets": found}


def networks_shown(widths: Mapping[str, Sequence[int]]) -> int:
    """How many networks, from the first on, the page has room for; ``widths``: units of each by layer. Two at least."""
    bytes_of_unit = UNIT_BYTES * np.sum([list(of_nets) for of_nets in widths.values()], axis=0).cumsum()
    others = np.arange(len(bytes_of_unit))
    return max(2, int((bytes_of_unit * others <= MOST_NUMBER_BYTES).sum()))


def with_matrices(widths: Mapping[str, Sequence[int]]) -> list[str]:
    """The layers whose matrices, one per ordered pair of networks, are shown; ``widths``: units of each by layer.

    From the first layer on, one is left out where its matrices do not fit beside those of the layers before.
    """
    shown: list[str] = []
    cells = 0
    for layer, of_nets in widths.items():
        of_layer = sum(of_nets) ** 2 - sum(width**2 for width in of_nets)
        if cells + of_layer <= MOST_CELLS:
            shown.append(layer)
            cells += of_layer
    return shown


def correlation_matrices(correlations: pd.DataFrame, nets: Sequence[str], widths: Sequence[int]) -> list[list[Any]]:
    """For every pair the correlations (S_a, S_b) in 254 steps; None for the later network of a pair."""
    groups = {(str(a), str(b)): rows for (a, b), rows in correlations.groupby(["net_a", "net_b"], observed=True)}

    def fact(a: str, b: str) -> Any:
        shape = widths[nets.index(a)], widths[nets.index(b)]
        rows = groups.get((a, b))
        return None if rows is None else _stepped(shape, rows["unit_a"], rows["unit_b"], rows["value"], np.nan)

    return of_pairs(nets, fact)


def weight_matrices(weights: pd.DataFrame, nets: Sequence[str], widths: Sequence[int]) -> list[list[Any]]:
    """For every pair the weights (S_a, S_b) that predict a's units from b's, at the decay nearest the paper's."""
    weights = _nearest_decay(weights[weights["solver"] == _solver(weights)])
    groups = {(str(a), str(b)): rows for (a, b), rows in weights.groupby(["target_net", "source_net"])}

    def fact(a: str, b: str) -> Any:
        shape = widths[nets.index(a)], widths[nets.index(b)]
        rows = groups.get((a, b), weights.iloc[:0])
        return _stepped(shape, rows["target_unit"], rows["source_unit"], rows["weight"], 0.0)

    return of_pairs(nets, fact)


def _stepped(
    shape: tuple[int, int], row: pd.Series, column: pd.Series, value: pd.Series, rest: float
) -> dict[str, Any]:
    """A matrix in 254 steps of the largest absolute value, -128 for NaN; ``rest``: of cells that are not given."""
    matrix = np.full(shape, rest)
    matrix[row, column] = value
    finite = np.abs(matrix[np.isfinite(matrix)])
    scale = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    steps = np.where(np.isfinite(matrix), np.round(matrix / scale * 127), -128).astype(np.int8)
    return {"scale": scale, "values": packed(steps)}


def _solver(rows: pd.DataFrame) -> str:
    return "exact" if (rows["solver"] == "exact").any() else "sgd"


def partner_columns(matchings: pd.DataFrame, nets: Sequence[str]) -> list[list[Any]]:
    """For every pair the partners, their similarity and its excess over chance, by similarity and method.

    ``matchings``: rows of one layer.
    """
    groups = dict(list(matchings.sort_values("unit_a").groupby(["net_a", "net_b"])))

    def fact(a: str, b: str) -> dict[str, Any]:
        return {
            f"{similarity} {method}": {
                name: packed(rows[column]) for name, column in PARTNER.items() if rows[column].notna().any()
            }
            for (similarity, method), rows in groups[a, b].groupby(["similarity", "method"])
        }

    return of_pairs(nets, fact)


def units_shown(units: pd.DataFrame) -> pd.DataFrame:
    """The rows of one layer in the table mapping_units that the page shows: of one solver, and not too many."""
    units = units[units["solver"] == _solver(units)]
    many = len(units) * (6 * PREDICTORS + 6) > MOST_MAPPING_BYTES
    return _nearest_decay(units) if many else units


def predictor_columns(weights: pd.DataFrame, units: pd.DataFrame, nets: Sequence[str]) -> list[list[Any]]:
    """For every pair and decay what predicts net a's units from net b's.

    ``weights`` and ``units`` are rows of one layer in the tables mapping_weights and mapping_units. The exact solver's
    are taken where there are any. Of every unit the PREDICTORS largest weights are kept.
    """
    units = units_shown(units)
    weights = weights[(weights["solver"] == _solver(units)) & weights["decay"].isin(units["decay"])]
    keys = ["target_net", "source_net", "decay"]
    largest = strongest(weights, [*keys, "target_unit"])
    weights_of = dict(list(largest.groupby(keys)))
    units_of = dict(list(units.groupby(keys)))

    def fact(a: str, b: str) -> list[dict[str, Any]]:
        decays = sorted((key[2] for key in units_of if key[:2] == (a, b)), key=_decades)
        none = largest.iloc[:0]
        return [
            {"decay": decay, **_predictors(weights_of.get((a, b, decay), none), units_of[a, b, decay])}
            for decay in decays
        ]

    return of_pairs(nets, fact)


def strongest(weights: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The PREDICTORS rows of largest weight for each of ``keys``, largest first."""
    order = weights["weight"].abs().sort_values(ascending=False, kind="stable").index
    return weights.loc[order].groupby(keys, sort=False).head(PREDICTORS)


def _decades(decay: Any) -> Any:
    """How far a decay (or a column of them) is from the paper's; no decay at all is very far."""
    return np.abs(np.log10(np.maximum(decay, 1e-30) / SPARSE_DECAY))


def _nearest_decay(frame: pd.DataFrame) -> pd.DataFrame:
    distance = _decades(frame["decay"])
    least = distance.groupby([frame["source_net"], frame["target_net"]]).transform("min")
    return pd.DataFrame(frame[distance == least])


def _predictors(weights: pd.DataFrame, units: pd.DataFrame) -> dict[str, Any]:
    """Rows of one pair and decay; ``weights`` by falling size."""
    units = units.sort_values("target_unit")
    source = np.full((len(units), PREDICTORS), -1)
    weight = np.zeros((len(units), PREDICTORS))
    place = weights["target_unit"], weights.groupby("target_unit").cumcount()
    source[place] = weights["source_unit"]
    weight[place] = weights["weight"]
    return {
        "r2": packed(units["heldout_r2"]),
        "used": packed(units["units_used"]),
        "unit": packed(source),
        "weight": packed(weight),
    }


def cluster_columns(
    clusterings: pd.DataFrame, clusters: pd.DataFrame, members: pd.DataFrame, nets: Sequence[str]
) -> list[list[Any]]:
    """For every pair and k, the default k first: the cluster of every unit of both networks, and its similarities.

    The frames are rows of one layer in the tables clusterings, clusters and cluster_members. Of several thresholds the
    lowest is taken. Both orders of a pair have the same clusters, net a's units first. Clusters are those left after
    splitting the large ones.
    """
    lowest = members["threshold"].min()
    keys = ["net_a", "net_b", "k"]
    clusters_of = dict(list(clusters[clusters["threshold"] == lowest].groupby(keys)))
    members_of = dict(list(members[members["threshold"] == lowest].sort_values("unit").groupby(keys)))
    of_lowest = clusterings[clusterings["threshold"] == lowest].set_index(keys)[[*CLUSTERING]]
    about = {key: dict(zip(CLUSTERING.values(), row, strict=True)) for key, *row in of_lowest.itertuples(name=None)}
    default = {key for key, facts in about.items() if facts["is_default"]}

    def fact(a: str, b: str) -> list[dict[str, Any]]:
        result = []
        of_pair = (key for key in members_of if set(key[:2]) == {a, b})
        for key in sorted(of_pair, key=lambda key: (key not in default, -key[2])):
            rows, nodes = members_of[key], clusters_of[key].sort_values("cluster")
            result.append(
                {
                    "k": int(key[2]),
                    **{name: _plain(value) for name, value in about[key].items()},
                    "a": packed(rows.loc[rows["net"] == a, "leaf"]),
                    "b": packed(rows.loc[rows["net"] == b, "leaf"]),
                    "between": packed(nodes["between_net_similarity"]),
                    "within": packed(nodes["within_net_similarity"]),
                }
            )
        return result

    return of_pairs(nets, fact)


def picture_columns(pictures: Pictures) -> dict[str, Any]:
    """Where the pictures of a layer stand in its sheets, which are elements of the page."""

    def places(sheets: Sheets) -> dict[str, Any]:
        index = [packed(of_net) for of_net in sheets.index]
        return {"columns": sheets.columns, "per_sheet": sheets.per_sheet, "index": index}

    return {
        "tile": pictures.tile,
        "ranks": pictures.ranks,
        "method": pictures.method,
        "patches": places(pictures.patches),
        "drives": places(pictures.drives),
    }


def _plain(value: Any) -> Any:
    """A value of a table for JSON, which has no NaN."""
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
