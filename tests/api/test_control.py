"""The same networks untrained, or others, beside those that are compared."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

import raycv
from raycv.api.control import drawn_anew
from raycv.errors import UserError


def images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(150, 12, generator=generator) for _ in range(4)]


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 30), nn.BatchNorm1d(30), nn.ReLU())


def alike(seed: int, order: Tensor) -> nn.Sequential:
    """The same network whatever the seed, but for the order of its units."""
    net = network(0)
    with torch.no_grad():
        linear = net.get_submodule("0")
        assert isinstance(linear, nn.Linear)
        linear.weight.copy_(linear.weight[order] + 0.01 * seed)
        linear.bias.copy_(linear.bias[order])
    return net


def test_untrained_copies_share_nothing_and_the_networks_stay_as_they_are() -> None:
    nets = {"a": alike(0, torch.arange(30)), "b": alike(1, torch.randperm(30))}
    told: list[str] = []
    hook = nets["a"].register_forward_hook(lambda *_: told.append("a"))
    before, state = copy.deepcopy({name: net.state_dict() for name, net in nets.items()}), torch.get_rng_state()
    found = raycv.compare(nets, images(), layers=["2"], control="untrained")
    assert len(told) == len(images())  # a hook of the user's hears nothing of copies
    hook.remove()
    assert torch.equal(state, torch.get_rng_state())
    for name, net in nets.items():
        for key, values in net.state_dict().items():
            assert torch.equal(values, before[name][key])
    table = found.alignment(["mean", "excess", "beyond_chance"])
    assert (table["mean"] > 0.99).all()
    assert (table["beyond_chance"] == 1).all()
    assert (table["control_mean"] < 0.9).all()
    assert (table["control_beyond_chance"] < 0.2).all()
    assert found.control is not None
    assert found.control.alignment(["mean"])["mean"].tolist() == table["control_mean"].tolist()
    mapped = found.mapping([0.01])
    assert (mapped["control_r2"] < mapped["r2"]).all()
    assert repr(found).splitlines()[0].endswith(", with a control")
    again = raycv.compare(nets, images(), layers=["2"], control="untrained").alignment(["mean"])
    assert again["control_mean"].tolist() == table["control_mean"].tolist()


def test_recordings_may_be_the_control_in_any_order() -> None:
    rng = np.random.default_rng(0)
    a, b, other = rng.standard_normal((3, 400, 8))
    found = raycv.compare({"a": a, "b": a[:, ::-1]}, control={"b": b, "a": other})
    table = found.alignment(["mean"])
    assert table["mean"].tolist() == pytest.approx([1, 1])
    expected = np.corrcoef(other, b, rowvar=False)[:8, 8:]
    assert table["control_mean"].tolist() == pytest.approx([expected.max(1).mean(), expected.max(0).mean()], abs=1e-5)


def test_every_parameter_of_a_copy_is_drawn_anew() -> None:
    net = torchvision.models.resnet18(num_classes=7)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(3)
    drawn = drawn_anew("resnet", net, 0)
    for name, parameter in drawn.named_parameters():
        assert torch.isfinite(parameter).all()
        assert not (parameter == 3).any(), name
    attention = drawn_anew("attention", nn.MultiheadAttention(8, 2), 0)
    assert isinstance(attention, nn.MultiheadAttention)
    assert not attention.out_proj.bias.any()  # as such a module draws it, and not as its linear map alone would


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inside, self.scale = nn.Linear(12, 4), nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.inside(x) * self.scale
        return found


class Uncopied(nn.Linear):
    def __deepcopy__(self, memo: object) -> None:
        raise TypeError("I am one of a kind")


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Scaled(), "The weights of b cannot be drawn anew: no reset_parameters of its modules draws scale;"),
        (weight_norm(nn.Linear(12, 4)), "no reset_parameters of its modules draws parametrizations.weight.original0;"),
        (Uncopied(12, 4), "Network b cannot be copied, so its weights cannot be drawn anew;"),
        (np.zeros((600, 4)), "b is recorded and has no weights to be drawn anew; give recordings"),
    ],
)
def test_what_cannot_be_drawn_anew_is_refused_before_anything_passes(net: object, message: str) -> None:
    def passed(_net: nn.Module, _batch: Tensor) -> Tensor:
        raise AssertionError("nothing is to pass")

    with pytest.raises(UserError) as found:
        raycv.compare({"a": nn.Linear(12, 4), "b": net}, images(), control="untrained", forward=passed)
    assert message in str(found.value)


@pytest.mark.parametrize(
    ("control", "message"),
    [
        ("random", "control is 'random'; allowed are \"untrained\" and networks or recordings by name."),
        ({"a": network(2)}, "control has a; give one for each of a, b, under the same names."),
        ({}, "control has no networks; give one for each of a, b"),
    ],
)
def test_other_controls_are_refused(control: object, message: str) -> None:
    with pytest.raises(UserError) as found:
        raycv.compare({"a": network(0), "b": network(1)}, images(), control=control)  # type: ignore[arg-type]
    assert message in str(found.value)


def test_data_that_can_be_read_once_is_refused_and_so_is_a_run() -> None:
    nets = {"a": network(0), "b": network(1)}
    with pytest.raises(UserError, match="data is a generator, which can be read once, and control needs it twice"):
        raycv.compare(nets, (batch for batch in images()), control="untrained")
    with pytest.raises(UserError, match="a run draws untrained networks itself"):
        raycv.compare({"a": "resnet18", "b": "resnet18"}, "images", run="nowhere", control="untrained")
