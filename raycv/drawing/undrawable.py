"""The exception for data that lack what a figure shows."""


class Undrawable(ValueError):
    """The data lack what the figure shows. The message is one sentence that names what is missing or does not fit."""
