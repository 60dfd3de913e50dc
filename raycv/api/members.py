"""Which layers of which networks are compared with each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from raycv.errors import UserError

Pairing = Literal["same", "all"] | Sequence[Sequence[str]]


class Member(NamedTuple):
    """One layer of one network."""

    net: str
    layer: str

    def __str__(self) -> str:
        return f"{self.net}/{self.layer}"


def groups(nets: list[str], there: list[Member], pairing: Pairing) -> list[list[Member]]:
    """The members that are compared with each other."""
    of_net = {net: [member.layer for member in there if member.net == net] for net in nets}
    if pairing == "all":
        return [there]
    if pairing == "same":
        common = [layer for layer in of_net[nets[0]] if all(layer in of_net[net] for net in nets)]
        if not common:
            text = "; ".join(f"{net} has {', '.join(layers[:4])}" for net, layers in of_net.items())
            raise UserError(
                f'The networks have no layer of the same name: {text}; say which belong together, or "all".'
            )
        return [[Member(net, layer) for net in nets] for layer in common]
    for chosen in pairing:
        if isinstance(chosen, str) or len(chosen) != len(nets):
            raise UserError(f"{chosen!r} must name one layer for each of the networks {', '.join(nets)}.")
        for net, layer in zip(nets, chosen, strict=True):
            if layer not in of_net[net]:
                raise UserError(f"{net} has no layer {layer!r}; its layers are {', '.join(of_net[net])}.")
    return [[Member(net, layer) for net, layer in zip(nets, chosen, strict=True)] for chosen in pairing]
