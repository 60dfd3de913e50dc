"""Which layers of which networks are compared, and what is refused; no network is trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from raycv.config import TrainConfig
from raycv.errors import UserError
from raycv.networks import trust
from raycv.networks.sizes import sizes_of
from raycv.networks.spec import ALEXNET_LAYERS, NetworkSpec, Place
from raycv.settings import Given, load
from raycv.stages.train.stage import asked_for

TOKENS, CONVOLUTIONS = "tests.support.nets:tokens", "tests.support.nets:convolutions"


@pytest.fixture(autouse=True)
def the_users_own_functions() -> None:
    trust.allow([TOKENS, CONVOLUTIONS])


def specs(*networks: Any, **settings: Any) -> list[NetworkSpec]:
    return asked_for(TrainConfig(networks=networks, **settings)).specs


def modules(spec: NetworkSpec) -> list[str]:
    return [spec.place(layer).module for layer in spec.layers]


def test_layers_of_the_same_name() -> None:
    a, b = specs(f"a={CONVOLUTIONS}", CONVOLUTIONS, layers=("?",))
    assert (a.name, b.name) == ("a", "net2")
    assert a.layers == b.layers == ("0", "1", "2", "3", "4", "logits")
    assert a.places == b.places == ()
    assert a.across == ()
    assert (a.as_built, a.classes) == (True, 10)


def test_networks_of_different_kinds_are_compared_where_a_list_says() -> None:
    compare = ("blocks.0~0~0", "blocks.1:class~3~3")
    a, b, c = specs(
        TOKENS, CONVOLUTIONS, {"model": CONVOLUTIONS, "arguments": {"seed": 4}}, compare=compare, positions="resample"
    )
    assert a.layers == b.layers == c.layers == ("blocks.0~0", "blocks.1-class~3", "logits")
    assert modules(a) == ["blocks.0", "blocks.1:class", "logits"]
    assert modules(b) == modules(c) == ["0", "3", "logits"]
    assert [a.place(layer).grid for layer in a.layers] == [(4, 4), None, None]
    assert c.arguments == (("seed", 4),)


def test_one_layer_for_each_architecture_is_enough() -> None:
    nets = specs(TOKENS, CONVOLUTIONS, CONVOLUTIONS, TOKENS, compare=("blocks.0~1",), positions="mean")
    assert [modules(spec)[0] for spec in nets] == ["blocks.0", "1", "1", "blocks.0"]
    assert all(spec.place("blocks.0~1") == Place(module=modules(spec)[0], grid=()) for spec in nets)


def test_all_takes_every_layer_and_compares_those_at_the_same_depth() -> None:
    a, b = specs(TOKENS, CONVOLUTIONS, layers=("embed", "blocks.?", "0", "1"), compare=("all",), positions="mean")
    assert a.across == ("embed", "blocks.0", "blocks.1")
    assert b.across == ("0", "1")
    assert a.layers == ("embed~0", "blocks.1~1", "logits")
    members = a.members()
    assert [member.name for member in members] == ["net1/embed", "net1/blocks.0", "net1/blocks.1"]
    assert {member.network for member in members} == {"net1"}


def test_trained_networks_are_as_they_were() -> None:
    found = asked_for(TrainConfig(seeds=(1, 2))).specs
    assert all(spec.layers == ALEXNET_LAYERS and spec.places == () for spec in found)


def test_other_layers_are_the_same_training() -> None:
    names = {
        asked_for(TrainConfig(seeds=(1, 2), **more)).result_of
        for more in ({}, {"layers": ("conv1",)}, {"compare": ("all",)}, {"positions": "mean"})
    }
    assert len(names) == 1


def test_a_recording_beside_networks_is_of_the_validation_images(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, deep=np.ones((2000, 7), np.float16))
    recorded, net = specs(f"r={path}", CONVOLUTIONS, compare=("deep~3",))
    assert recorded.is_recorded
    assert recorded.layers == net.layers == ("deep~3",)
    np.savez(path, deep=np.ones((1999, 7), np.float16))
    with pytest.raises(UserError, match=r"the validation images has 2,000 samples and r 1,999"):
        specs(f"r={path}", CONVOLUTIONS, compare=("deep~3",))


def test_a_folder_of_parquet_is_a_recording(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for part in range(2):
            pd.DataFrame(np.ones((3, 2)), columns=["u", "v"]).to_parquet(tmp_path / name / f"{part}.parquet")
    a, b = specs(f"a={tmp_path / 'a'}", f"b=file://{tmp_path / 'b'}/")
    assert (a.model, b.model) == (f"{tmp_path}/a/", f"{tmp_path}/b/")
    assert a.is_recorded
    assert a.names_of_units("activations") == ("u", "v")


def test_names_of_layers_that_a_recording_really_has(tmp_path: Path) -> None:
    for name in ("a", "b"):
        maps = np.ones((6, 3, 17))
        layers: dict[str, Any] = {"layer[0]": maps, "x:class": maps, "x": maps[:, :2]}
        np.savez(tmp_path / f"{name}.npz", **layers)
    files = [str(tmp_path / f"{name}.npz") for name in ("a", "b")]
    a, b = specs(*files, layers=("layer[0]", "x:class", "x:patches"))
    assert a.layers == b.layers == ("layer[0]", "x:class", "x:patches")
    assert sizes_of(a).layers == {"layer[0]": (3, 17), "x:class": (3, 17), "x:patches": (2, 16)}


def test_the_axis_of_units_may_be_said() -> None:
    with pytest.raises(UserError, match="which is no layer of a network with that axis"):
        specs(TOKENS, TOKENS, layers=("blocks.0",), unit_axis=("blocks.9=1",))
    a, _ = specs(TOKENS, TOKENS, layers=("blocks.0",), unit_axis=("blocks.0=1",), positions="mean")
    assert sizes_of(a).layers["blocks.0"] == (17, 1)  # tokens are taken for units, as was said
    assert a.without_layers() == specs(TOKENS, TOKENS, layers=("blocks.0",))[0].without_layers()
    with pytest.raises(ValidationError, match="unit_axis"):
        specs(TOKENS, TOKENS, layers=("blocks.0",), unit_axis=("blocks.0",))


@pytest.mark.parametrize(
    ("networks", "settings", "sentence"),
    [
        ((TOKENS, CONVOLUTIONS), {"compare": ("blocks.0~1",)}, "prepare images differently.* --positions resample"),
        (
            (TOKENS, CONVOLUTIONS),
            {"layers": ("blocks.?", "0")},
            r"no layer of the same name: net1 has blocks.0, .*--compare",
        ),
        ((TOKENS, CONVOLUTIONS), {}, "name the layers to compare, as module paths, with --layers; it has"),
        ((TOKENS, CONVOLUTIONS), {"layers": ("blcks.0", "0")}, "has no layer 'blcks.0'"),
        ((TOKENS, CONVOLUTIONS), {"compare": ("blocks.0~9",)}, "net2 .* has no layer '9'; the nearest are"),
        ((TOKENS, CONVOLUTIONS), {"compare": ("a~b~c",)}, "names 3 layers for 2 networks of 2 architectures"),
        (
            (TOKENS, CONVOLUTIONS),
            {"compare": ("blocks.0~3",), "positions": "resample"},
            "Layer 3 of net2 has no grid of positions .* --positions mean",
        ),
        ((TOKENS,), {"layers": ("embed",)}, "needs two networks and --networks names one"),
        ((f"a={TOKENS}", f"a={TOKENS}"), {"layers": ("embed",)}, "Two networks have the name a"),
        (("small-alexnet", "small-alexnet"), {}, "There are no published weights of small-alexnet"),
        (("nowhere.npy", TOKENS), {"layers": ("embed",)}, "There is no file .*nowhere.npy"),
    ],
)
def test_what_cannot_be_compared(networks: tuple[str, ...], settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        specs(*networks, **settings)


def test_the_settings_file_says_more_of_each_network(tmp_path: Path) -> None:
    path = tmp_path / "nets.yaml"
    path.write_text(
        f"""
networks:
  - {{name: one, model: "{TOKENS}", arguments: {{seed: 3, width: 12}}, layers: [embed]}}
  - model: "{TOKENS}"
    weights: untrained
    layers: embed
"""
    )
    with pytest.raises(
        UserError, match=r"networks in the settings file .*: layers: it should be a valid tuple, not 'embed'"
    ):
        load(TrainConfig, {"config": Given("--config", str(path))})
    path.write_text(path.read_text().replace("layers: embed\n", "layers: [embed]\n"))
    config = load(TrainConfig, {"config": Given("--config", str(path))})
    one, two = asked_for(config).specs
    assert one.arguments == (("seed", 3), ("width", 12))
    assert one.as_built
    assert not two.as_built
    again = load(TrainConfig, {}, config.model_dump(mode="json"))
    assert again.networks == config.networks


def test_the_networks_in_the_manual_are_understood(tmp_path: Path) -> None:
    page = Path(__file__).parents[3] / "docs" / "networks.md"
    (block,) = [b for b in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL) if b.startswith("networks:")]
    (tmp_path / "nets.yaml").write_text(block)
    found = load(TrainConfig, {"config": Given("--config", str(tmp_path / "nets.yaml"))}).networks
    assert [network.name for network in found] == ["small", "other", "brain"]
    assert found[0].arguments == {"width": 64}
    assert found[1].preprocessing is not None
    assert found[2].is_recorded


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"networks": "a b=resnet18"}, "should match pattern"),
        ({"networks": "resnet18,resnet34", "seeds": "1,2"}, "networks are given whole, and seeds belongs to"),
        ({"compare": "all,conv1"}, "it is same, all or a list of layers"),
        ({"compare": "conv1~conv2", "layers": "conv1"}, "leave one of the two out"),
        ({"positions": "some"}, "should be 'same', 'resample' or 'mean'"),
        ({"networks": "resnet18,resnet34", "keep_epochs": "1"}, "for networks that are trained here"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, str], sentence: str) -> None:
    given = {name: Given(f"--{name}", value) for name, value in settings.items()}
    with pytest.raises(UserError, match=sentence):
        load(TrainConfig, given)
