"""The tests of raycv."""

import os

# Several processes share few cores. Threads of OpenMP that spin while they wait take these from one another: beside two
# busy processes on two cores the same comparison took twice the processor time. Read once, when PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
