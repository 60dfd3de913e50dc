"""The exception for data that lack what a figure shows."""

from __future__ import annotations

from raycv.errors import Sentence


class Undrawable(Sentence, ValueError):
    """The data lack what the figure shows. The message is one sentence that names what is missing or does not fit."""
