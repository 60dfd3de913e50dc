"""Language models in a run: what the pass adds up against the models' own hooks, and a whole run on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from raycv.config import TrainConfig
from raycv.data.texts import Documents
from raycv.errors import UserError
from raycv.networks.models import build
from raycv.networks.recordings import validation_of
from raycv.networks.spec import NetworkSpec
from raycv.run.paths import NETS, Key
from raycv.stages.collect.collector import Collector
from raycv.stages.train.specs import specs_of
from tests.support.language import bert, documents, gpt, write_lines

COUNT = 48


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("language")
    gpt(made / "gpt1", 1)
    gpt(made / "gpt2", 2)
    bert(made / "bert", 3)
    write_lines(made / "texts", documents(COUNT, seed=5, words=(40, 60)))
    return made


def specs(folder: Path, names: Sequence[str], **settings: Any) -> list[NetworkSpec]:
    networks = [{"name": name, "model": f"hf/{folder / name}"} for name in names]
    return specs_of(TrainConfig.model_validate({"networks": networks, "data": str(folder / "texts"), **settings}), 1)


def collected(folder: Path, found: list[NetworkSpec]) -> tuple[Collector, Any]:
    """All documents, in one shard."""
    reader = validation_of(found, str(folder / "texts")).reader
    assert isinstance(reader, Documents)
    numbers = np.arange(len(reader))
    sequences = {spec.tokens: spec.tokens.encode(reader.texts(numbers)) for spec in found if spec.tokens}
    collector = Collector({NETS: tuple(found)}, {spec.name: build(spec, published=True) for spec in found}, CPU)
    return collector, collector.partial(sequences, numbers, collector.pilot(sequences, numbers), len(numbers))


CPU = torch.device("cpu")


def hooked(net: torch.nn.Module, module: str, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """What a module gives (texts, tokens, units), by PyTorch's own hook."""
    kept: list[torch.Tensor] = []
    handle = net.get_submodule(module).register_forward_hook(lambda _module, _given, out: kept.append(out))
    with torch.no_grad():
        net.eval()(**inputs)
    handle.remove()
    return kept[0]


def correlation(samples: np.ndarray) -> np.ndarray:
    return np.corrcoef(samples.astype(np.float64).T)


def of_sums(moments: Any) -> np.ndarray:
    """Correlations of all stacked units, from the moments of a partial."""
    networks = range(len(moments.widths))
    gram = np.block([[moments.products(a, b) for b in networks] for a in networks])
    covariance = gram / moments.count - np.outer(moments.total, moments.total) / moments.count**2
    spread = np.sqrt(np.diag(covariance))
    return covariance / spread[:, None] / spread


def test_with_one_tokenizer_every_token_but_the_first_is_a_sample(folder: Path) -> None:
    found = specs(folder, ["gpt1", "gpt2"], layers=("transformer.h.0.mlp.act", "transformer.h.0"), context=24)
    assert {spec.tokens for spec in found} == {found[0].tokens}
    _, partial = collected(folder, found)
    tokenizer = AutoTokenizer.from_pretrained(folder / "gpt1")
    texts = documents(COUNT, seed=5, words=(40, 60))
    inputs = dict(tokenizer(texts, truncation=True, max_length=24, return_tensors="pt"))
    for layer in ("transformer.h.0.mlp.act", "transformer.h.0"):
        own = [hooked(AutoModelForCausalLM.from_pretrained(folder / name), layer, inputs) for name in ("gpt1", "gpt2")]
        samples = np.hstack([values[:, 1:].flatten(0, 1).numpy() for values in own])
        moments = partial.moments[Key(NETS, layer)]
        assert moments.count == COUNT * 23
        np.testing.assert_allclose(of_sums(moments), correlation(samples), atol=5e-6)


def test_with_different_tokenizers_samples_are_the_same_words(folder: Path) -> None:
    modules = {"gpt1": "transformer.h.0.mlp.act", "bert": "bert.encoder.layer.0.intermediate"}
    found = specs(folder, list(modules), compare=("~".join(modules.values()),), context=60)
    assert [spec.tokens.words for spec in found if spec.tokens] == [29, 29]
    _, partial = collected(folder, found)
    texts = [text for text in documents(COUNT, seed=5, words=(40, 60)) if _suffices(found, text)]
    rows: dict[str, list[np.ndarray]] = {name: [] for name in modules}
    for text in texts:  # one by one, so that nothing is padded
        words = text.split()[:30]
        for name, kind in (("gpt1", AutoModelForCausalLM), ("bert", AutoModelForMaskedLM)):
            tokenizer = AutoTokenizer.from_pretrained(folder / name)
            given = tokenizer(" ".join(words), return_tensors="pt", return_offsets_mapping=True)
            ends = given.pop("offset_mapping")[0, :, 1].numpy()
            whole = np.cumsum([len(word) + 1 for word in words]) - 1
            places = [np.flatnonzero(ends == end)[0] for end in whole[1:]]
            values = hooked(kind.from_pretrained(folder / name), modules[name], dict(given))
            rows[name].append(values[0].numpy()[places])
    samples = np.hstack([np.concatenate(rows[name]) for name in modules])
    (key,) = partial.moments
    assert partial.moments[key].count == len(samples) == 29 * len(texts)
    np.testing.assert_allclose(of_sums(partial.moments[key]), correlation(samples), atol=5e-6)


def _suffices(found: list[NetworkSpec], text: str) -> bool:
    return all(spec.tokens is not None and spec.tokens.suffices([text])[0] for spec in found)


CASES = [
    ({"context": 100}, ["gpt1", "gpt2"], "at most 64 tokens"),
    ({"layers": ("transformer.wte.nothing",)}, ["gpt1", "gpt2"], "no layer"),
]


@pytest.mark.parametrize(("settings", "names", "said"), CASES)
def test_mistakes_are_said_before_anything_runs(folder: Path, settings: Any, names: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        specs(folder, names, **{"layers": ("transformer.h.0",), "context": 24, **settings})
