"""The texts that a figure's PNG file carries, by their keywords."""

from __future__ import annotations

TITLE, CAPTION = "Title", "Description"
PICTURES = "Pictures"  # there where the figure holds patches or filters, whose colours mean something
