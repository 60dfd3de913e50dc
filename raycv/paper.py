"""Numbers of the paper that several parts of raycv share, each with its section."""

from __future__ import annotations

SPARSE_DECAY = 10**-2.6  # the L1 decay picked by hand for conv1 (section 4)
DECAYS = (0.0, 1e-5, 1e-4, 1e-3, SPARSE_DECAY, 1e-2, 1e-1)  # Table 1, with the decay above
UNITS_USED = 4.7  # source units per target unit at that decay (section 4)
TOP_PATCHES = 9  # images shown of each unit (figures 2 and 9)
PAIRS_SHOWN = 8  # the number of best matches, and of worst matches, shown of a layer (figures 2 and 8)
CLUSTERS_FIRST, CLUSTERS = 40, 100  # k of conv1 and of the other layers (S.3.5)
NODES_FIRST = 192  # units of two networks in conv1
THRESHOLD = 0.2  # correlations up to it make no edge (S.3.4)
SHOWN_SAMPLES, SHOWN_LAYERS = 5_000, 2  # of the joint activations of matched units (figure 8)
