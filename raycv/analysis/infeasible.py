"""The one exception that says: the data allow no answer to this question."""


class Infeasible(ValueError):
    """What was asked does not exist for these data, such as clusters of a graph without edges.

    Not for malformed arguments, which are a plain ValueError: a sweep leaves out what is infeasible and fails of
    everything else.
    """
