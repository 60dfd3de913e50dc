"""Which units of independently trained networks learned the same thing?

An implementation of Li, Yosinski, Clune, Lipson & Hopcroft, "Convergent Learning: Do different neural networks learn
the same representations?" (ICLR 2016) as a Ray application. The command line makes a run (`raycv run --run RUN`,
`raycv --help`); from Python a run is read with `open_run`, which needs neither Ray nor PyTorch:

    run = raycv.open_run("runs/first")          # or s3://bucket/prefix
    run.table("alignment", layer="conv1")       # rows in pandas
    run.correlation("conv1", "net1", "net2")    # a matrix of units x units

Networks and recorded activations are compared without a run by `compare`, and batch by batch by `Moments`:

    found = raycv.compare({"a": net, "b": "b.npy"}, data=batches, layers=["layer?"])
    found.matching()                            # every unit's partner, and whether chance would give as much

The methods themselves are pure functions on NumPy arrays, in `raycv.analysis`. Every unit's best partner:

>>> import numpy as np
>>> from raycv.analysis.matching import semi_matching
>>> from raycv.analysis.similarity import correlation
>>> images = np.random.default_rng(0).standard_normal((500, 3))    # activations of three units of one network
>>> other = images[:, [2, 0, 1]] + 0.1                             # the same units in another order in the other
>>> semi_matching(correlation(images, other)).columns.tolist()
[1, 2, 0]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raycv.api.comparison import Comparison
    from raycv.api.entry import compare
    from raycv.api.moments import Moments
    from raycv.api.run import Run, open_run
    from raycv.api.stored import load
    from raycv.data.in_memory import images
    from raycv.data.preprocessing import Preprocessing

__version__ = "0.1.0"
__all__ = ["Comparison", "Moments", "Preprocessing", "Run", "__version__", "compare", "images", "load", "open_run"]

_HOMES = {
    "Comparison": "raycv.api.comparison",
    "Moments": "raycv.api.moments",
    "Preprocessing": "raycv.data.preprocessing",
    "Run": "raycv.api.run",
    "compare": "raycv.api.entry",
    "images": "raycv.data.in_memory",
    "load": "raycv.api.stored",
    "open_run": "raycv.api.run",
}


def __getattr__(name: str) -> Any:
    """Each is imported when it is first used: the command line needs none of them, and reading a run no PyTorch."""
    if name in _HOMES:
        from raycv.extras import needed  # not above: Ctrl-C is not caught before `raycv.stopping` is there

        with needed():
            return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'raycv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
