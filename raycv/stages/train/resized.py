"""What is said of images that are not of the size that networks take."""

from __future__ import annotations

from collections.abc import Sequence

from raycv.data.prepared import PreparedReader
from raycv.data.preprocessing import Resize
from raycv.data.sources import Source
from raycv.networks.spec import NetworkSpec
from raycv.progress import say


def say_how_resized(specs: Sequence[NetworkSpec], source: Source) -> None:
    """Say how the images are resized for the networks, judged by the first image, and that they were before.

    Says nothing where they have the size that the networks take.
    """
    if not any(spec.sees_images for spec in specs):
        return
    width, height = source.size_of_first()
    before = source.reader.manifest.resizing if isinstance(source.reader, PreparedReader) else None
    takers: dict[Resize, list[str]] = {}
    for spec in specs:
        if spec.sees_images:
            takers.setdefault(spec.preprocessing.resizing._replace(crop=None), []).append(spec.name)
    for resize, names in takers.items():
        whose = ", ".join(names)
        if (width, height) != (resize.size, resize.size):
            how = "squashed" if resize.fit == "squash" else "resized by their shorter side, and cut,"
            say(f"train: images ({width} x {height} pixels) are {how} to {resize.size} x {resize.size} for {whose}")
        if before is not None and before != resize:
            say(
                f"train: note: the images were prepared differently ({_how(before)}) from how {whose} takes them "
                f"({_how(resize)})"
            )


def _how(resize: Resize) -> str:
    return f"{resize.size} pixels, {resize.fit}, {resize.interpolation}"
