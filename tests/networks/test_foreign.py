"""A user's own functions and networks, which may do anything: they work, or end in one sentence."""

from __future__ import annotations

import copy
import os
import signal
import threading
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

import tests.support.odd_nets as odd_nets
from raycv.cli import main
from raycv.errors import WHERE, UserError
from raycv.networks import trust
from raycv.networks.catalogue import preprocessing_of
from raycv.networks.deconvnet import Deconvnet
from raycv.networks.foreign import as_it_was, users_code
from raycv.networks.layers import layers_of, outputs_of
from raycv.networks.models import build, load_weights
from raycv.networks.sizes import sizes_of
from raycv.networks.spec import NetworkSpec
from raycv.networks.taps import Taps
from tests.support.commands import failing
from tests.support.nets import WAY

HERE = "tests.support.odd_nets"
SAYS = {
    "raises": "ValueError: two lines",
    "exits": r"it ends the process, sys.exit\(\)",
    "exits_with_words": r"it ends the process, sys.exit\('enough'\)",
    "ends": r"it ends the process, os._exit\(0\)",
    "aborts": r"it ends the process, os.abort\(\)",
    "interrupts": "KeyboardInterrupt",
    "raises_its_own": "OfItsOwn: no module",
    "recurses": "RecursionError: maximum recursion depth exceeded",
}

KINDS = (
    "looks_at_values",
    "looks_with_numpy",
    "is_lazy",
    "half",
    "double",
    "counts",
    "with_a_forward_of_its_own",
)


def spec(function: str, layers: tuple[str, ...] = ("first", "logits"), **arguments: str) -> NetworkSpec:
    model = f"{HERE}:{function}"
    trust.allow([model])
    given = tuple(arguments.items())
    return NetworkSpec(
        name="net1", model=model, classes=10, seed=1, layers=layers, preprocessing=WAY, arguments=given, as_built=True
    )


def test_every_end_is_tried() -> None:
    assert SAYS.keys() == {stop.__name__ for stop in odd_nets.STOPS}


@pytest.mark.parametrize("how", SAYS)
def test_a_function_that_ends_is_one_sentence(how: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """And exit code 2; the user's own line stands below it where a user wants to know all."""
    given = ["--networks", f"{HERE}:{how},{HERE}:half", "--run", str(tmp_path / "run"), "--layers", "first"]
    said = failing(capsys, "train", *given)
    with pytest.raises(UserError, match=f"odd_nets:{how} failed: {SAYS[how]}"):
        preprocessing_of(f"{HERE}:{how}")
    assert f"{HERE}:{how} failed: " in said
    assert main(["train", *given, "--verbose"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f'  File "{odd_nets.__file__}", line ')
    assert f", in {how}: " in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("how", SAYS)
def test_a_forward_that_ends_is_one_sentence(how: str) -> None:
    sentence = rf"^net1 \(.*:stopping\) fails on images of 32 x 32 pixels: {SAYS[how]}.*\.{WHERE}"
    with pytest.raises(UserError, match=sentence):
        layers_of(spec("stopping", name=how))
    with pytest.raises(UserError, match=sentence):
        build(spec("stopping", name=how))(torch.zeros(2, 3, 32, 32))


def test_ctrl_c_is_the_users() -> None:
    """Also inside a user's code: it is told from an exception of the same kind by its signal."""

    def pressed() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(60)

    with pytest.raises(KeyboardInterrupt), users_code("it"):
        pressed()
    with pytest.raises(UserError, match="it: KeyboardInterrupt"), users_code("it"):
        raise KeyboardInterrupt


def test_a_process_that_a_users_code_forks_may_end() -> None:
    with users_code("it"):
        child = os.fork()
        if child == 0:
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("a_class", "returned type; it must return a PyTorch module"),
        ("nothing", "returned NoneType; it must return a PyTorch module"),
        ("of_no_use", "failed: Preprocessing.resize: Input should be less than or equal to 4096"),
        ("a_script", "is a TorchScript module, whose layers cannot be read"),
    ],
)
def test_what_is_no_network(function: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        build(spec(function))


def test_what_a_function_prints_is_no_answer_and_where_it_goes_does_not_matter(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = os.getcwd()
    build(spec("prints_and_goes_away"))
    assert os.getcwd() == before
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "printed by a user's function\n")


@pytest.mark.parametrize("function", KINDS)
def test_networks_of_all_kinds_are_measured_and_run(function: str) -> None:
    one = spec(function)
    assert sizes_of(one).layers == {"first": (4, 100), "logits": (10, 1)}
    assert layers_of(one)["first"][:2] == (4, 100)
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = Taps(build(one), one.layers, one.output)(images)
    plain = getattr(odd_nets, function)()[0].eval()
    if function == "is_lazy":
        plain(images)
    kind = torch.float32 if function == "is_lazy" else next(plain.parameters()).dtype
    expected = plain.first(images.to(kind) if function != "looks_at_values" or images.sum() > 0 else -images)
    torch.testing.assert_close(found["first"], expected, atol=1e-3, rtol=1e-3, check_stride=False)
    assert found["logits"].dtype == kind
    load_weights(one, build(one).state_dict())


def test_a_network_that_gives_a_dict_has_layers_and_no_logits() -> None:
    one = spec("gives_a_dict", layers=("first",))
    assert outputs_of(one) is None
    assert sizes_of(one).layers == {"first": (4, 100)}
    assert "logits" not in layers_of(one)


def test_what_a_network_gives_does_not_depend_on_what_it_was_given_before() -> None:
    net, other = build(spec("counts")), build(spec("counts"))
    images = torch.randn(6, 3, 32, 32)
    with torch.inference_mode():
        whole = net(images)
        torch.testing.assert_close(torch.cat([other(images[:4]), other(images[4:])]), whole, rtol=0, atol=1e-5)
    assert net.calls == net.get_buffer("seen") == len(net.collected) == 0  # type: ignore[arg-type]
    assert not hasattr(net, "cached")


def test_what_modules_collect_together_stays_one_object() -> None:
    log = OrderedDict(first=[1])

    class Logs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.log = log

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.log["first"].append(2)
            self.log["more"] = [3]
            return images

    parts = Logs(), Logs()
    net = nn.Sequential(*parts)
    with as_it_was(net, "it"):
        net(torch.zeros(1))
        assert log == {"first": [1, 2, 2], "more": [3]}
    assert all(part.log is log for part in parts)
    assert log == {"first": [1]}


def test_a_network_in_training_keeps_its_state() -> None:
    net = build(spec("counts")).train()
    net(torch.randn(2, 3, 32, 32))
    assert net.calls == 1


def test_a_network_that_changes_its_own_weights_is_refused() -> None:
    with pytest.raises(UserError, match=r"changes its own weights while it is used \(first.0.weight\)"):
        build(spec("changes_itself"))(torch.zeros(1, 3, 32, 32))


def test_all_is_put_back_also_where_it_fails() -> None:
    norm = nn.BatchNorm2d(3)
    before = copy.deepcopy(norm.state_dict())

    def used() -> None:
        norm(torch.randn(4, 3, 8, 8))
        assert norm.num_batches_tracked == 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), as_it_was(norm, "it"):
        used()
    torch.testing.assert_close(norm.state_dict(), before)


def test_pictures_of_a_network_without_gradients_are_empty() -> None:
    units, place = torch.tensor([1, 2]), torch.zeros(2, dtype=torch.int64)
    drawn = Deconvnet(build(spec("without_gradients")), "logits")
    assert not drawn("first", torch.randn(2, 3, 32, 32), units, place, place).any()


def test_networks_can_be_copied_and_copies_are_of_their_own() -> None:
    net = build(spec("half"))
    copied = copy.deepcopy(net)
    nn.init.zeros_(next(copied.parameters()))
    assert net(torch.ones(1, 3, 32, 32)).ne(copied(torch.ones(1, 3, 32, 32))).any()
