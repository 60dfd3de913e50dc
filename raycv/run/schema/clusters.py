"""The tables that `raycv sweep clusters` writes."""

from __future__ import annotations

from raycv.run.schema.columns import BOOL, FLOAT, INT, LAYER, NET, NET_A, NET_B, UNIT
from raycv.run.schema.table import Column, Table

_graph = (NET_A, NET_B, Column("threshold", FLOAT, "two units share an edge if their correlation is above this"))
_clustering = (*_graph, Column("k", INT, "number of clusters asked for"))

TABLES = (
    Table(
        "clusterings",
        "sweep clusters",
        "spectral clusterings of the units of two networks, one row per layer, pair, threshold and k",
        (
            LAYER,
            *_clustering,
            Column(
                "is_default",
                BOOL,
                "this k is that of the figures: 40/192 of the units with an edge, at most 100, which is the paper's k "
                "for its layers; with --k paper, the paper's k where the graph allows it",
            ),
            Column(
                "chosen", BOOL, "this k has the largest modularity of all k from 2 to 200, see the table eigenvalues"
            ),
            Column(
                "lowest_k",
                INT,
                "smallest k that the graph allows: the number of its connected pieces, without isolated units",
            ),
            Column("highest_k", INT, "largest k that the graph allows: the number of units with an edge"),
            Column(
                "size_limit",
                FLOAT,
                "a cluster with more units is split: 0.025 of the units of both networks, at least 4.8",
            ),
            Column("clusters", INT, "number of clusters after splitting"),
            Column("largest_cluster", INT, "number of units in the largest cluster before splitting"),
            Column("largest_leaf", INT, "number of units in the largest cluster after splitting"),
            Column("one_net", INT, "number of clusters before splitting that have units of one network only"),
            Column("single_unit", INT, "number of clusters before splitting that have one unit"),
            Column("units_two_net", INT, "number of units in clusters before splitting with units of both networks"),
            Column(
                "modularity",
                FLOAT,
                "Newman's, of the clusters before splitting: fraction of the edges' weight within clusters, less that "
                "of random edges between units of the same degrees",
            ),
            Column(
                "mixed_modularity",
                FLOAT,
                "by chance: the modularity with one network's units mixed before the non-linearity, or randomly "
                "rotated if the layer does not end in a known one; mean over both networks; of the default k only, "
                "null if that graph does not allow it",
            ),
            Column("mixed_units_two_net", FLOAT, "by chance: units_two_net of the same clusterings"),
            Column(
                "isolated_a",
                INT,
                "number of units of net_a without an edge, dead and rare ones included; they are in no cluster",
            ),
            Column("isolated_b", INT, "the same for net_b"),
            Column("between_net_similarity", FLOAT, "mean over the clusters before splitting, see the table clusters"),
            Column("within_net_similarity", FLOAT, "mean over the clusters before splitting, see the table clusters"),
            Column("restart_stability", FLOAT, "mean adjusted Rand index of all pairs of ten k-means restarts"),
            Column("inertia", FLOAT, "k-means objective: sum of squared distances to the centres"),
            Column("seconds", FLOAT, "duration, with an equal share of the eigendecomposition for each k, seconds"),
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
                INT,
                "number of the cluster: 0 to k - 1 from the largest to the smallest, then the parts of split clusters",
            ),
            Column("parent", INT, "the cluster that this one is a part of; -1 for the first k"),
            Column("is_leaf", BOOL, "the cluster was not split"),
            Column("units_a", INT, "number of its units in net_a"),
            Column("units_b", INT, "number of its units in net_b"),
            Column(
                "between_net_similarity",
                FLOAT,
                "mean correlation of its units in net_a with its units in net_b; 0 if one has none",
            ),
            Column(
                "within_net_similarity",
                FLOAT,
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
            Column("cluster", INT, "cluster before splitting; -1 if the unit is isolated, dead or rare"),
            Column(
                "leaf",
                INT,
                "cluster after splitting, as numbered in the table clusters; -1 if the unit is isolated, dead or rare",
            ),
            NET,
            UNIT,
        ),
        partition="layer",
    ),
    Table(
        "eigenvalues",
        "sweep clusters",
        "smallest eigenvalues of the Laplacian of every graph, without isolated units, and the modularity of every k",
        (
            LAYER,
            *_graph,
            Column("number", INT, "number of the eigenvalue, from 1, smallest first"),
            Column("eigenvalue", FLOAT, "eigenvalue of L = D - W"),
            Column(
                "modularity",
                FLOAT,
                "modularity of k = number clusters, from two restarts of k-means; null where k was not tried",
            ),
        ),
    ),
)
