"""One clustering of a layer, as rows of the tables clusters and cluster_members."""

from __future__ import annotations

import pandas as pd

# cluster: (units of net1, units of net2, similarity, is_leaf); 1 was split into 4 and 5
CLUSTERS = {
    0: ([0, 4], [1, 2, 3], 0.3, True),
    1: ([1, 2, 3], [0, 4], 0.9, False),
    2: ([5, 6, 7, 8, 9, 10, 11], [5], 0.5, True),
    3: ([12], [], 0.0, True),
    4: ([1], [0], 0.8, True),
    5: ([2, 3], [4], 0.4, True),
}
NODES = pd.DataFrame(
    {
        "layer": "conv2",
        "k": 4,
        "cluster": list(CLUSTERS),
        "is_leaf": [leaf for *_, leaf in CLUSTERS.values()],
        "units_a": [len(a) for a, *_ in CLUSTERS.values()],
        "units_b": [len(b) for _, b, *_ in CLUSTERS.values()],
        "between_net_similarity": [value for *_, value, _ in CLUSTERS.values()],
    }
)
MEMBERS = pd.DataFrame(
    [
        ("conv2", number, net, unit)
        for number, (a, b, _, leaf) in CLUSTERS.items()
        if leaf
        for net, units in (("net1", a), ("net2", b))
        for unit in units
    ]
    + [("conv2", -1, "net1", 13)],
    columns=["layer", "leaf", "net", "unit"],
).sample(frac=1, random_state=0)
