"""The tables of a run: their columns, types, units and meanings, and the stage that writes each.

The meanings are in the field metadata of every Parquet file; `raycv tables` prints them.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from raycv.paper import TOP_PATCHES

LARGEST_PICTURE = 96  # pixels; pictures of larger receptive fields are scaled down to this


@dataclass(frozen=True)
class Column:
    """One column: its Arrow type and what a value means, with its unit of measure."""

    name: str
    type: pa.DataType
    meaning: str


@dataclass(frozen=True)
class Table:
    """One table. A large table has one folder per value of the column ``partition`` (``layer=conv1/``)."""

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
_layer = Column("layer", _text, "layer, as a module path; where it has several, with ~ between them (table layers)")
_net_a = Column("net_a", _text, "first network of the pair")
_net_b = Column("net_b", _text, "second network of the pair")
_similarity = Column("similarity", _text, "measure of similarity: correlation or mutual_information")
_method = Column(
    "method", _text, "semi (the best partner of each unit) or bipartite (one to one, with the largest total)"
)
_graph = (_net_a, _net_b, Column("threshold", _float, "two units share an edge if their correlation is above this"))
_clustering = (*_graph, Column("k", _int, "number of clusters asked for"))
_source = Column("source_net", _text, "network whose units predict")
_target = Column("target_net", _text, "network whose units are predicted")
_decay = Column("decay", _float, "the paper's L1 weight decay")
_mapping = (
    _source,
    _target,
    Column(
        "solver",
        _text,
        "exact (LASSO optimum), sgd (the paper's training, in expectation) or streamed (the same training, on batches)",
    ),
    _decay,
)
_tree = (
    _source,
    _target,
    _decay,
    Column("reverse", _bool, "the mapping layer back, target to source, is used for the other corner of B"),
)
_unit = Column("unit", _int, "channel or neuron, from 0")
_GROWING = {
    "correlation": "largest absolute correlation of a unit with a unit of another network, mean over units and ordered "
    "pairs of networks",
    "excess": "correlation less the same with random mixtures of that network's units (alignment.excess)",
    "prerelu_excess": "correlation less the same with its units mixed before the ReLU (alignment.prerelu_excess)",
    "partner_share": "fraction of units with a partner in another network, mean over ordered pairs",
    "recurring_share": "fraction of units with partners in all other networks",
}
GROWING = tuple(_GROWING)  # the quantities that a study follows


def _over_networks(name: str, meaning: str) -> tuple[Column, ...]:
    """A mean over networks with its interval."""
    low = "lower end of its 95% jackknife interval over networks; NaN for fewer than three networks"
    return (
        Column(name, _float, meaning),
        Column(f"{name}_low", _float, low),
        Column(f"{name}_high", _float, "upper end of that interval"),
    )


_loss = Column("loss", _float, "mean cross-entropy over the validation images, nats")
_top1 = Column("top1", _float, "fraction of validation images classified correctly")
_change = (
    Column("loss_change", _float, "loss less that of the whole network, nats"),
    Column("top1_change", _float, "top1 less that of the whole network"),
)
_order = Column(
    "order",
    _text,
    "which units go first: partner_low and partner_high (by the correlation with the best partner, mean over the other "
    "networks, lowest or highest first), excess_low (the same less that with rotated units, lowest first), redundancy "
    "(what the units still there predict best), weights (smallest sum of absolute incoming weights), activation "
    "(smallest mean activation), random; units without such a value, dead or rare, count as lowest",
)
_removal = (
    Column("fraction", _float, "fraction of the layer's units that was asked for"),
    Column(
        "compensated",
        _bool,
        "the units that stay predict the removed ones linearly, by a fit on the other folds of the images",
    ),
)
_group = Column(
    "group",
    _text,
    "matched (a mutual best partner in another network, see recurrence.mutual) and unmatched (none); recurring (a "
    "partner beyond chance in all other networks) and lonely (in none); dead and rare units are in none of them",
)
_of_group = Column(
    "choice",
    _text,
    "whole (the group), even (as many of its units as the smaller one of matched and unmatched, or of recurring and "
    "lonely, has; drawn at random) or random (as many of all live units as the whole group)",
)
_rank = Column("rank", _int, f"from 1, the sample with the highest activation, to {TOP_PATCHES}")

ALL = (
    Table(
        "training",
        "train",
        "progress of training, one row per network and epoch",
        (
            _net,
            Column("seed", _int, "seed of the initial weights and of the order of images"),
            Column("epoch", _int, "number of the epoch, from 1; an epoch is one pass over the training images"),
            Column("train_loss", _float, "mean cross-entropy over the epoch's training images, nats"),
            Column("validation_loss", _float, "mean cross-entropy over the validation images, nats"),
            Column("validation_top1", _float, "fraction of validation images classified correctly"),
            Column("seconds", _float, "duration of the epoch, seconds"),
        ),
    ),
    Table(
        "units",
        "align",
        "activation of every unit over all samples; a sample is an image, and in a conv layer an image and a position",
        (
            _net,
            _layer,
            _unit,
            Column("mean", _float, "mean activation"),
            Column("std", _float, "standard deviation of the activation"),
            Column("active_fraction", _float, "fraction of samples with activation above 0"),
            Column(
                "kurtosis",
                _float,
                "excess kurtosis of the activation over up to 60,000 samples: 0 for a normal distribution, large where "
                "the unit is rarely active; NaN if it is dead",
            ),
            Column(
                "class_purity",
                _float,
                "share of its top patches that show the most frequent class among them; NaN if it is dead",
            ),
            Column(
                "is_dead",
                _bool,
                "constant over the images when some one fold is left out; a dead unit has no correlations",
            ),
            Column(
                "is_rare",
                _bool,
                "not dead, but keeps less than half of its variance without some one fold; it is treated as dead",
            ),
        ),
    ),
    Table(
        "correlations",
        "align",
        "correlation of every pair of units, within a network (net_a = net_b) and between two (net_a before net_b); of "
        "a layer with more than 268 million pairs, of each unit with its 100 strongest partners in each network",
        (
            _net_a,
            _net_b,
            Column("unit_a", pa.int32(), "unit of net_a"),
            Column("unit_b", pa.int32(), "unit of net_b"),
            Column("value", pa.float32(), "Pearson correlation over all samples; NaN where a unit is dead or rare"),
        ),
        partition="layer",
    ),
    Table(
        "mutual_information",
        "align",
        "mutual information of every pair of units, within a network (net_a = net_b) and between networks; of a layer "
        "with more than 268 million pairs, of each unit with its 100 strongest partners in each network",
        (
            _net_a,
            _net_b,
            Column("unit_a", pa.int32(), "unit of net_a"),
            Column("unit_b", pa.int32(), "unit of net_b"),
            Column("value", pa.float32(), "estimate from up to 60,000 samples, nats; NaN where a unit is dead or rare"),
            Column("value_corrected", pa.float32(), "the estimate with the Miller-Madow bias correction, nats"),
            Column(
                "null_value",
                pa.float32(),
                "the estimate with samples of net_b from other images, nats; NaN within a network",
            ),
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
            Column(
                "unit_b", _int, "its partner in net_b; -1 if it has none (it is dead or rare, or no partner is left)"
            ),
            Column("value", _float, "similarity of unit_a and unit_b; NaN if there is no partner"),
            Column(
                "rotated_value",
                _float,
                "largest absolute correlation of unit_a with random mixtures of the units of net_b, mean over draws; "
                "for correlation and semi only, as the next three",
            ),
            Column("excess", _float, "largest absolute correlation of unit_a with a unit of net_b - rotated_value"),
            Column(
                "p_value",
                _float,
                "how often chance gives a correlation as large: the largest p-value against mixtures of the units of "
                "net_b not yet taken, against images of net_b shuffled and, in a layer that ends in a ReLU module, "
                "against "
                "its units mixed before the ReLU",
            ),
            Column("q_value", _float, "false discovery rate at which it counts as a partner, among the units of net_a"),
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
            Column(
                "mean_low", _float, "lower end of the 95% jackknife interval over folds of the images; correlation only"
            ),
            Column("mean_high", _float, "upper end of that interval; other networks may differ by far more"),
            Column(
                "rotated_mean",
                _float,
                "average absolute correlation of units of net_a matched with random mixtures of the units of net_b",
            ),
            Column("rotated_error", _float, "standard error of rotated_mean, from the number of mixtures drawn"),
            Column("excess", _float, "average absolute correlation of matched units - rotated_mean"),
            Column("excess_low", _float, "lower end of its 95% jackknife interval over folds of the images; semi only"),
            Column("excess_high", _float, "upper end of that interval"),
            Column(
                "beyond_chance",
                _float,
                "fraction of units of net_a with a partner at a false discovery rate of 5%; correlation and semi only",
            ),
            Column(
                "estimated_share",
                _float,
                "estimated fraction of units of net_a with a partner, whether or not they can be named: 1 - 2 · "
                "(fraction of p-values above 1/2), which errs towards fewer and may be below 0; correlation and semi "
                "only",
            ),
            Column(
                "untrained_mean",
                _float,
                "mean over the ordered pairs of untrained networks of these architectures; correlation only",
            ),
            Column("untrained_spread", _float, "standard deviation of mean over these pairs"),
            Column("untrained_excess", _float, "excess over rotated_mean, averaged over these pairs"),
            Column("untrained_beyond_chance", _float, "beyond_chance, averaged over these pairs"),
            Column("untrained_estimated_share", _float, "estimated_share, averaged over these pairs"),
            Column(
                "prerelu_mean",
                _float,
                "average absolute similarity of units of net_a matched with units of net_b mixed before the ReLU: "
                "for correlation and semi over 25 draws (5 in layers of more than 1,024 units) in up to 20,000 "
                "samples, "
                "else of one draw in up to 60,000; NaN in a layer that does not end in a ReLU module",
            ),
            Column(
                "prerelu_error",
                _float,
                "standard error of prerelu_mean, from the number of draws; correlation and semi only",
            ),
            Column(
                "prerelu_excess",
                _float,
                "average absolute similarity of matched units, for correlation and semi in the same samples - "
                "prerelu_mean",
            ),
            Column("untrained_prerelu_excess", _float, "the same, averaged over the pairs of untrained networks"),
            Column("shuffled_mean", _float, "mean with the samples of net_b taken from other images and positions"),
            Column("shuffled_within_mean", _float, "mean with them taken from other images at the same position"),
            Column(
                "one_unit_share",
                _float,
                "share that one unit of net_b holds of what all its units predict linearly: (best r2 - rotated r2) / "
                "(R2 - rotated r2), of means over units; correlation and semi only",
            ),
            Column(
                "fraction_below_half",
                _float,
                "fraction of matched units of net_a with a correlation of 0.5 or less; correlation only",
            ),
            Column("agreement", _float, "fraction of units with the same partner in semi and bipartite matching"),
            Column(
                "agreement_with_correlation",
                _float,
                "fraction of units that have the same partner when matched by correlation",
            ),
            Column(
                "best_eight_kept",
                _int,
                "how many of the eight best pairs by correlation are also pairs of this matching",
            ),
        ),
    ),
    Table(
        "alignment_by_layer",
        "align",
        "averages of the tables alignment and measures over all pairs of networks, one row per layer, "
        "similarity, method "
        "and quantity; similarity and method are empty for measures",
        (
            _layer,
            _similarity,
            _method,
            Column("quantity", _text, "a column of alignment, or a measure of measures"),
            Column("value", _float, "mean over pairs of networks; effective_dimension: over networks"),
            Column(
                "networks_low",
                _float,
                "lower end of the 95% jackknife interval over networks (leaving out one at a time; Student's t with "
                "one "
                "degree of freedom fewer than there are networks; shares as log-odds), which holds for other "
                "networks of "
                "this kind on the same images; NaN for fewer than three networks",
            ),
            Column("networks_high", _float, "upper end of that interval"),
            Column(
                "untrained",
                _float,
                "the same of untrained networks, where the tables have it; measures that match units: of units mixed",
            ),
        ),
    ),
    Table(
        "recurrence",
        "align",
        "which units come back in the other networks, one row per unit; a partner counts where it is above chance, see "
        "matchings.p_value, at a false discovery rate of 0.05 for each pair of networks",
        (
            _layer,
            _net,
            _unit,
            Column(
                "partners", _int, "number of other networks in which the unit has a partner; 0 if it is dead or rare"
            ),
            Column(
                "mutual", _int, "number of other networks whose best unit for it has it for its own best unit in turn"
            ),
            Column(
                "excess",
                _float,
                "largest absolute correlation with a unit of another network less the same after random rotations of "
                "that network's units, mean over the other networks; NaN if it is dead or rare",
            ),
            Column(
                "p_value", _float, "that it has a partner in all other networks: the largest of its p-values for each"
            ),
            Column("q_value", _float, "false discovery rate at which it recurs, among the units of its network"),
            Column(
                "group",
                _int,
                "number, in its layer, of the group of one unit per network that are all mutual best units; -1 if none",
            ),
        ),
    ),
    Table(
        "recurrence_by_layer",
        "align",
        "how many units recur and what predicts it, one row per layer and quantity",
        (
            _layer,
            Column(
                "quantity",
                _text,
                "partner_share (fraction of units with a partner in another network, mean over ordered pairs), "
                "estimated_share (the same estimated, whether or not the units can be named, see "
                "alignment.estimated_share; at least 0), "
                "recurring_share (fraction with partners in all other networks), group_share (fraction in a group), "
                "partners_by_mean, partners_by_active_fraction, partners_by_kurtosis, partners_by_class_purity (rank "
                "correlation of a unit's number of partners with these columns of units)",
            ),
            Column("value", _float, "over the units of all networks that are neither dead nor rare"),
            Column(
                "low",
                _float,
                "lower end of the 95% jackknife interval over networks; NaN for fewer than three networks",
            ),
            Column("high", _float, "upper end of that interval"),
            Column(
                "untrained",
                _float,
                "the same among untrained networks; partner_share and estimated_share, and the other shares where "
                "these are as many",
            ),
        ),
    ),
    Table(
        "epochs",
        "align",
        "how the alignment comes about in training, one row per layer, kept epoch and ordered pair of networks; only "
        "where training kept epochs (--keep-epochs)",
        (
            _layer,
            Column("epoch", _int, "after which epoch of training; 0: before training; the largest: at the end"),
            _net_a,
            _net_b,
            Column("mean", _float, "average correlation of the units of net_a with their best partners in net_b"),
            Column("rotated_mean", _float, "the same, absolute, with random mixtures of the units of net_b"),
            Column("excess", _float, "average absolute correlation of matched units - rotated_mean"),
            Column(
                "prerelu_mean",
                _float,
                "average absolute correlation of units of net_a matched with units of net_b mixed before the ReLU; NaN "
                "in a layer that does not end in a ReLU module",
            ),
            Column("prerelu_excess", _float, "average absolute correlation of matched units - prerelu_mean"),
            Column(
                "effective_dimension", _float, "of the z-scores of net_a's units: participation ratio of their variance"
            ),
            Column("same_partner", _float, "fraction of units of net_a that have the partner they have at the end"),
            Column("settled", _float, "fraction that have it after this and all later kept epochs"),
        ),
    ),
    Table(
        "partner_epochs",
        "align",
        "when a unit's partner was settled, one row per ordered pair of networks and unit; only where training kept "
        "epochs (--keep-epochs)",
        (
            _layer,
            _net_a,
            _net_b,
            Column("unit_a", _int, "unit of net_a"),
            Column("unit_b", _int, "its best partner in net_b at the end of training"),
            Column("value", _float, "their correlation then"),
            Column("epoch", _int, "first kept epoch from which on unit_b is always the best partner"),
        ),
    ),
    Table(
        "layers",
        "align",
        "which module of every network each layer is, one row per layer and network",
        (
            _layer,
            _net,
            Column("module", _text, "module path in this network; with :class or :patches, of its tokens those alone"),
            Column("units", _int, "units of the layer in this network"),
            Column(
                "grid",
                _text,
                "own: all its positions; mean: the mean over them; HEIGHTxWIDTH: averaged over the areas of that grid",
            ),
        ),
    ),
    Table(
        "across",
        "align",
        "every layer of one network with every layer of another, one row per ordered pair of layers; a sample is an "
        "image, and a layer with positions is its mean over them; only with --compare all",
        (
            _net_a,
            Column("layer_a", _text, "layer of net_a, as a module path"),
            _net_b,
            Column("layer_b", _text, "layer of net_b"),
            Column("mean", _float, "mean correlation of the units of layer_a with their best partners in layer_b"),
            Column(
                "excess",
                _float,
                "the same of absolute correlations, less the same after random rotations of the units of layer_b",
            ),
            Column("linear_cka", _float, "linear CKA of the two layers"),
        ),
    ),
    Table(
        "across_units",
        "align",
        "the best partner of every unit among the units of all layers of another network, one row per unit and other "
        "network; only with --compare all",
        (
            _net_a,
            Column("layer_a", _text, "layer of unit_a, as a module path"),
            Column("unit_a", _int, "unit of net_a"),
            _net_b,
            Column("layer_b", _text, "layer of its best partner; empty if it has none, being dead or rare"),
            Column("unit_b", _int, "the partner; -1 if none"),
            Column("value", _float, "their correlation"),
            Column("is_mutual", _bool, "the partner's best partner in net_a is unit_a"),
        ),
    ),
    Table(
        "measures",
        "align",
        "published measures of similarity of two networks, one row per pair, two for pwcca and regression_r2, which "
        "have a direction; effective_dimension is of one network (net_a = net_b)",
        (
            Column("layer_a", _text, "layer of net_a, as a module path"),
            Column("layer_b", _text, "layer of net_b"),
            _net_a,
            _net_b,
            Column(
                "measure",
                _text,
                "linear_cka, debiased_cka, mean_cca, svcca, pwcca, regression_r2 (variance of net_b predicted from "
                "net_a), procrustes_distance and permutation_procrustes_distance (total variance of each network 1), "
                "angular_distance (radians), hard_correlation_match, soft_correlation_match, soft_matching_distance, "
                "partial_matching_mass (the part of the units worth matching, chosen on images that the pairs were not "
                "found on; without null and interval), partial_matching_score (mean correlation of that part), "
                "effective_dimension (participation ratio of the correlations)",
            ),
            Column("value", _float, "over all images, without dead and rare units"),
            Column(
                "low",
                _float,
                "lower end of the 95% jackknife interval over folds of the images; NaN where it would take too long: "
                "in layers of more than 1,024 units for all but linear_cka, debiased_cka and effective_dimension, and "
                "of more than 100 units for soft_matching_distance and partial_matching_score",
            ),
            Column("high", _float, "upper end of that interval"),
            Column(
                "null",
                _float,
                "the same by chance; measures that match units by correlation (the four of matching): with the units "
                "of net_b randomly rotated, as z-scores, a mixture taken with the better sign; all others, which a "
                "rotation leaves as they are or nearly: mean over pairs of untrained networks of these architectures",
            ),
        ),
    ),
    Table(
        "activity",
        "align",
        "spread of the units' mean activations, one row per layer and network; without layers that have negative means",
        (
            _layer,
            _net,
            Column("units", _int, "number of units that fire for at least one sample"),
            Column("silent", _int, "number of units that never fire"),
            Column("highest", _float, "largest mean activation of a unit"),
            Column("lowest", _float, "smallest mean activation of a unit that fires"),
            Column("decades", _float, "log10 of highest / lowest"),
            Column(
                "distance",
                _float,
                "mean distance between this network's distribution of log10 mean and the others', decades",
            ),
            Column(
                "top_ratio",
                _float,
                "largest value of highest among the networks / smallest one; the same in all rows of a layer",
            ),
            Column(
                "typical_ratio",
                _float,
                "the same ratio at each rank of units, median over ranks; the same in all rows of a layer",
            ),
        ),
    ),
    Table(
        "clusterings",
        "sweep clusters",
        "spectral clusterings of the units of two networks, one row per layer, pair, threshold and k",
        (
            _layer,
            *_clustering,
            Column(
                "is_default",
                _bool,
                "this k is that of the figures: 40/192 of the units with an edge, at most 100, which is the paper's k "
                "for its layers; with --k paper, the paper's k where the graph allows it",
            ),
            Column(
                "chosen", _bool, "this k has the largest modularity of all k from 2 to 200, see the table eigenvalues"
            ),
            Column(
                "lowest_k",
                _int,
                "smallest k that the graph allows: the number of its connected pieces, without isolated units",
            ),
            Column("highest_k", _int, "largest k that the graph allows: the number of units with an edge"),
            Column(
                "size_limit",
                _float,
                "a cluster with more units is split: 0.025 of the units of both networks, at least 4.8",
            ),
            Column("clusters", _int, "number of clusters after splitting"),
            Column("largest_cluster", _int, "number of units in the largest cluster before splitting"),
            Column("largest_leaf", _int, "number of units in the largest cluster after splitting"),
            Column("one_net", _int, "number of clusters before splitting that have units of one network only"),
            Column("single_unit", _int, "number of clusters before splitting that have one unit"),
            Column("units_two_net", _int, "number of units in clusters before splitting with units of both networks"),
            Column(
                "modularity",
                _float,
                "Newman's, of the clusters before splitting: fraction of the edges' weight within clusters, less that "
                "of random edges between units of the same degrees",
            ),
            Column(
                "mixed_modularity",
                _float,
                "null: the modularity with one network's units mixed before the ReLU, or randomly rotated if the layer "
                "does not end in a ReLU module; mean over both networks; of the default k only, NaN if that graph does "
                "not allow it",
            ),
            Column("mixed_units_two_net", _float, "null: units_two_net of the same clusterings"),
            Column(
                "isolated_a",
                _int,
                "number of units of net_a without an edge, dead and rare ones included; they are in no cluster",
            ),
            Column("isolated_b", _int, "the same for net_b"),
            Column("between_net_similarity", _float, "mean over the clusters before splitting, see the table clusters"),
            Column("within_net_similarity", _float, "mean over the clusters before splitting, see the table clusters"),
            Column("restart_stability", _float, "mean adjusted Rand index of all pairs of ten k-means restarts"),
            Column("inertia", _float, "k-means objective: sum of squared distances to the centres"),
            Column("seconds", _float, "duration, with an equal share of the eigendecomposition for each k, seconds"),
        ),
    ),
    Table(
        "clusters",
        "sweep clusters",
        "the clusters of every clustering and the parts they were split into",
        (
            *_clustering,
            Column(
                "cluster",
                _int,
                "number of the cluster: 0 to k - 1 from the largest to the smallest, then the parts of split clusters",
            ),
            Column("parent", _int, "the cluster that this one is a part of; -1 for the first k"),
            Column("is_leaf", _bool, "the cluster was not split"),
            Column("units_a", _int, "number of its units in net_a"),
            Column("units_b", _int, "number of its units in net_b"),
            Column(
                "between_net_similarity",
                _float,
                "mean correlation of its units in net_a with its units in net_b; 0 if one has none",
            ),
            Column(
                "within_net_similarity",
                _float,
                "mean correlation of its units within a network, each unit with itself included",
            ),
        ),
        partition="layer",
    ),
    Table(
        "cluster_members",
        "sweep clusters",
        "the cluster of every unit in every clustering",
        (
            *_clustering,
            Column("cluster", _int, "cluster before splitting; -1 if the unit is isolated, dead or rare"),
            Column(
                "leaf",
                _int,
                "cluster after splitting, as numbered in the table clusters; -1 if the unit is isolated, dead or rare",
            ),
            _net,
            _unit,
        ),
        partition="layer",
    ),
    Table(
        "eigenvalues",
        "sweep clusters",
        "smallest eigenvalues of the Laplacian of every graph, without isolated units, and the modularity of every k",
        (
            _layer,
            *_graph,
            Column("number", _int, "number of the eigenvalue, from 1, smallest first"),
            Column("eigenvalue", _float, "eigenvalue of L = D - W"),
            Column(
                "modularity",
                _float,
                "modularity of k = number clusters, from two restarts of k-means; NaN where k was not tried",
            ),
        ),
    ),
    Table(
        "top_patches",
        "patches",
        "the nine samples with the highest activation of every unit, from nine images, and what the unit sees of each",
        (
            _net,
            _layer,
            _unit,
            _rank,
            Column("image", _int, "number of the validation image"),
            Column("row", _int, "row of the position in the layer; 0 in a fully connected layer"),
            Column("column", _int, "column of the position in the layer; 0 in a fully connected layer"),
            Column("value", _float, "activation of the unit"),
            Column("top", _int, "first pixel row of the receptive field in the network's input, clipped at the border"),
            Column("left", _int, "first pixel column of it"),
            Column("bottom", _int, "pixel row after its last"),
            Column("right", _int, "pixel column after its last"),
        ),
    ),
    Table(
        "patch_pictures",
        "patches",
        "pictures of the top patches, and of what in them drives the unit",
        (
            _net,
            _unit,
            _rank,
            Column("label", _int, "class of the image, from 0"),
            Column("method", _text, "how drive was made: deconvnet, guided backpropagation or gradient"),
            Column(
                "patch", pa.binary(), f"WebP picture of the receptive field, at most {LARGEST_PICTURE} pixels a side"
            ),
            Column("drive", pa.binary(), "WebP picture of what drives the unit in the patch; grey where nothing does"),
        ),
        partition="layer",
    ),
    Table(
        "joint_activations",
        "align",
        "activations of matched units of the first two networks in the same samples, for the first two layers",
        (
            _layer,
            _net_a,
            _net_b,
            Column("unit_a", _int, "unit of net_a"),
            Column("unit_b", _int, "its partner in net_b, by semi-matching on correlation"),
            Column("correlation", _float, "correlation of the two units over all samples"),
            Column("sample", _int, "number of the sample, from 0; the same for all units of a layer"),
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
            Column(
                "sought",
                _text,
                "what this decay was searched for, such as units_used=4.7; empty if the decay was given",
            ),
            Column("alpha", _float, "penalty of the ordinary LASSO on z-scores: decay x units of target_net"),
            Column("loss", _float, "half the mean squared error of the target's z-scores; 0.5 predicts nothing"),
            Column("r2", _float, "fraction of variance predicted, mean over target units"),
            Column("loss_median", _float, "median of the loss over target units"),
            Column(
                "heldout_loss",
                _float,
                "loss on images that were not fitted: half the mean squared error there, in units of the mean squared "
                "deviation there from the unit's mean in the images of the fit; 0.5 predicts nothing; mean over folds "
                "and target units; sgd: the last fold only",
            ),
            Column(
                "heldout_loss_low",
                _float,
                "lower end of the 95% interval of heldout_loss over folds of the images; exact only",
            ),
            Column("heldout_loss_high", _float, "upper end of that interval"),
            Column("heldout_loss_median", _float, "median of the held-out loss over target units"),
            Column("heldout_loss_lower_quartile", _float, "a quarter of the target units have a smaller held-out loss"),
            Column("heldout_loss_upper_quartile", _float, "a quarter of the target units have a larger held-out loss"),
            Column("heldout_r2", _float, "1 - 2 heldout_loss: fraction of variance predicted on those images"),
            Column("units_used", _float, "number of source units with a weight above 0.001, mean over target units"),
            Column(
                "rotated_loss",
                _float,
                "null: the loss with the source units randomly rotated, as z-scores, where units_used is the same; one "
                "rotation; exact only",
            ),
            Column(
                "prerelu_loss",
                _float,
                "null: the same with the source units mixed before the ReLU; NaN if the layer does not end in a ReLU "
                "module; exact only",
            ),
            Column(
                "unpredicted", _int, "number of target units with less than 0.1 of their held-out variance predicted"
            ),
            Column(
                "duality_gap",
                _float,
                "largest over target units; a bound on how far the objective is above its minimum",
            ),
            Column("seconds", _float, "duration of the solver, shared equally among the decays, seconds"),
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
            Column(
                "weight",
                pa.float32(),
                "weight of the source unit's z-score; sgd and streamed: only weights above 0.001",
            ),
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
            Column("r2", _float, "fraction of its variance predicted; NaN if it is dead or rare"),
            Column("heldout_r2", _float, "the same on images that were not fitted"),
            Column("units_used", _float, "number of source units with a weight above 0.001"),
        ),
        partition="layer",
    ),
    Table(
        "agglomerations",
        "sweep mapping",
        "trees of the units of two networks, built from the weights of a mapping layer, one row per merge",
        (
            _layer,
            *_tree,
            Column("merge", _int, "number of the merge, from 0; it makes the cluster numbered leaves + merge"),
            Column(
                "left",
                _int,
                "one of the merged clusters; the leaves are numbered target units first, then source units",
            ),
            Column("right", _int, "the other merged cluster"),
            Column("weight", _float, "average weight between the two clusters"),
            Column("size", _int, "number of leaves in the new cluster"),
        ),
    ),
    Table(
        "merges",
        "merge",
        "networks made of several, one row per way of merging and point of the path between two networks",
        (
            Column("nets", _text, "the networks, with hyphens between them; the others are permuted to the first"),
            Column(
                "matching",
                _text,
                "what brought units beside one another: correlation, information (mutual) or weights; groups of units "
                "without a compared layer are matched by weights in any case",
            ),
            Column("up_to", _text, "last layer that was merged; empty for whole networks"),
            Column("head", _text, "with up_to, the network whose own layers follow; else empty"),
            Column(
                "method",
                _text,
                "naive (weights averaged as they are), permuted (first permuted), repaired (and the moments of what "
                "goes into the non-linearities set to the networks' average, by a pass over the validation images), "
                "repaired_closed (the same from the networks' own moments), zipped (units paired within and across "
                "both networks), zipped_repaired",
            ),
            Column("alpha", _float, "share of the second network; NaN for three or more, which have equal shares"),
            _loss,
            _top1,
            Column(
                "loss_excess",
                _float,
                "loss less the mean of the networks' own losses, weighted by their shares; with up_to, less that of "
                "the head's network, nats",
            ),
            Column("barrier", _float, "largest loss_excess of this method over all alphas, the same in all its rows"),
            Column(
                "permuted_error",
                _float,
                "largest absolute difference between a logit of a permuted network and of the network itself: "
                "rounding, or more where a local response normalisation mixes neighbouring channels; NaN for naive",
            ),
            Column("network", _text, "folder of the run that holds this network; empty where it was not kept"),
        ),
    ),
    Table(
        "study",
        "study",
        "how much networks converge, one row per width, number of training images and layer; semi-matching",
        (
            Column("width", _int, "units in conv1 of every network"),
            Column("images", _int, "training images of every network"),
            _layer,
            Column("units", _int, "units of the layer in every network"),
            *(
                column
                for name, meaning in _GROWING.items()
                for column in (
                    Column(name, _float, meaning),
                    Column(
                        f"{name}_low",
                        _float,
                        "lower end of its 95% jackknife interval over networks; NaN for fewer than three networks",
                    ),
                    Column(f"{name}_high", _float, "upper end of that interval"),
                )
            ),
            Column("untrained_excess", _float, "excess between untrained networks of this width"),
            Column("untrained_prerelu_excess", _float, "prerelu_excess between untrained networks of this width"),
            Column("validation_top1", _float, "fraction of validation images classified correctly, mean over networks"),
        ),
    ),
    Table(
        "study_slopes",
        "study",
        "what a doubling of the width or of the training images adds, one row per layer, quantity and setting",
        (
            _layer,
            Column("quantity", _text, f"column of the table study: {', '.join(GROWING)}"),
            Column("against", _text, "width or images; a setting that the study does not vary has no rows"),
            Column(
                "slope",
                _float,
                "least-squares slope against log2 of this setting, with the other in the fit where both vary",
            ),
            Column(
                "low",
                _float,
                "lower end of its 95% interval over the choice of networks, a jackknife that leaves out one network of "
                "one combination at a time; NaN for fewer than three networks",
            ),
            Column("high", _float, "upper end of that interval; it does not cover a bend of the curve"),
        ),
    ),
    Table(
        "pruning",
        "prune",
        "networks without some of the units of one layer, one row per layer, network, order, draw and fraction, with "
        "and without compensation",
        (
            _layer,
            _net,
            _order,
            Column("draw", _int, "number of the random order, from 0; 0 for the other orders"),
            *_removal,
            Column("removed", _int, "number of units removed"),
            _loss,
            _top1,
            *_change,
        ),
    ),
    Table(
        "pruning_by_layer",
        "prune",
        "the same, means over networks and draws",
        (
            _layer,
            _order,
            *_removal,
            *_over_networks("loss_change", "loss less that of the whole network, nats"),
            *_over_networks("top1_change", "top1 less that of the whole network"),
        ),
    ),
    Table(
        "ablations",
        "ablate",
        "networks with the units of one group at their mean activation, one row per layer, network and group",
        (
            _layer,
            _net,
            _group,
            _of_group,
            Column("draw", _int, "number of the random choice, from 0"),
            Column("units", _int, "number of units in it"),
            _loss,
            _top1,
            *_change,
        ),
    ),
    Table(
        "ablation_classes",
        "ablate",
        "the same class by class",
        (
            _layer,
            _net,
            _group,
            _of_group,
            Column("draw", _int, "number of the random choice, from 0"),
            Column("label", _int, "class of the images, from 0"),
            Column("images", _int, "number of its validation images"),
            *_change,
        ),
    ),
    Table(
        "unit_ablations",
        "ablate",
        "networks with one unit at its mean activation, one row per unit of the layers that are not too wide",
        (
            _layer,
            _net,
            _unit,
            *_change,
            Column("label", _int, "class whose loss rises most"),
            Column("label_loss_change", _float, "mean rise of the loss over the images of that class, nats"),
        ),
    ),
    Table(
        "ablation_by_layer",
        "ablate",
        "what groups of units do, means over networks, one row per layer and quantity",
        (
            _layer,
            Column(
                "quantity",
                _text,
                "GROUP: rise of the loss without the units of the group; GROUP_excess: that less the rise without as "
                "many random units; unit_loss_by_COLUMN: rank correlation within a network of the rise without one "
                "unit with the unit's value (partner: correlation with its best partner; excess; partners; mean; std; "
                "partner_given_std: with partner, partial to std), over units that are neither dead nor rare",
            ),
            Column("units", _float, "units of the group, mean over networks; NaN for rank correlations"),
            *_over_networks("value", "mean over networks"),
        ),
    ),
    Table(
        "stitching",
        "stitch",
        "networks whose layers up to one are another network's, one row per layer, pair and way of joining them",
        (
            _layer,
            Column("source_net", _text, "network of which the layers up to this one are"),
            Column("target_net", _text, "network of which the layers after it are"),
            Column(
                "way",
                _text,
                "matching (each unit is its one-to-one partner, with its own mean and standard deviation), mapping "
                "(mapping layer of this decay), rescaled (the same, with every unit's own standard deviation) or mean "
                "(every unit is its mean: nothing is passed on)",
            ),
            Column("decay", _float, "the paper's L1 weight decay; 0 is least squares; NaN without a mapping layer"),
            Column("units_used", _float, "source units with a weight above 0.001, mean over target units"),
            Column(
                "prediction_loss",
                _float,
                "half the mean squared error of the target's z-scores on images that were not fitted; 0.5: nothing",
            ),
            _loss,
            _top1,
            *_change,
        ),
    ),
    Table(
        "stitching_by_layer",
        "stitch",
        "the same, means over source networks and then over target networks",
        (
            _layer,
            Column("way", _text, "matching, mapping, rescaled or mean, as in stitching"),
            Column("decay", _float, "the paper's L1 weight decay; NaN without a mapping layer"),
            *_over_networks("units_used", "source units with a weight above 0.001"),
            *_over_networks("prediction_loss", "as in stitching"),
            *_over_networks("loss_change", "loss less that of the target network, nats"),
            *_over_networks("top1_change", "top1 less that of the target network"),
        ),
    ),
    Table(
        "ensembles",
        "ensemble",
        "networks that vote by the mean of their class probabilities, one row per set of networks",
        (
            Column("nets", _text, "the networks, with commas"),
            Column("size", _int, "number of networks"),
            _loss,
            _top1,
            Column("member_loss", _float, "mean loss of the networks alone, nats"),
            Column("member_top1", _float, "mean top1 of the networks alone"),
            Column("top1_gain", _float, "top1 - member_top1"),
            Column("loss_gain", _float, "member_loss - loss, nats"),
        ),
    ),
    Table(
        "ensemble_agreement",
        "ensemble",
        "how alike the units of the networks of an ensemble are, one row per set of two or more networks and layer",
        (
            Column("nets", _text, "the networks, with commas"),
            _layer,
            Column(
                "agreement",
                _float,
                "correlation of a unit with its best partner, mean over units and ordered pairs of the networks",
            ),
            Column("excess", _float, "the same less that with rotated units (alignment.excess)"),
        ),
    ),
    Table(
        "combinations",
        "ensemble",
        "linear read-outs of the units of one or two networks, fitted on training images",
        (
            _layer,
            _net_a,
            Column("net_b", _text, "second network of the pair; the same as net_a where it is alone"),
            Column(
                "way",
                _text,
                "alone; ensemble (mean class probabilities of the two read-outs alone); both (all units of both); "
                "matched (of the pairs that correlate most one unit is left out); redundancy (left out is what the "
                "other units of both predict best); random (left out at random)",
            ),
            Column("draw", _int, "number of the random choice, from 0"),
            Column("units", _int, "units that are read out"),
            Column("penalty", _float, "L2 penalty of the read-out, chosen on a fifth of the training images"),
            _loss,
            _top1,
        ),
    ),
)
BY_NAME = {table.name: table for table in ALL}


def describe() -> str:
    """All tables and columns, as text to read."""
    lines = ["pandas.read_parquet(RUN + '/tables/NAME') reads a table.", ""]
    for table in ALL:
        lines.append(f"{table.name}  (written by `raycv {table.stage}`): {table.meaning}")
        columns = list(table.columns)
        if table.partition:
            columns.insert(
                0, Column(table.partition, pa.string(), "layer, as a module path; the name of the partition folder")
            )
        lines += [f"    {c.name:<20} {c.type!s:<8} {c.meaning}" for c in columns]
        lines.append("")
    return "\n".join(lines)
