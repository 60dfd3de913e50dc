"""Networks to compare with those of a comparison: the same ones untrained, or whatever stands for chance.

With "untrained" they are copies of the networks, whose weights are drawn anew by ``reset_parameters``. Otherwise they
are networks or recordings given by the same names. They are compared like the others, in a second pass over the data,
and their values stand beside in `Comparison.alignment` and `Comparison.mapping`; `Comparison.control` has the rest.

>>> import raycv, torch
>>> _ = torch.manual_seed(0)
>>> nets = {name: torch.nn.Sequential(torch.nn.Linear(20, 20), torch.nn.ReLU()) for name in ("a", "b")}
>>> found = raycv.compare(nets, [torch.randn(500, 20)], layers=["1"], control="untrained")
>>> found.alignment(["beyond_chance"]).columns.tolist()[3:]
['beyond_chance', 'control_beyond_chance']
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import nn

from raycv.devices import random_states_kept
from raycv.errors import UserError
from raycv.networks.module_paths import unwrapped
from raycv.networks.probe_copies import of_its_own

Control = Literal["untrained"] | Mapping[str, Any]


def controls(networks: Mapping[str, Any], control: Control | None, data: Any) -> dict[str, Any] | None:
    """The networks and recordings that stand in the place of ``networks``, by their names and in their order.

    Raises UserError for other names, for recordings that are to be untrained, for ``data`` that is gone once it was
    read, and as `drawn_anew`.
    """
    if control is None:
        return None
    if isinstance(data, Iterator):
        raise UserError(
            f"data is a {type(data).__name__}, which can be read once, and control needs it twice; give a list or a "
            "DataLoader."
        )
    if isinstance(control, Mapping):
        if set(control) != set(networks):
            raise UserError(
                f"control has {', '.join(map(str, control)) or 'no networks'}; give one for each of "
                f"{', '.join(networks)}, under the same names."
            )
        return {name: control[name] for name in networks}
    if control != "untrained":
        raise UserError(f'control is {control!r}; allowed are "untrained" and networks or recordings by name.')
    for name, net in networks.items():
        if not isinstance(net, nn.Module):
            raise UserError(
                f"{name} is recorded and has no weights to be drawn anew; give recordings of untrained networks as "
                "control."
            )
    return {name: drawn_anew(name, net, seed) for seed, (name, net) in enumerate(networks.items())}


@torch.no_grad()
def drawn_anew(name: str, net: nn.Module, seed: int) -> nn.Module:
    """A copy of ``net`` with every parameter drawn by its module's ``reset_parameters``, from ``seed``.

    That is how PyTorch draws weights, which a network may have done otherwise when it was built. ``net`` and all random
    states stay as they are. Raises UserError where a parameter is not drawn by any such function, as class tokens and
    position embeddings are not, and for a network that cannot be copied.
    """
    drawn = of_its_own(unwrapped(net))
    if drawn is None:
        raise UserError(
            f"Network {name} cannot be copied, so its weights cannot be drawn anew; give untrained networks as control."
        )
    parameters = [
        (path, one)
        for path, one in drawn.named_parameters()
        if not nn.parameter.is_lazy(one) and (one.is_floating_point() or one.is_complex())
    ]
    for _, parameter in parameters:
        parameter.fill_(float("nan"))  # what stays so is drawn by nobody
    with random_states_kept():
        torch.manual_seed(seed)
        for module in reversed(list(drawn.modules())):  # what a module says of its parts comes after them
            for function in ("reset_parameters", "_reset_parameters"):
                reset = getattr(module, function, None)
                if callable(reset):
                    reset()
                    break
    left = next((path for path, parameter in parameters if bool(parameter.isnan().any())), None)
    if left is not None:
        raise UserError(
            f"The weights of {name} cannot be drawn anew: no reset_parameters of its modules draws {left}; give "
            "untrained networks as control."
        )
    return drawn
