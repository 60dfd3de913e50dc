"""Pure functions on arrays: they know nothing of Ray, of files or of where activations came from.

Each is imported from its module or from here, ``from raycv.analysis import semi_matching, rotated``, and costs what it
needs when it is first used: PyTorch is loaded by nothing but what computes in it. Five functions are named as their
modules are (``partners``, ``recurrence``, ``transport``, ``slopes``, ``kmeans``) and are imported from there alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raycv.analysis.activity import ActivityRanking, ActivitySpread, activity_ranking, activity_spread
    from raycv.analysis.agglomeration import Agglomeration, agglomerate
    from raycv.analysis.clusters import ClusterMetrics, cluster_metrics, modularity, stability
    from raycv.analysis.dictionaries import FeaturePartners, decoder_partners, feature_partners
    from raycv.analysis.graphs import combined_correlation, similarity_graph
    from raycv.analysis.group_matching import match_groups, similarity_evidence, weight_evidence
    from raycv.analysis.hierarchy import ClusterTree, split_clusters
    from raycv.analysis.histograms import joint_histograms
    from raycv.analysis.infeasible import Infeasible
    from raycv.analysis.information import (
        MutualInformation,
        estimate_information,
        mutual_information,
        pairwise_information,
    )
    from raycv.analysis.mapping import MappingLayer, find_decay, lasso_path
    from raycv.analysis.matching import Matching, agreement, bipartite_matching, semi_matching
    from raycv.analysis.measures.alignment import cross_fold_cka, debiased_cka, linear_cka
    from raycv.analysis.measures.canonical import canonical_correlations, mean_cca, pwcca, svcca
    from raycv.analysis.measures.covariances import Covariances
    from raycv.analysis.measures.prediction import regression_r2
    from raycv.analysis.measures.shapes import (
        angular_distance,
        permutation_angular_distance,
        permutation_procrustes_distance,
        procrustes_distance,
    )
    from raycv.analysis.measures.units import (
        hard_correlation_match,
        partial_matching_score,
        soft_correlation_match,
        soft_matching_distance,
        soft_matching_score,
    )
    from raycv.analysis.merging import interpolated, zipped_mean
    from raycv.analysis.nulls import (
        Excess,
        OneUnitShare,
        Rotated,
        best_correlation,
        effective_dimension,
        excess,
        one_unit_share,
        rotated,
        rotated_matching,
        scaled,
    )
    from raycv.analysis.partners import Partners
    from raycv.analysis.prerelu import rotated_before, rotated_before_relu
    from raycv.analysis.readout import ReadOut, chosen_penalty, read_out
    from raycv.analysis.recurrence import Recurrence, grouped_share, partner_share, recurring_share
    from raycv.analysis.regression import linear_r2
    from raycv.analysis.removal import compensation, redundancy_order
    from raycv.analysis.sgd import Schedule, sgd_path
    from raycv.analysis.significance import pooled_p_values, q_values
    from raycv.analysis.similarity import Interval, correlation, jackknife
    from raycv.analysis.slopes import stratified_jackknife
    from raycv.analysis.sparsity import loss_with_as_many, rotated_sources
    from raycv.analysis.spectral import SpectralClusters, Spectrum, default_k, spectral_clusters, sweep_clusters
    from raycv.analysis.top_patches import TopPatches, class_purity
    from raycv.analysis.transport import partial_plan, uniform_plan
    from raycv.analysis.universality import excess_correlation, mutual_first

__all__ = [
    "ActivityRanking",
    "ActivitySpread",
    "Agglomeration",
    "ClusterMetrics",
    "ClusterTree",
    "Covariances",
    "Excess",
    "FeaturePartners",
    "Infeasible",
    "Interval",
    "MappingLayer",
    "Matching",
    "MutualInformation",
    "OneUnitShare",
    "Partners",
    "ReadOut",
    "Recurrence",
    "Rotated",
    "Schedule",
    "SpectralClusters",
    "Spectrum",
    "TopPatches",
    "activity_ranking",
    "activity_spread",
    "agglomerate",
    "agreement",
    "angular_distance",
    "best_correlation",
    "bipartite_matching",
    "canonical_correlations",
    "chosen_penalty",
    "class_purity",
    "cluster_metrics",
    "combined_correlation",
    "compensation",
    "correlation",
    "cross_fold_cka",
    "debiased_cka",
    "decoder_partners",
    "default_k",
    "effective_dimension",
    "estimate_information",
    "excess",
    "excess_correlation",
    "feature_partners",
    "find_decay",
    "grouped_share",
    "hard_correlation_match",
    "interpolated",
    "jackknife",
    "joint_histograms",
    "lasso_path",
    "linear_cka",
    "linear_r2",
    "loss_with_as_many",
    "match_groups",
    "mean_cca",
    "modularity",
    "mutual_first",
    "mutual_information",
    "one_unit_share",
    "pairwise_information",
    "partial_matching_score",
    "partial_plan",
    "partner_share",
    "permutation_angular_distance",
    "permutation_procrustes_distance",
    "pooled_p_values",
    "procrustes_distance",
    "pwcca",
    "q_values",
    "read_out",
    "recurring_share",
    "redundancy_order",
    "regression_r2",
    "rotated",
    "rotated_before",
    "rotated_before_relu",
    "rotated_matching",
    "rotated_sources",
    "scaled",
    "semi_matching",
    "sgd_path",
    "similarity_evidence",
    "similarity_graph",
    "soft_correlation_match",
    "soft_matching_distance",
    "soft_matching_score",
    "spectral_clusters",
    "split_clusters",
    "stability",
    "stratified_jackknife",
    "svcca",
    "sweep_clusters",
    "uniform_plan",
    "weight_evidence",
    "zipped_mean",
]

_HOMES = {
    "ActivityRanking": "activity",
    "ActivitySpread": "activity",
    "activity_ranking": "activity",
    "activity_spread": "activity",
    "Agglomeration": "agglomeration",
    "agglomerate": "agglomeration",
    "ClusterMetrics": "clusters",
    "cluster_metrics": "clusters",
    "modularity": "clusters",
    "stability": "clusters",
    "FeaturePartners": "dictionaries",
    "decoder_partners": "dictionaries",
    "feature_partners": "dictionaries",
    "combined_correlation": "graphs",
    "similarity_graph": "graphs",
    "match_groups": "group_matching",
    "similarity_evidence": "group_matching",
    "weight_evidence": "group_matching",
    "ClusterTree": "hierarchy",
    "split_clusters": "hierarchy",
    "joint_histograms": "histograms",
    "Infeasible": "infeasible",
    "MutualInformation": "information",
    "estimate_information": "information",
    "mutual_first": "universality",
    "mutual_information": "information",
    "pairwise_information": "information",
    "MappingLayer": "mapping",
    "find_decay": "mapping",
    "lasso_path": "mapping",
    "Matching": "matching",
    "agreement": "matching",
    "bipartite_matching": "matching",
    "semi_matching": "matching",
    "cross_fold_cka": "measures.alignment",
    "debiased_cka": "measures.alignment",
    "linear_cka": "measures.alignment",
    "canonical_correlations": "measures.canonical",
    "mean_cca": "measures.canonical",
    "pwcca": "measures.canonical",
    "svcca": "measures.canonical",
    "Covariances": "measures.covariances",
    "regression_r2": "measures.prediction",
    "angular_distance": "measures.shapes",
    "permutation_angular_distance": "measures.shapes",
    "permutation_procrustes_distance": "measures.shapes",
    "procrustes_distance": "measures.shapes",
    "hard_correlation_match": "measures.units",
    "partial_matching_score": "measures.units",
    "soft_correlation_match": "measures.units",
    "soft_matching_distance": "measures.units",
    "soft_matching_score": "measures.units",
    "interpolated": "merging",
    "zipped_mean": "merging",
    "Excess": "nulls",
    "OneUnitShare": "nulls",
    "Rotated": "nulls",
    "best_correlation": "nulls",
    "effective_dimension": "nulls",
    "excess": "nulls",
    "excess_correlation": "universality",
    "one_unit_share": "nulls",
    "rotated": "nulls",
    "rotated_matching": "nulls",
    "scaled": "nulls",
    "Partners": "partners",
    "rotated_before": "prerelu",
    "rotated_before_relu": "prerelu",
    "ReadOut": "readout",
    "chosen_penalty": "readout",
    "read_out": "readout",
    "Recurrence": "recurrence",
    "grouped_share": "recurrence",
    "partner_share": "recurrence",
    "recurring_share": "recurrence",
    "linear_r2": "regression",
    "compensation": "removal",
    "redundancy_order": "removal",
    "Schedule": "sgd",
    "sgd_path": "sgd",
    "pooled_p_values": "significance",
    "q_values": "significance",
    "Interval": "similarity",
    "correlation": "similarity",
    "jackknife": "similarity",
    "stratified_jackknife": "slopes",
    "loss_with_as_many": "sparsity",
    "rotated_sources": "sparsity",
    "SpectralClusters": "spectral",
    "Spectrum": "spectral",
    "default_k": "spectral",
    "spectral_clusters": "spectral",
    "sweep_clusters": "spectral",
    "TopPatches": "top_patches",
    "class_purity": "top_patches",
    "partial_plan": "transport",
    "uniform_plan": "transport",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"raycv.analysis.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'raycv.analysis' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
