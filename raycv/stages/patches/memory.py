"""How much memory an actor that draws patches needs."""

from __future__ import annotations

from collections.abc import Sequence

from raycv.memory import Need
from raycv.networks.sizes import sizes_of
from raycv.networks.spec import NetworkSpec
from raycv.paper import TOP_PATCHES
from raycv.run.schema import MOST_SAMPLED, SAMPLED
from raycv.run.tables import ROW_BYTES
from raycv.stages.intended import Intended
from raycv.stages.patches.pictures import BATCH, UNITS


def actor_need(specs: Sequence[NetworkSpec]) -> Need:
    """What one actor needs, beside an idle process."""
    remedy = "compare fewer networks, or ones of smaller images; patches are not needed by other stages"
    return Need.of(actor_bytes(specs), remedy, "an actor")


def actor_bytes(specs: Sequence[NetworkSpec]) -> int:
    """The peak, in bytes, beyond an idle process, for networks of P parameters in all, and A values for one image:

      2·4·P                       weights, and the file that they are read from
    + 9·64·3·(pixels)·(2 + 4·4)   the images in which 64 units are highest, as bytes and as floats; and what drives
                                  the units in each
    + 3·4·128·A                   what every module gives for the patches led back together, and its gradients
    + 150·(rows)                  of one layer's activations in the sampled images
    """
    sizes = [sizes_of(spec) for spec in specs]
    pixels = max(spec.preprocessing.resizing.size**2 for spec in specs)
    images = UNITS * TOP_PATCHES * 3 * pixels * (2 + 4 * 4)
    led_back = 3 * 4 * BATCH * max(of_net.values for of_net in sizes)
    widest = max(units for of_net in sizes for units, _ in of_net.layers.values())
    sampled = ROW_BYTES * min(MOST_SAMPLED, SAMPLED * widest)
    return 2 * 4 * sum(of_net.weights for of_net in sizes) + images + led_back + sampled


def planned(run: Intended) -> list[Need]:
    """What an actor of an intended run will need; nothing where all networks are recorded activations."""
    seeing = [spec for spec in run.specs if spec.sees_images]
    return [actor_need(seeing)] if seeing else []
