"""How much memory an actor that prepares images needs."""

from __future__ import annotations

from raycv.data.preprocessing import Resize
from raycv.memory import Need
from raycv.stages.prepare.files import LARGEST, PER_FILE


def actor_need(resize: Resize) -> Need:
    """What one actor needs: the images of a file, as pixels at most, three times over."""
    return Need.of(3 * min(PER_FILE * 3 * resize.size**2, LARGEST), "use a smaller --size", "an actor")
