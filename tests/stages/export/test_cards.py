"""`raycv export --card`: networks read by the libraries they are of, and cards by the Hub's own reader."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import timm.data
import torch
from huggingface_hub import ModelCard
from transformers import ResNetConfig, ResNetForImageClassification

import raycv
from raycv.cli import main
from raycv.data.preprocessing import Preprocessing
from raycv.networks import checkpoints
from raycv.networks.catalogue import tokens_of
from raycv.networks.models import build
from raycv.networks.spec import NetworkSpec
from raycv.run import record, tables
from raycv.run.names import is_ours
from raycv.run.store import RunStore
from tests.support.commands import failing
from tests.support.language import gpt

SEEN = Preprocessing(resize=40, crop=32, fit="short-side", mean=(120, 110, 100), std=(60, 50, 40))
TOP1 = {"own": 0.5, "efficient": 0.25}


def written(store: RunStore, *specs: NetworkSpec, **config: Any) -> None:
    """A run that holds networks with the weights that ``specs`` have from their seeds, or their libraries."""
    record.begin(store)
    for number, spec in enumerate(specs):
        checkpoints.save(store, spec, build(spec, published=spec.model.startswith("hf/")).state_dict(), number=number)
    facts = {"validation_top1": {spec.name: TOP1[spec.name] for spec in specs if spec.name in TOP1}}
    record.finish(store, "train", "0", config, facts)


def spec(name: str, model: str, **more: Any) -> NetworkSpec:
    described = {"classes": 7, "seed": 3, "layers": ("logits",), "preprocessing": SEEN}
    return NetworkSpec(name=name, model=model, **(described | more))


def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the code in a network's card gives, in the card's folder."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    with monkeypatch.context() as there:
        there.chdir(folder)
        exec(code, found)
    return found["net"].eval()


def test_their_own_libraries_read_the_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    more: Any = {"num_labels": 5}
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic", **more)
    ResNetForImageClassification(config).save_pretrained(tmp_path / "resnet")
    (tmp_path / "resnet" / "preprocessor_config.json").write_text('{"image_processor_type": "ViTImageProcessor"}')
    gpt(tmp_path / "gpt", seed=1)
    tokens = tokens_of(f"hf/{tmp_path}/gpt", 16)
    specs = (
        spec("own", "small-alexnet", width=6, layers=("conv1", "fc8")),
        spec("vision", "torchvision/squeezenet1_1"),
        spec("efficient", "timm/test_efficientnet", arguments=(("drop_rate", 0.1),)),
        spec("transformer", f"hf/{tmp_path}/resnet", classes=5, as_built=True),
        spec("language", f"hf/{tmp_path}/gpt", tokens=tokens, as_built=True),
    )
    store = RunStore(str(tmp_path / "run"))
    written(store, *specs, data="hf://datasets/someone/pictures")
    assert main(["export", "--run", store.uri, "--to", str(tmp_path / "to"), "--card"]) == 0
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for one in specs:
        folder = tmp_path / "to" / "hub" / one.name
        ours = build(one, published=one.model.startswith("hf/"))
        theirs = loaded(folder, monkeypatch)
        with torch.no_grad():
            if one.tokens:
                words = torch.arange(20).reshape(2, 10)
                expected, found = ours(words), theirs(words, output_hidden_states=True).hidden_states[-1]
            else:
                expected, found = ours(images), theirs(images)
        torch.testing.assert_close(getattr(found, "logits", found), expected)
        card = ModelCard.load(folder / "README.md")
        assert card.data.license == "unknown"
        assert card.data.datasets == ["someone/pictures"]
        assert "Not known" in card.text
        if one.name in TOP1:
            (result,) = card.data.eval_results
            assert (card.data.model_name, result.metric_type, result.metric_value) == (
                one.name,
                "accuracy",
                TOP1[one.name],
            )
        assert all(is_ours(f"hub/{one.name}/{path.name}") for path in folder.iterdir())
    check_beside(tmp_path / "to", monkeypatch)


def check_beside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which library reads what, and what lies beside the weights."""
    cards = {one.name: ModelCard.load(one / "README.md") for one in (folder / "hub").iterdir()}
    assert {name: card.data.library_name for name, card in cards.items()} == {
        "own": None,
        "vision": None,
        "efficient": "timm",
        "transformer": "transformers",
        "language": "transformers",
    }
    assert (folder / "hub/transformer/preprocessor_config.json").exists()
    assert (folder / "hub/language/tokenizer.json").exists()
    library: Any = timm
    seen = library.data.resolve_data_config(model=loaded(folder / "hub" / "efficient", monkeypatch))
    assert (seen["input_size"], seen["crop_pct"], seen["interpolation"]) == ((3, 32, 32), 0.8, "bilinear")
    np.testing.assert_allclose([*seen["mean"], *seen["std"]], np.array([*SEEN.mean, *SEEN.std]) / 255)
    row = "| own | raycv's small-alexnet, 6 units in conv1 | 3 | 50.0% |"
    assert row in ModelCard.load(folder / "README.md").text


def test_the_card_of_a_run_says_what_is_shared(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "run"))
    written(
        store,
        *(spec(name, "small-alexnet", width=6, layers=("conv1", "fc8")) for name in ("own", "other")),
        data="cifar10-subset",
    )
    quantities = {"layer": "conv1", "similarity": "correlation", "method": "semi", "quantity": ["mean", "excess"]}
    numbers = {"value": [0.5, 0.25], "networks_low": [None, 0.125], "networks_high": [None, 0.375], "untrained": None}
    tables.write(store, "alignment_by_layer", pd.DataFrame(quantities | numbers))
    record.finish(store, "align", "1", {}, {})
    assert main(["export", "--run", store.uri, "--to", str(tmp_path / "to"), "--card"]) == 0
    card = ModelCard.load(tmp_path / "to" / "README.md")
    assert "| conv1 | 0.500 | 0.250 | 0.125 to 0.375 |" in card.text
    assert "raycv-images" in card.text
    assert raycv.open_run(str(tmp_path / "to")).tables == ["alignment_by_layer"]


def test_a_folder_that_is_no_longer_there_is_named_before_anything_is_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpt(tmp_path / "gpt", seed=1)
    one = spec("a", f"hf/{tmp_path}/gpt", tokens=tokens_of(f"hf/{tmp_path}/gpt", 16), as_built=True)
    store = RunStore(str(tmp_path / "run"))
    written(store, one, one.model_copy(update={"name": "b"}))
    (tmp_path / "gpt").rename(tmp_path / "moved")
    capsys.readouterr()  # transformers' progress while the folder was made
    said = failing(capsys, "export", "--run", store.uri, "--to", str(tmp_path / "to"), "--card")
    assert f"{tmp_path}/gpt holds no Hugging Face model" in said
    assert not (tmp_path / "to").exists()
