"""What a run may name is a closed list: what would make a library read, fetch or run more than a model is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from raycv.data.preprocessing import Preprocessing
from raycv.errors import UserError
from raycv.networks import trust
from raycv.networks.catalogue import check_model
from raycv.networks.models import build
from raycv.networks.spec import Argument, NetworkSpec
from tests.support.nets import WAY

SPEC: dict[str, Any] = {
    "name": "net1",
    "model": "timm/resnet18",
    "classes": 10,
    "seed": 1,
    "layers": ["conv1"],
    "preprocessing": WAY.model_dump(mode="json"),
}


def told(**changes: Any) -> NetworkSpec:
    """A description as a run's JSON would give it."""
    return NetworkSpec.model_validate_json(json.dumps(SPEC | changes), strict=True)


def test_what_raycv_writes_is_read_again() -> None:
    for changes in ({}, {"arguments": [["img_size", 64], ["global_pool", "max"]]}, {"name": "net1/layer1.0@2"}):
        spec = told(**changes)
        assert told(**spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "timm/hf-hub:someone/model"},
        {"model": "timm/hf_hub:someone/model"},
        {"model": "timm/local-dir:/tmp/model"},
        {"model": "timm/../../model"},
        {"model": "torchvision/../resnet18"},
        {"model": "os.system"},
        {"model": "os:system:again"},
        {"model": "my nets:build"},
        {"model": "..:build"},
        {"model": ""},
        {"model": "hf/\n"},
        {"name": "../net1"},
        {"name": "net1\n"},
        {"layers": ["../conv1"]},
        {"layers": ["a/../../conv1"]},
        {"layers": ["conv1", 3]},
        {"classes": "10"},
        {"classes": True},
        {"classes": 2**40},
        {"seed": 1.0},
        {"width": 6},
        {"more": 1},
        {"trusted": True},
        {"allowed": True},
        {"arguments": [["a b", 1]]},
        {"arguments": [["a", [1]]]},
        {"arguments": [["a", 1], ["a", 2]]},
        {"arguments": [["a", float("nan")]]},
        {"places": [{"module": "conv1"}, {"module": "conv2"}]},
        {"places": [{"module": "conv1", "call": "os:system"}]},
        {"preprocessing": {**SPEC["preprocessing"], "resize": 10**6}},
        {"preprocessing": {**SPEC["preprocessing"], "more": 1}},
    ],
    ids=str,
)
def test_descriptions_of_no_network(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        told(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"std": (1.0, 0.0, 1.0)},
        {"std": (1.0, float("nan"), 1.0)},
        {"std": (-1.0, 1.0, 1.0)},
        {"std": (1e-300, 1.0, 1.0)},
        {"mean": (0.0, float("inf"), 0.0)},
        {"mean": (0.0, float("nan"), 0.0)},
        {"mean": (1e300, 0.0, 0.0)},
        {"resize": 10**6},
        {"resize": 0},
        {"crop": 33},
        {"pad": 10**6},
    ],
    ids=str,
)
def test_impossible_preprocessing(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Preprocessing.model_validate(WAY.model_dump() | changes)


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        ("timm/hf-hub:someone/model", {}),
        ("timm/local-dir:folder", {}),
        ("timm/resnet18", {"checkpoint_path": "model.pt"}),
        ("timm/resnet18", {"pretrained": True}),
        ("timm/resnet18", {"pretrained_cfg": "a"}),
        ("timm/resnet18", {"pretrained_cfg_overlay": "a"}),
        ("timm/resnet18", {"cache_dir": "folder"}),
        ("timm/resnet18", {"global_pool": "a/b"}),
        ("timm/resnet18", {"global_pool": "a:b"}),
        ("torchvision/fcn_resnet50", {}),
        ("torchvision/quantized_resnet18", {}),
        ("torchvision/resnet18", {"weights": "DEFAULT"}),
        ("torchvision/resnet18", {"pretrained": True}),
        ("torchvision/resnet18", {"norm_layer": "os:system"}),
        ("small-alexnet", {"width": 3}),
        ("small-alexnet:build", {}),
    ],
)
def test_names_and_arguments_that_do_more_than_shape_a_model(model: str, arguments: dict[str, Argument]) -> None:
    with pytest.raises(UserError, match="There is no|allowed are those that shape a model|takes no arguments"):
        check_model(model, arguments)


def test_arguments_that_a_library_refuses_are_one_sentence() -> None:
    for model in ("torchvision/resnet18", "timm/resnet18"):
        with pytest.raises(UserError, match=r"cannot be built: TypeError: .*nonsense"):
            build(told(model=model, arguments=[["nonsense", 3]]))


CONFIG = {
    "model_type": "vit",
    "architectures": ["ViTForImageClassification"],
    "hidden_size": 16,
    "num_hidden_layers": 1,
}


@pytest.mark.parametrize(
    "changes",
    [
        {"auto_map": {"AutoConfig": "marker.Config"}},
        {"auto_map": {"AutoModelForImageClassification": "someone/model--marker.Model"}},
        {"trust_remote_code": True},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        {"attn_implementation": "someone/kernel"},
        {"_attn_implementation": "someone/kernel:function"},
        {"backbone": "someone/model"},
        {"use_timm_backbone": True},
        {"below": {"deeper": [{"auto_map": {"AutoConfig": "marker.Config"}}]}},
        {"model_type": "timm_wrapper", "architectures": ["TimmWrapperForImageClassification"]},
        {"model_type": "whisper", "architectures": ["WhisperModel"], "is_encoder_decoder": True},
        {"model_type": "marker", "architectures": ["Marker"]},
        {"architectures": ["Marker"]},
        {"model_type": ["vit"]},
        {"architectures": [["vit"]]},
    ],
    ids=str,
)
def test_folders_that_ask_for_more_than_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    made = tmp_path / "marked"
    (tmp_path / "marker.py").write_text(f"open({str(made)!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | changes))
    for use in (check_model, lambda model: build(told(model=model))):
        with pytest.raises(UserError, match="asks for more than a model|no model of images"):
            use(f"hf/{tmp_path}")
    assert not made.exists()


def test_a_folder_with_an_adapter(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    check_model(f"hf/{tmp_path}")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "someone/model"}))
    with pytest.raises(UserError, match="asks for more than a model of transformers' own: adapter_config.json"):
        check_model(f"hf/{tmp_path}")


@pytest.mark.parametrize("content", ["", "[]", "null", '"vit"', "{" * 100_000, '{"model_type": NaN}'])
def test_a_configuration_that_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match="cannot be read|no model of images"):
        check_model(f"hf/{tmp_path}")


def test_a_function_is_looked_up_for_nobody_who_has_not_allowed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_allowed", set())
    with pytest.raises(UserError, match="asks for antigravity:fly, a function"):
        build(told(model="antigravity:fly"))
