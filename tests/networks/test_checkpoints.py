"""Checkpoints as people have them, and files that are none."""

from __future__ import annotations

import argparse
import datetime
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor

from raycv.errors import UserError
from raycv.networks.catalogue import preprocessing_of
from raycv.networks.checkpoints import import_weights
from raycv.networks.models import build, load_weights
from raycv.networks.spec import NetworkSpec
from tests.support.runs import spec

NET = spec(1, 3)
KEY = "conv2.0.weight"


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return build(NET).state_dict()


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {"state_dict": {f"module.{key}": value for key, value in state.items()}}},
        lambda state: {"checkpoint": {"model_state_dict": {f"_orig_mod.{k}": v for k, v in state.items()}}},
        lambda state: {f"_orig_mod.module.{key}": value for key, value in state.items()},
        lambda state: {f"module._orig_mod.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}, "loops": {"n": 1}},
        lambda state: {"n_averaged": torch.tensor(3), **{f"module.{key}": value for key, value in state.items()}},
        lambda state: {key.replace(".", "._orig_mod.", 1): value for key, value in state.items()},
        lambda state: {"model": state, "args": argparse.Namespace(lr=0.1, data=Path("x")), "top": np.float64(0.7)},
        lambda state: {key: value.double() for key, value in state.items()},
        lambda state: {key: value.to_dense() for key, value in state.items()},
    ],
    ids=[
        *("bare", "wrapped", "DataParallel", "compiled", "both", "both, turned round"),
        *("Lightning", "averaged", "a part compiled", "settings beside it", "double", "dense"),
    ],
)
def test_wrappers_and_prefixes_are_taken_off(tmp_path: Path, weights: dict[str, Tensor], wrapped: Any) -> None:
    torch.save(wrapped(weights), tmp_path / "net.pt")
    net = load_weights(NET, import_weights(str(tmp_path / "net.pt"), NET))
    for key, value in net.state_dict().items():
        assert torch.equal(value, weights[key])


def test_a_prefix_that_is_left_out_is_said_and_what_is_not_loaded_is_named(
    tmp_path: Path, weights: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({f"model.net.{key}": value for key, value in weights.items()}, tmp_path / "net.pt")
    assert import_weights(str(tmp_path / "net.pt"), NET).keys() == weights.keys()
    assert "the names of all weights begin with model.net., which is left out" in capsys.readouterr().out
    torch.save({"model": weights, "when": datetime.timedelta(1)}, tmp_path / "net.pt")
    with pytest.raises(UserError, match=r"holds an object of datetime.timedelta, which is not loaded"):
        import_weights(str(tmp_path / "net.pt"), NET)


def test_several_networks_in_a_checkpoint_are_not_taken_for_one(
    tmp_path: Path, weights: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    averaged = {key: value * 0 for key, value in weights.items()}
    torch.save({"state_dict": weights, "state_dict_ema": averaged, "epoch": 3}, tmp_path / "net.pt")
    assert torch.equal(import_weights(str(tmp_path / "net.pt"), NET)[KEY], weights[KEY])
    said = " ".join(capsys.readouterr().out.split())
    assert "taking the weights under 'state_dict'; it also has some under 'state_dict_ema'" in said
    torch.save({"model": weights, "net": averaged}, tmp_path / "net.pt")
    with pytest.raises(UserError, match="holds 'model' and 'net', and it is not clear which are the weights"):
        import_weights(str(tmp_path / "net.pt"), NET)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda value: value / 0, "holds NaN or infinite numbers"),
        (lambda value: value * torch.nan, "holds NaN or infinite numbers"),
        (lambda value: value.double() * 1e300 + 1e300, "holds NaN or infinite numbers"),
        (lambda value: value.int(), "holds int32, and weights are finite floating-point numbers"),
        (lambda value: value > 0, "holds bool"),
        (lambda value: value.to(torch.complex64), "holds complex64"),
        (lambda value: value.to_sparse(), "is sparse, quantised or without values"),
        (lambda value: value.to("meta"), "is sparse, quantised or without values"),
        (lambda value: value[:-1], "has shape"),
    ],
    ids=["infinite", "NaN", "beyond float32", "int", "bool", "complex", "sparse", "meta", "shape"],
)
def test_weights_that_cannot_be_used(weights: dict[str, Tensor], changed: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"weights of net1 .*{KEY} {said}"):
        load_weights(NET, weights | {KEY: changed(weights[KEY])})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({0: torch.zeros(3)}, "holds no state dict"),
        ({}, "holds no state dict"),
        ([torch.zeros(3)], "holds no state dict"),
        ({"weight": [1.0, 2.0]}, "holds no state dict"),
        ({"a": torch.zeros(1), "module.a": torch.ones(1)}, "holds weights twice, with and without the prefix"),
    ],
    ids=["integer keys", "nothing", "list", "lists of numbers", "twice"],
)
def test_what_is_no_state_dict(tmp_path: Path, content: Any, said: str) -> None:
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(UserError, match=rf"checkpoint .*net\.pt {said}"):
        import_weights(str(tmp_path / "net.pt"), NET)


def test_a_wrapper_that_holds_itself_ends(tmp_path: Path) -> None:
    endless: dict[str, Any] = {}
    endless["model"] = endless
    torch.save(endless, tmp_path / "net.pt")
    with pytest.raises(UserError, match="holds no state dict"):
        import_weights(str(tmp_path / "net.pt"), NET)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "text.safetensors").write_text("text")
    with (tmp_path / "large.pt").open("wb") as file:
        file.truncate(10**12)  # which takes no room on the disk
    for path, said in (
        ("/dev/zero", "is a pipe or device"),
        (tmp_path / "pipe.pt", "is a pipe or device"),
        (tmp_path, "is a folder"),
        (tmp_path / "empty.pt", "is empty"),
        (tmp_path / "large.pt", "has 1,000.0 GB, and net1 .small-alexnet. has [0-9,]+ weights"),
        (tmp_path / "text.safetensors", "is neither safetensors nor a PyTorch state dict"),
    ):
        with pytest.raises(UserError, match=f"checkpoint {path} {said}"):
            import_weights(str(path), NET)


@pytest.mark.parametrize(
    ("model", "layers"),
    [
        ("googlenet", ("conv1", "inception3a")),
        pytest.param("inception_v3", ("Mixed_5b",), marks=pytest.mark.slow),
    ],
)
def test_published_inceptions_have_heads_for_training_alone(
    tmp_path: Path, model: str, layers: tuple[str, ...]
) -> None:
    """As torchvision publishes them: with auxiliary heads, for images that transform_input makes of its usual ones."""
    torch.manual_seed(0)
    published = torchvision.models.get_model(model, aux_logits=True, init_weights=False, num_classes=10).eval()
    safetensors.torch.save_file(published.state_dict(), tmp_path / "net.safetensors")
    described = NetworkSpec(
        name="net1", model=model, classes=10, seed=1, layers=layers, preprocessing=preprocessing_of(model)
    )
    net = load_weights(described, import_weights(str(tmp_path / "net.safetensors"), described))
    images = torch.randint(0, 256, (1, 256, 256, 3), dtype=torch.uint8)
    usual = torchvision.models.get_model_weights(model).DEFAULT.transforms()
    channels = images.permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (usual.mean, usual.std))
    published.transform_input = True
    own = described.preprocessing
    scale = [torch.tensor(values).reshape(3, 1, 1) for values in (own.mean, own.std)]
    with torch.inference_mode():
        expected = published((channels - mean) / std)
        found = net((images.permute(0, 3, 1, 2).float() - scale[0]) / scale[1])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
