"""The exception for questions that the data cannot answer."""


class Infeasible(ValueError):
    """The requested result does not exist for these data, such as clusters of a graph without edges.

    Malformed arguments raise a plain ValueError instead: a sweep skips infeasible trials and fails on other errors.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Infeasible, spectral_clusters
    >>> try:
    ...     spectral_clusters(np.eye(4), 2)
    ... except Infeasible as error:
    ...     print(error)
    no correlation between two of the 4 units is above the threshold 0.0: choose a lower threshold
    """
