"""The tables of a run: their columns, types, units and meanings, and which stage writes them.

The meaning stands in every Parquet file's field metadata and is printed by `raycv tables`.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from raycv.paper import TOP_PATCHES

LARGEST_PICTURE = 96  # pixels: the pictures of larger receptive fields are made smaller


@dataclass(frozen=True)
class Column:
    """One column: its Arrow type and what a value means, units included."""

    name: str
    type: pa.DataType
    meaning: str


@dataclass(frozen=True)
class Table:
    """One table. ``partition`` names the column that makes its folders (``layer=conv1/``), where it is large."""

    name: str
    stage: str
    meaning: str
    columns: tuple[Column, ...]
    partition: str | None = None

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema with the meanings as field metadata."""
        return pa.schema(
            [pa.field(c.name, c.type, metadata={"meaning": c.meaning}) for c in self.columns],
            metadata={"raycv.table": self.name, "meaning": self.meaning},
        )


_text, _int, _float, _bool = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_net = Column("net", _text, "network: net1, net2, ...")
_layer = Column("layer", _text, "layer, named by its module path")
_net_a = Column("net_a", _text, "source network")
_net_b = Column("net_b", _text, "target network")
_similarity = Column("similarity", _text, "what is compared: correlation or mutual_information")
_method = Column("method", _text, "semi (best partner of each unit) or bipartite (one to one, largest sum)")
_graph = (_net_a, _net_b, Column("threshold", _float, "correlations up to it make no edge"))
_clustering = (*_graph, Column("k", _int, "clusters asked for"))
_source = Column("source_net", _text, "network whose units predict")
_target = Column("target_net", _text, "network whose units are predicted")
_decay = Column("decay", _float, "the paper's L1 weight decay")
_mapping = (
    _source,
    _target,
    Column("solver", _text, "exact (LASSO optimum), sgd (the paper's training, expected) or streamed (it, done)"),
    _decay,
)
_tree = (_source, _target, _decay, Column("reverse", _bool, "the mapping layer back is in the other corner of B"))
_unit = Column("unit", _int, "channel or neuron, from 0")
_rank = Column("rank", _int, f"1 for the sample of highest activation, to {TOP_PATCHES}")

ALL = (
    Table(
        "training",
        "train",
        "how training went, one row per network and epoch",
        (
            _net,
            Column("seed", _int, "seed of initialisation and order of images"),
            Column("epoch", _int, "passes over the training images, from 1"),
            Column("train_loss", _float, "mean cross-entropy over the epoch's training images, nats"),
            Column("validation_loss", _float, "mean cross-entropy over the validation images, nats"),
            Column("validation_top1", _float, "fraction of validation images classified right"),
            Column("seconds", _float, "time of the epoch, seconds"),
        ),
    ),
    Table(
        "units",
        "align",
        "activation of every unit over the validation images (and positions)",
        (
            _net,
            _layer,
            _unit,
            Column("mean", _float, "mean activation"),
            Column("std", _float, "standard deviation of the activation"),
            Column("active_fraction", _float, "fraction of samples with activation above 0"),
            Column("is_dead", _bool, "does not vary once some one fold of the images is left out: has no correlations"),
        ),
    ),
    Table(
        "correlations",
        "align",
        "correlation of every pair of units within a network (net_a = net_b) and between two (net_a before net_b)",
        (
            _net_a,
            _net_b,
            Column("unit_a", pa.int32(), "unit of net_a"),
            Column("unit_b", pa.int32(), "unit of net_b"),
            Column("value", pa.float32(), "Pearson correlation over all samples; NaN where a unit is dead"),
        ),
        partition="layer",
    ),
    Table(
        "mutual_information",
        "align",
        "mutual information of every pair of units, within a network (net_a = net_b) and between two",
        (
            _net_a,
            _net_b,
            Column("unit_a", pa.int32(), "unit of net_a"),
            Column("unit_b", pa.int32(), "unit of net_b"),
            Column("value", pa.float32(), "estimate from 60,000 samples, nats; NaN where a unit is dead"),
            Column("value_corrected", pa.float32(), "with the Miller-Madow correction of its bias, nats"),
            Column("null_value", pa.float32(), "the same with net_b's samples shifted, nats; NaN within a network"),
        ),
        partition="layer",
    ),
    Table(
        "matchings",
        "align",
        "the partner of every unit of net_a in net_b, for every ordered pair of networks",
        (
            _layer,
            _net_a,
            _net_b,
            _similarity,
            _method,
            Column("unit_a", _int, "unit of net_a"),
            Column("unit_b", _int, "its partner in net_b; -1 where it has none (dead, or left over)"),
            Column("value", _float, "similarity of the two; NaN where there is no partner"),
        ),
    ),
    Table(
        "alignment",
        "align",
        "how well two networks align, one row per layer, ordered pair, similarity and method",
        (
            _layer,
            _net_a,
            _net_b,
            _similarity,
            _method,
            Column("units", _int, "units of net_a that have a partner"),
            Column("mean", _float, "average similarity of matched units"),
            Column("mean_low", _float, "lower end of the 95% jackknife interval over folds; correlation only"),
            Column("mean_high", _float, "upper end of that interval"),
            Column(
                "null_mean",
                _float,
                "the same average by chance: correlation of two untrained networks of these architectures, mutual "
                "information of samples shifted between the two networks",
            ),
            Column("excess", _float, "mean - null_mean"),
            Column("fraction_below_half", _float, "fraction of units of net_a not above 0.5; correlation only"),
            Column("agreement", _float, "fraction of units with the same partner in semi and bipartite matching"),
            Column("agreement_with_correlation", _float, "fraction of units with the same partner by correlation"),
            Column("best_eight_kept", _int, "of the eight best by correlation, how many keep their partner"),
        ),
    ),
    Table(
        "activity",
        "align",
        "spread of the units' mean activations, one row per layer and network; layers with negative means left out",
        (
            _layer,
            _net,
            Column("units", _int, "units that ever fire"),
            Column("silent", _int, "units that never fire"),
            Column("highest", _float, "largest mean activation of a unit"),
            Column("lowest", _float, "smallest mean activation of a unit that fires"),
            Column("decades", _float, "log10 of highest / lowest"),
            Column("distance", _float, "mean distance to the other networks' distributions of log10 mean, decades"),
            Column("top_ratio", _float, "largest / smallest highest of all networks; the same for all of a layer"),
            Column("typical_ratio", _float, "median over ranks of that ratio; the same for all of a layer"),
        ),
    ),
    Table(
        "clusterings",
        "sweep clusters",
        "spectral clusterings of the units of two networks, one row per layer, pair, threshold and k",
        (
            _layer,
            *_clustering,
            Column("chosen", _bool, "k has the largest relative eigengap of 2 to 200"),
            Column("lowest_k", _int, "smallest k that the graph allows: its connected pieces, isolated units aside"),
            Column("highest_k", _int, "largest k that the graph allows: its units with an edge"),
            Column(
                "size_limit", _float, "clusters of more units are split: 0.025 of both networks' units, at least 4.8"
            ),
            Column("clusters", _int, "clusters after splitting"),
            Column("largest_cluster", _int, "units of the largest cluster before splitting"),
            Column("largest_leaf", _int, "units of the largest cluster after splitting"),
            Column("one_net", _int, "clusters before splitting with units of one network only"),
            Column("isolated_a", _int, "units of net_a without an edge above the threshold, in no cluster"),
            Column("isolated_b", _int, "the same of net_b"),
            Column("between_net_similarity", _float, "mean of the clusters' before splitting"),
            Column("within_net_similarity", _float, "mean of the clusters' before splitting"),
            Column("restart_stability", _float, "mean adjusted Rand index over all pairs of ten restarts of k-means"),
            Column("inertia", _float, "k-means objective: sum of squared distances to the centres"),
            Column("seconds", _float, "time, the eigendecomposition shared out among all k"),
        ),
    ),
    Table(
        "clusters",
        "sweep clusters",
        "the clusters of every clustering and what they were split into",
        (
            *_clustering,
            Column("cluster", _int, "number: 0 to k - 1 by falling size, then the parts of split clusters"),
            Column("parent", _int, "the cluster it is a part of; -1 for the first k"),
            Column("is_leaf", _bool, "it was not split"),
            Column("units_a", _int, "its units of net_a"),
            Column("units_b", _int, "its units of net_b"),
            Column("between_net_similarity", _float, "mean correlation of a unit of net_a and one of net_b; 0 if none"),
            Column("within_net_similarity", _float, "mean correlation within a network, a unit with itself included"),
        ),
        partition="layer",
    ),
    Table(
        "cluster_members",
        "sweep clusters",
        "the cluster of every unit in every clustering",
        (
            *_clustering,
            Column("cluster", _int, "cluster before splitting; -1 where the unit is isolated or dead"),
            Column("leaf", _int, "cluster after splitting, under its number in the table clusters; -1 as above"),
            _net,
            _unit,
        ),
        partition="layer",
    ),
    Table(
        "eigenvalues",
        "sweep clusters",
        "smallest eigenvalues of every graph's Laplacian, isolated units aside",
        (
            _layer,
            *_graph,
            Column("number", _int, "from 1, ascending"),
            Column("eigenvalue", _float, "of L = D - W"),
            Column("relative_gap", _float, "(next - this) / next, from 0 to 1: the gap after k = number"),
        ),
    ),
    Table(
        "top_patches",
        "patches",
        "the nine samples of highest activation of every unit, from as many images, and what the unit sees of each",
        (
            _net,
            _layer,
            _unit,
            _rank,
            Column("image", _int, "number of the validation image"),
            Column("row", _int, "position in the layer; 0 in a fully connected one"),
            Column("column", _int, "position in the layer; 0 in a fully connected one"),
            Column("value", _float, "activation"),
            Column("top", _int, "receptive field in the network's input, pixels, clipped at its border: first row"),
            Column("left", _int, "first column"),
            Column("bottom", _int, "row after the last"),
            Column("right", _int, "column after the last"),
        ),
    ),
    Table(
        "patch_pictures",
        "patches",
        "the top patches as pictures, and what in them drives the unit",
        (
            _net,
            _unit,
            _rank,
            Column("method", _text, "of the column drive: deconvnet, guided backpropagation or gradient"),
            Column(
                "patch", pa.binary(), f"WebP picture of the receptive field, at most {LARGEST_PICTURE} pixels a side"
            ),
            Column("drive", pa.binary(), "WebP picture of the same: what drives the unit, grey where nothing does"),
        ),
        partition="layer",
    ),
    Table(
        "joint_activations",
        "align",
        "activations of matched units of the first two networks in the same samples, in the first two layers",
        (
            _layer,
            _net_a,
            _net_b,
            Column("unit_a", _int, "unit of net_a"),
            Column("unit_b", _int, "its partner by semi-matching on correlation"),
            Column("correlation", _float, "of the two over all samples"),
            Column("sample", _int, "from 0, the same sample for all units of a layer"),
            Column("value_a", _float, "activation of unit_a"),
            Column("value_b", _float, "activation of unit_b"),
        ),
    ),
    Table(
        "mappings",
        "sweep mapping",
        "mapping layers of every ordered pair of networks, one row per layer, pair, solver and decay",
        (
            _layer,
            *_mapping,
            Column("sought", _text, "what this decay was searched for, such as units_used=4.7; empty if it was given"),
            Column("alpha", _float, "decay x units of target_net: the penalty of the ordinary LASSO on z-scores"),
            Column("loss", _float, "half the mean squared error of the target's z-scores; 0.5 predicts nothing"),
            Column("r2", _float, "predicted fraction of variance, mean over target units"),
            Column(
                "heldout_loss", _float, "the loss on images it was not fitted on: mean over folds; of sgd the last fold"
            ),
            Column("heldout_loss_low", _float, "lower end of its 95% interval over folds; exact only"),
            Column("heldout_loss_high", _float, "upper end of that interval"),
            Column("heldout_r2", _float, "predicted fraction of variance on those images"),
            Column("units_used", _float, "source units with a weight above 0.001, mean over target units"),
            Column("unpredicted", _int, "target units of which less than 0.1 of the held-out variance is predicted"),
            Column("duality_gap", _float, "largest of a target unit: how far its objective is from the least, at most"),
            Column("seconds", _float, "time of the solver, shared out among the decays"),
        ),
    ),
    Table(
        "mapping_weights",
        "sweep mapping",
        "the non-zero weights of the mapping layers",
        (
            *_mapping,
            Column("target_unit", pa.int32(), "unit of target_net"),
            Column("source_unit", pa.int32(), "unit of source_net"),
            Column("weight", pa.float32(), "of the source unit's z-score; those of a training above 0.001 only"),
        ),
        partition="layer",
    ),
    Table(
        "mapping_units",
        "sweep mapping",
        "how well every target unit is predicted by the mapping layers",
        (
            *_mapping,
            Column("target_unit", _int, "unit of target_net"),
            Column("r2", _float, "predicted fraction of its variance; NaN where it is dead"),
            Column("heldout_r2", _float, "the same on images the layer was not fitted on"),
            Column("units_used", _float, "source units with a weight above 0.001"),
        ),
        partition="layer",
    ),
    Table(
        "agglomerations",
        "sweep mapping",
        "trees over the units of two networks by the weights of a mapping layer, one row per merge",
        (
            _layer,
            *_tree,
            Column("merge", _int, "from 0; it makes cluster number leaves + merge"),
            Column("left", _int, "cluster merged: leaves are target units, then source units"),
            Column("right", _int, "the other one"),
            Column("weight", _float, "average weight between the two"),
            Column("size", _int, "leaves of the new cluster"),
        ),
    ),
)
BY_NAME = {table.name: table for table in ALL}


def describe() -> str:
    """All tables and columns, for a person."""
    lines = ["pandas.read_parquet(RUN + '/tables/NAME') reads a table.", ""]
    for table in ALL:
        lines.append(f"{table.name}  (written by `raycv {table.stage}`): {table.meaning}")
        columns = list(table.columns)
        if table.partition:
            columns.insert(0, Column(table.partition, pa.string(), "partition folder; layer, named by its module path"))
        lines += [f"    {c.name:<20} {c.type!s:<8} {c.meaning}" for c in columns]
        lines.append("")
    return "\n".join(lines)
