"""The tables that `raycv align` writes."""

from __future__ import annotations

import pyarrow as pa

from raycv.run.schema.columns import BOOL, FLOAT, INT, LAYER, NET, NET_A, NET_B, NUMBER, TEXT, UNIT
from raycv.run.schema.table import Column, Table

_similarity = Column("similarity", TEXT, "measure of similarity: correlation or mutual_information")
_method = Column(
    "method", TEXT, "semi (the best partner of each unit) or bipartite (one to one, with the largest total)"
)

TABLES = (
    Table(
        "units",
        "align",
        "activation of every unit over all samples; a sample is an image, and in a conv layer an image and a position",
        (
            NET,
            LAYER,
            UNIT,
            Column("unit_name", TEXT, "of a recording the column of a table that the unit stands in; else null"),
            Column("mean", FLOAT, "mean activation"),
            Column("std", FLOAT, "standard deviation of the activation"),
            Column("active_fraction", FLOAT, "fraction of samples with activation above 0"),
            Column(
                "kurtosis",
                FLOAT,
                "excess kurtosis of the activation over up to 60,000 samples: 0 for a normal distribution, large where "
                "the unit is rarely active; null if it is dead",
            ),
            Column(
                "class_purity",
                FLOAT,
                "share of its top patches that show the most frequent class among them; null if it is dead",
            ),
            Column(
                "is_dead",
                BOOL,
                "constant on all but one fold of the images, or on all; a dead unit has no correlations",
            ),
            Column(
                "is_rare",
                BOOL,
                "not dead, but keeps less than a fifth of its variance without some one fold of eight; it is treated "
                "as dead, unless rare units are kept",
            ),
            Column(
                "partner_stability",
                FLOAT,
                "matchings.partner_stability, mean over the other networks; null for dead and rare units",
            ),
            Column("heldout_value", FLOAT, "matchings.heldout_value, mean over the other networks"),
        ),
    ),
    Table(
        "correlations",
        "align",
        "correlation of every pair of units, within a network (net_a = net_b) and between two (net_a before net_b); of "
        "a layer with more than 268 million pairs, of each unit with its 100 strongest partners in each network",
        (
            NET_A,
            NET_B,
            Column("unit_a", NUMBER, "unit of net_a"),
            Column("unit_b", NUMBER, "unit of net_b"),
            Column("value", pa.float32(), "Pearson correlation over all samples; null where a unit is dead or rare"),
        ),
        partition="layer",
    ),
    Table(
        "mutual_information",
        "align",
        "mutual information of every pair of units, within a network (net_a = net_b) and between networks; of a layer "
        "with more than 268 million pairs, of each unit with its 100 strongest partners in each network; from bins of "
        "5% of a unit's samples each, and of rectified units one more for samples up to 1e-6",
        (
            NET_A,
            NET_B,
            Column("unit_a", NUMBER, "unit of net_a"),
            Column("unit_b", NUMBER, "unit of net_b"),
            Column("value", pa.float32(), "estimate from up to 60,000 samples, nats; null for dead and rare units"),
            Column("value_corrected", pa.float32(), "the estimate with the Miller-Madow bias correction, nats"),
            Column(
                "null_value",
                pa.float32(),
                "the estimate with samples of net_b from other images, nats; null within a network",
            ),
        ),
        partition="layer",
    ),
    Table(
        "matchings",
        "align",
        "the partner of every unit of net_a in net_b, for every ordered pair of networks",
        (
            LAYER,
            NET_A,
            NET_B,
            _similarity,
            _method,
            Column("unit_a", NUMBER, "unit of net_a"),
            Column(
                "unit_b", NUMBER, "its partner in net_b; -1 if it has none (it is dead or rare, or no partner is left)"
            ),
            Column("value", FLOAT, "similarity of unit_a and unit_b; null if there is no partner"),
            Column(
                "rotated_value",
                FLOAT,
                "largest absolute correlation of unit_a with random mixtures of the units of net_b, mean over draws; "
                "for correlation and semi only, as the next three",
            ),
            Column("excess", FLOAT, "largest absolute correlation of unit_a with a unit of net_b - rotated_value"),
            Column(
                "p_value",
                FLOAT,
                "how often chance gives a correlation as large: the largest p-value against mixtures of the units of "
                "net_b not yet taken, against images of net_b shuffled and, in a layer that ends in a known "
                "non-linearity, against its units mixed before that",
            ),
            Column("q_value", FLOAT, "false discovery rate at which it counts as a partner, among the units of net_a"),
            Column(
                "partner_stability",
                FLOAT,
                "fraction of splits of the images whose halves name the same best partner: four splits of eight folds, "
                "one of two, none of one; for correlation and semi only, as the next",
            ),
            Column(
                "heldout_value",
                FLOAT,
                "correlation in one half of the images with the partner that the other half names, mean over halves "
                "and splits",
            ),
        ),
    ),
    Table(
        "alignment",
        "align",
        "how well two networks align, one row per layer, ordered pair, similarity and method",
        (
            LAYER,
            NET_A,
            NET_B,
            _similarity,
            _method,
            Column("units", INT, "units of net_a that have a partner"),
            Column("mean", FLOAT, "average similarity of matched units"),
            Column(
                "mean_low", FLOAT, "lower end of the 95% jackknife interval over folds of the images; correlation only"
            ),
            Column("mean_high", FLOAT, "upper end of that interval; other networks may differ by far more"),
            Column(
                "rotated_mean",
                FLOAT,
                "average absolute correlation of units of net_a matched with random mixtures of the units of net_b, of "
                "activations or of z-scores, whichever is larger",
            ),
            Column("rotated_error", FLOAT, "standard error of rotated_mean, from the number of mixtures drawn"),
            Column("excess", FLOAT, "average absolute correlation of matched units - rotated_mean"),
            Column("excess_low", FLOAT, "lower end of its 95% jackknife interval over folds of the images; semi only"),
            Column("excess_high", FLOAT, "upper end of that interval"),
            Column(
                "beyond_chance",
                FLOAT,
                "fraction of units of net_a with a partner at a false discovery rate of 5%; correlation and semi only",
            ),
            Column(
                "estimated_share",
                FLOAT,
                "estimated fraction of units of net_a with a partner, whether or not they can be named: 1 - 2 · "
                "(fraction of p-values above 1/2), which errs towards fewer and may be below 0; correlation and semi "
                "only",
            ),
            Column(
                "untrained_mean",
                FLOAT,
                "mean over the ordered pairs of untrained networks of these architectures; correlation only",
            ),
            Column("untrained_spread", FLOAT, "standard deviation of mean over these pairs"),
            Column("untrained_excess", FLOAT, "excess over rotated_mean, averaged over these pairs"),
            Column("untrained_beyond_chance", FLOAT, "beyond_chance, averaged over these pairs"),
            Column("untrained_estimated_share", FLOAT, "estimated_share, averaged over these pairs"),
            Column(
                "prerelu_mean",
                FLOAT,
                "average absolute similarity of units of net_a matched with units of net_b mixed before the "
                "non-linearity: for correlation and semi over 25 draws (5 in layers of more than 1,024 units) in up to "
                "10,000 samples, else of one draw in up to 60,000; null in a layer that does not end in a known one",
            ),
            Column(
                "prerelu_error",
                FLOAT,
                "standard error of prerelu_mean, from the number of draws; correlation and semi only",
            ),
            Column(
                "prerelu_excess",
                FLOAT,
                "average absolute similarity of matched units, for correlation and semi in the same samples - "
                "prerelu_mean",
            ),
            Column("untrained_prerelu_excess", FLOAT, "the same, averaged over the pairs of untrained networks"),
            Column("shuffled_mean", FLOAT, "mean with the samples of net_b taken from other images and positions"),
            Column("shuffled_within_mean", FLOAT, "mean with them taken from other images at the same position"),
            Column(
                "one_unit_share",
                FLOAT,
                "share that one unit of net_b holds of what all its units predict linearly: (best r2 - rotated r2) / "
                "(R2 - rotated r2), of means over units; correlation and semi only",
            ),
            Column(
                "fraction_below_half",
                FLOAT,
                "fraction of matched units of net_a with a correlation of 0.5 or less; correlation only",
            ),
            Column("agreement", FLOAT, "fraction of units with the same partner in semi and bipartite matching"),
            Column(
                "agreement_with_correlation",
                FLOAT,
                "fraction of units that have the same partner when matched by correlation",
            ),
            Column(
                "best_eight_kept",
                INT,
                "how many of the eight best pairs by correlation are also pairs of this matching",
            ),
            Column(
                "partner_stability",
                FLOAT,
                "mean of matchings.partner_stability: the agreement to be expected of two matchings of the same units "
                "in different images; correlation and semi only, as the next",
            ),
            Column("heldout_mean", FLOAT, "mean of matchings.heldout_value, which is not too large by the choice"),
            Column(
                "same_index",
                FLOAT,
                "fraction of matched units of net_a whose partner has their own index; near 1 for networks that share "
                "their first weights, and for units that are classes",
            ),
            Column("same_index_chance", FLOAT, "the same where units of net_b are numbered at random"),
            Column(
                "same_index_p_value", FLOAT, "probability, at most, that numbering them at random gives as many or more"
            ),
            Column(
                "weight_correlation",
                FLOAT,
                "correlation of the weights of both networks, the median over tensors of one name and shape, the same "
                "in all layers; about 0 for networks trained from other first weights; null where they have no "
                "such tensors, as recordings",
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
            LAYER,
            _similarity,
            _method,
            Column("quantity", TEXT, "a column of alignment, or a measure of measures"),
            Column("value", FLOAT, "mean over pairs of networks; effective_dimension: over networks"),
            Column(
                "networks_low",
                FLOAT,
                "lower end of the 95% jackknife interval over networks (leaving out one at a time; Student's t with "
                "one degree of freedom fewer than there are networks; shares as log-odds), which holds for other "
                "networks of "
                "this kind on the same images; NaN for fewer than three networks",
            ),
            Column("networks_high", FLOAT, "upper end of that interval"),
            Column(
                "untrained",
                FLOAT,
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
            LAYER,
            NET,
            UNIT,
            Column(
                "partners", INT, "number of other networks in which the unit has a partner; 0 if it is dead or rare"
            ),
            Column(
                "mutual", INT, "number of other networks whose best unit for it has it for its own best unit in turn"
            ),
            Column(
                "excess",
                FLOAT,
                "largest absolute correlation with a unit of another network less the same after random rotations of "
                "that network's units, mean over the other networks; null if it is dead or rare",
            ),
            Column(
                "p_value", FLOAT, "that it has a partner in all other networks: the largest of its p-values for each"
            ),
            Column("q_value", FLOAT, "false discovery rate at which it recurs, among the units of its network"),
            Column(
                "recurring_group",
                INT,
                "number, in its layer, of the group of one unit per network that are all mutual best units; -1 if none",
            ),
        ),
    ),
    Table(
        "recurrence_by_layer",
        "align",
        "how many units recur and what predicts it, one row per layer and quantity",
        (
            LAYER,
            Column(
                "quantity",
                TEXT,
                "partner_share (fraction of units with a partner in another network, mean over ordered pairs), "
                "estimated_share (the same estimated, whether or not the units can be named, see "
                "alignment.estimated_share; at least 0), "
                "recurring_share (fraction with partners in all other networks), group_share (fraction in a group), "
                "partners_by_mean, partners_by_active_fraction, partners_by_kurtosis, partners_by_class_purity (rank "
                "correlation of a unit's number of partners with these columns of units)",
            ),
            Column("value", FLOAT, "over the units of all networks that are neither dead nor rare"),
            Column(
                "low",
                FLOAT,
                "lower end of the 95% jackknife interval over networks; null for fewer than three networks",
            ),
            Column("high", FLOAT, "upper end of that interval"),
            Column(
                "untrained",
                FLOAT,
                "the same among untrained networks; partner_share and estimated_share, and the other shares where "
                "these are as many",
            ),
        ),
    ),
    Table(
        "universal",
        "align",
        "which units are universal: by the test of this run, and by what published definitions look at, one row per "
        "unit; among the units of its own layer, but for the last two columns",
        (
            LAYER,
            NET,
            UNIT,
            Column("partners", INT, "recurrence.partners: other networks in which it has a partner above chance"),
            Column(
                "excess_correlation",
                FLOAT,
                "largest correlation with a unit of another network less the same with that network's activations in "
                "a random basis (two rotations), with their signs, mean over the other networks; above 0.5 the unit is "
                "universal by Gurnee et al. (2024); null if it is dead or rare",
            ),
            Column(
                "shuffled_excess",
                FLOAT,
                "the same where the samples of the other network are of other images or documents, by chance",
            ),
            Column(
                "mutual_first",
                INT,
                "number of other networks in which the unit of largest correlation, with its sign, has this one for "
                "its own first: the best buddies of Dravid et al. (2023), Rosetta neurons if in all",
            ),
            Column("shuffled_mutual", INT, "the same where the samples of the other network are of others, by chance"),
            Column(
                "mutual_across",
                INT,
                "mutual_first over all layers of both networks, by means over positions; only with --compare all",
            ),
            Column(
                "layer_across",
                TEXT,
                "layer in which most other networks have its first, likewise; empty if it is dead or rare",
            ),
        ),
    ),
    Table(
        "universal_by_layer",
        "align",
        "how many units are universal and what distinguishes them, one row per layer and definition",
        (
            LAYER,
            Column(
                "definition",
                TEXT,
                "tested (partners above chance in all other networks), excess (excess_correlation above 0.5), mutual "
                "(mutual_first in all other networks)",
            ),
            Column("share", FLOAT, "fraction of the units of all networks that are neither dead nor rare"),
            Column(
                "low",
                FLOAT,
                "lower end of its 95% jackknife interval over networks; null for fewer than three networks",
            ),
            Column("high", FLOAT, "upper end of that interval"),
            Column("untrained", FLOAT, "the share among untrained networks, where these are as many; else null"),
            Column(
                "shuffled",
                FLOAT,
                "the share where samples of other networks are of other images or documents; null for tested, which "
                "such draws are part of",
            ),
            Column(
                "by_kurtosis",
                FLOAT,
                "rank correlation, over these units, of units.kurtosis with what the definition looks at (partners, "
                "excess_correlation, mutual_first)",
            ),
            Column("by_active_fraction", FLOAT, "the same with units.active_fraction"),
        ),
    ),
    Table(
        "epochs",
        "align",
        "how the alignment comes about in training, one row per layer, kept epoch and ordered pair of networks; only "
        "where training kept epochs (--keep-epochs)",
        (
            LAYER,
            Column("epoch", INT, "after which epoch of training; 0: before training; the largest: at the end"),
            NET_A,
            NET_B,
            Column("mean", FLOAT, "average correlation of the units of net_a with their best partners in net_b"),
            Column("rotated_mean", FLOAT, "the same, absolute, with random mixtures of the units of net_b"),
            Column("excess", FLOAT, "average absolute correlation of matched units - rotated_mean"),
            Column(
                "prerelu_mean",
                FLOAT,
                "average absolute correlation of units of net_a matched with units of net_b mixed before the "
                "non-linearity, in one draw after every epoch (alignment averages several); null in a layer that does "
                "not end in a known one",
            ),
            Column("prerelu_excess", FLOAT, "average absolute correlation of matched units - prerelu_mean"),
            Column(
                "effective_dimension", FLOAT, "of the z-scores of net_a's units: participation ratio of their variance"
            ),
            Column(
                "same_partner",
                FLOAT,
                "fraction of units of net_a that have the partner they have at the end; how far a partner is the same "
                "in other images, too, says alignment.partner_stability",
            ),
            Column("settled", FLOAT, "fraction that have it after this and all later kept epochs"),
        ),
    ),
    Table(
        "partner_epochs",
        "align",
        "when a unit's partner was settled, one row per ordered pair of networks and unit; only where training kept "
        "epochs (--keep-epochs)",
        (
            LAYER,
            NET_A,
            NET_B,
            Column("unit_a", NUMBER, "unit of net_a"),
            Column("unit_b", NUMBER, "its best partner in net_b at the end of training"),
            Column("value", FLOAT, "their correlation then"),
            Column("epoch", INT, "first kept epoch from which on unit_b is always the best partner"),
        ),
    ),
    Table(
        "layers",
        "align",
        "which module of every network each layer is, one row per layer and network",
        (
            LAYER,
            NET,
            Column("module", TEXT, "module path in this network; with :class or :patches, of its tokens those alone"),
            Column("units", INT, "units of the layer in this network"),
            Column("dead_units", INT, "how many of them are dead (units.is_dead)"),
            Column("rare_units", INT, "how many are rare (units.is_rare); left out unless collected with --keep-rare"),
            Column(
                "grid",
                TEXT,
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
            NET_A,
            Column("layer_a", TEXT, "layer of net_a, as a module path"),
            NET_B,
            Column("layer_b", TEXT, "layer of net_b"),
            Column("mean", FLOAT, "mean correlation of the units of layer_a with their best partners in layer_b"),
            Column(
                "excess",
                FLOAT,
                "the same of absolute correlations, less the same after random rotations of the units of layer_b",
            ),
            Column(
                "linear_cka",
                FLOAT,
                "linear CKA of the two layers, too large for wide layers where images are not many more than units",
            ),
            Column("debiased_cka", FLOAT, "the same without that, from folds of the images; null where there is one"),
        ),
    ),
    Table(
        "across_units",
        "align",
        "the best partner of every unit among the units of all layers of another network, one row per unit and other "
        "network; only with --compare all",
        (
            NET_A,
            Column("layer_a", TEXT, "layer of unit_a, as a module path"),
            Column("unit_a", NUMBER, "unit of net_a"),
            NET_B,
            Column("layer_b", TEXT, "layer of its best partner; empty if it has none, being dead or rare"),
            Column("unit_b", NUMBER, "the partner; -1 if none"),
            Column("value", FLOAT, "their correlation"),
            Column("is_mutual", BOOL, "the partner's best partner in net_a is unit_a"),
        ),
    ),
    Table(
        "measures",
        "align",
        "published measures of similarity of two networks, one row per pair, two for pwcca and regression_r2, which "
        "have a direction; effective_dimension is of one network (net_a = net_b)",
        (
            NET_A,
            Column("layer_a", TEXT, "layer of net_a, as a module path"),
            NET_B,
            Column("layer_b", TEXT, "layer of net_b"),
            Column(
                "measure",
                TEXT,
                "linear_cka, debiased_cka, mean_cca, svcca, pwcca, regression_r2 (variance of net_b predicted from "
                "net_a), procrustes_distance and permutation_procrustes_distance (total variance of each network 1), "
                "angular_distance (radians), hard_correlation_match, soft_correlation_match, soft_matching_distance, "
                "partial_matching_mass (the part of the units worth matching, chosen on images that the pairs were not "
                "found on; without chance and interval), partial_matching_score (mean correlation of that part), "
                "effective_dimension (participation ratio of the correlations)",
            ),
            Column("value", FLOAT, "over all images, without dead and rare units"),
            Column(
                "low",
                FLOAT,
                "lower end of the 95% jackknife interval over folds of the images; null where it would take too long: "
                "in layers of more than 1,024 units for all but linear_cka, debiased_cka and effective_dimension, and "
                "of more than 256 units for soft_matching_distance and partial_matching_score",
            ),
            Column("high", FLOAT, "upper end of that interval"),
            Column(
                "chance",
                FLOAT,
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
            LAYER,
            NET,
            Column("units", INT, "number of units that fire for at least one sample"),
            Column("silent", INT, "number of units that never fire"),
            Column("highest", FLOAT, "largest mean activation of a unit"),
            Column("lowest", FLOAT, "smallest mean activation of a unit that fires"),
            Column("decades", FLOAT, "log10 of highest / lowest"),
            Column(
                "distance",
                FLOAT,
                "mean distance between this network's distribution of log10 mean and the others', decades",
            ),
            Column(
                "top_ratio",
                FLOAT,
                "largest value of highest among the networks / smallest one; the same in all rows of a layer",
            ),
            Column(
                "typical_ratio",
                FLOAT,
                "the same ratio at each rank of units, median over ranks; the same in all rows of a layer",
            ),
        ),
    ),
    Table(
        "joint_activations",
        "align",
        "activations of matched units of the first two networks in the same samples, for the first two layers",
        (
            LAYER,
            NET_A,
            NET_B,
            Column("unit_a", NUMBER, "unit of net_a"),
            Column("unit_b", NUMBER, "its partner in net_b, by semi-matching on correlation"),
            Column("correlation", FLOAT, "correlation of the two units over all samples"),
            Column("sample", INT, "number of the sample, from 0; the same for all units of a layer"),
            Column("value_a", FLOAT, "activation of unit_a"),
            Column("value_b", FLOAT, "activation of unit_b"),
        ),
    ),
)
