"""The one exception that says: the rows given do not hold what the figure shows."""


class Undrawable(ValueError):
    """One sentence with what is missing or does not fit."""
