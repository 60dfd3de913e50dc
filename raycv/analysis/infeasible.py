"""The exception for questions that the data cannot answer."""


class Infeasible(ValueError):
    """The requested result does not exist for these data, such as clusters of a graph without edges.

    Malformed arguments raise a plain ValueError instead: a sweep skips infeasible trials and fails on other errors.
    """
