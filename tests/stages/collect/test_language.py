"""Language models in a run: what the pass adds up against the models' own hooks, and a whole run on a cluster."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

import raycv
from raycv.cli import main
from raycv.config import TrainConfig
from raycv.data.texts import Documents
from raycv.data.tokenizing import shown
from raycv.errors import UserError
from raycv.networks.models import build, untrained
from raycv.networks.nonlinearity import NonLinearity
from raycv.networks.recordings import validation_of
from raycv.networks.spec import NetworkSpec
from raycv.run.paths import ACROSS, NETS, NULL, Key
from raycv.stages.collect.collector import Collector
from raycv.stages.collect.planned import groups_of
from raycv.stages.train.specs import specs_of
from raycv.stages.train.stage import asked_for
from tests.support.language import LONGEST, bert, byte_pairs, documents, gpt, save, write_lines

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
    sequences = {spec.tokens: spec.tokens.encode(reader.documents(numbers)) for spec in found if spec.tokens}
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
    return np.asarray(np.corrcoef(samples.astype(np.float64).T))


def of_sums(moments: Any) -> np.ndarray:
    """Correlations of all stacked units, from the moments of a partial."""
    networks = range(len(moments.widths))
    gram = np.block([[moments.products(a, b) for b in networks] for a in networks])
    covariance = gram / moments.count - np.outer(moments.total, moments.total) / moments.count**2
    spread = np.sqrt(np.diag(covariance))
    return np.asarray(covariance / spread[:, None] / spread)


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
    by = [one for (key, _), one in partial.nonlinearities.items() if key.layer == "transformer.h.0.mlp.act"]
    assert by == [NonLinearity("GELU", ("tanh",))] * 2
    assert len(partial.nonlinearities) == 2


SMALL: dict[str, Any] = {"vocab_size": 300, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16}
T5: dict[str, Any] = {"vocab_size": 300, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
MLP: dict[str, Any] = {"intermediate_size": 32, "max_position_embeddings": LONGEST + 2}
KINDS = [
    ("LlamaForCausalLM", {**SMALL, **MLP}, "model.layers.0.mlp.act_fn", "SiLU"),
    ("RobertaForMaskedLM", {**SMALL, **MLP}, "roberta.encoder.layer.0.intermediate", "GELU"),
    ("BertModel", {**SMALL, **MLP}, "encoder.layer.0.output", ""),
    ("T5EncoderModel", T5, "encoder.block.0.layer.1.DenseReluDense.act", "ReLU"),
    ("MambaForCausalLM", {**SMALL, "state_size": 4}, "backbone.layers.0", ""),
]


@pytest.mark.parametrize(("kind", "settings", "layer", "by"), KINDS, ids=[kind for kind, *_ in KINDS])
def test_other_kinds_of_models_are_read(kind: str, settings: Any, layer: str, by: str, tmp_path: Path) -> None:
    made = getattr(transformers, kind)
    for name in ("a", "b"):
        torch.manual_seed(ord(name))
        save(tmp_path / name, made(made.config_class(**settings)), byte_pairs(300))
    write_lines(tmp_path / "texts", documents(COUNT, seed=5, words=(40, 60)))
    found = specs(tmp_path, ["a", "b"], layers=(layer,), context=24)
    _, partial = collected(tmp_path, found)
    assert [one.name for one in partial.nonlinearities.values()] == [by] * (2 if by else 0)
    texts = documents(COUNT, seed=5, words=(40, 60))
    numbers = byte_pairs(300)(texts, truncation=True, max_length=24, return_tensors="pt")["input_ids"]
    own = [hooked(made.from_pretrained(tmp_path / name), layer, {"input_ids": numbers}) for name in ("a", "b")]
    samples = np.hstack([values[:, 1:].flatten(0, 1).numpy() for values in own])
    np.testing.assert_allclose(of_sums(partial.moments[Key(NETS, layer)]), correlation(samples), atol=1e-5)


def test_an_encoder_is_read_from_a_model_that_also_has_a_decoder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        torch.manual_seed(ord(name))
        save(tmp_path / name, transformers.T5ForConditionalGeneration(transformers.T5Config(**T5)), byte_pairs(300))
    layer = "encoder.block.0.layer.1.DenseReluDense.act"
    found = specs(tmp_path, ["a", "b"], layers=(layer,), context=24)
    own = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "a").encoder
    tokens = torch.arange(48).reshape(2, 24)
    with torch.no_grad():
        np.testing.assert_allclose(build(found[0], published=True)(tokens), own(tokens).last_hidden_state, atol=1e-6)


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


def ids_of_texts(folder: Path, name: str) -> Path:
    """A folder of the token ids of the same documents, and of nothing else."""
    tokenizer = AutoTokenizer.from_pretrained(folder / name)
    made = folder / f"ids-{name}"
    made.mkdir(exist_ok=True)
    rows = [{"input_ids": tokenizer(text, verbose=False)["input_ids"]} for text in documents(COUNT, 5, (40, 60))]
    (made / "ids.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


@pytest.mark.parametrize("has_tokenizer", [True, False])
def test_token_ids_give_what_their_texts_give(folder: Path, tmp_path: Path, has_tokenizer: bool) -> None:
    layer, data = ("transformer.h.0.mlp.act",), ids_of_texts(folder, "gpt1")
    for name in ("gpt1", "gpt2"):
        shutil.copytree(folder / name, tmp_path / name)
        if not has_tokenizer:
            for path in (tmp_path / name).glob("token*"):
                path.unlink()
    asked = asked_for(_config(tmp_path, ["gpt1", "gpt2"], layers=layer, context=24, data=str(data)))
    assert isinstance(asked.validation.reader, Documents)
    assert asked.specs[0].tokens is not None
    sequences = asked.specs[0].tokens.encode(asked.validation.reader.documents(range(COUNT)))
    of_texts = specs(folder, ["gpt1", "gpt2"], layers=layer, context=24)
    assert of_texts[0].tokens is not None
    expected = of_texts[0].tokens.encode(documents(COUNT, 5, (40, 60)))
    np.testing.assert_array_equal(sequences, expected)
    text = shown(asked.specs[0].tokens, sequences[0, 0], 5, 2)
    if has_tokenizer:
        assert text == shown(of_texts[0].tokens, expected[0, 0], 5, 2)
    else:
        assert " ".join(text).split() == [str(n) for n in sequences[0, 0, 3:8]]


def _config(folder: Path, names: Sequence[str], **settings: Any) -> TrainConfig:
    networks = [{"name": name, "model": f"hf/{folder / name}"} for name in names]
    return TrainConfig.model_validate({"networks": networks, **settings})


def test_token_ids_that_a_network_does_not_have_are_refused_by_its_name(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpt(tmp_path / "small", 4, vocabulary=400)
    common = ["--context", "24", "--layers", "transformer.h.0", "--run", str(tmp_path / "run")]
    data = ["--data", str(ids_of_texts(folder, "gpt1"))]
    networks = f"one=hf/{folder}/gpt1,small=hf/{tmp_path}/small"
    assert main(["train", "--networks", networks, *common, *data]) == 2
    assert "the tokenizers of one and small differ" in capsys.readouterr().err
    for path in (tmp_path / "small").glob("token*"):
        path.unlink()
    assert main(["train", "--networks", networks, *common, *data]) == 2
    assert "and small has 400 embeddings, for ids from 0 to 399" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--networks", "a=hf/{0}/gpt1,b=torchvision/resnet18"], "gpt1 reads texts and torchvision/resnet18 does not"),
        (["--model", "hf/{0}/gpt1"], "of which raycv trains its own small-gpt alone"),
        (
            ["--networks", "a=torchvision/resnet18,b=torchvision/resnet34", "--context", "9"],
            "for language",
        ),
        (["--networks", "a=hf/{0}/gpt1,b=hf/{0}/gpt2", "--context", "24", "--layers", "wpe"], "has no layer 'wpe'"),
        (
            ["--networks", "a=hf/{0}/gpt1,b=hf/{0}/gpt2", "--context", "24", "--layers", "transformer.wpe"],
            "none of its axes",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    folder: Path, tmp_path: Path, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [flag.format(folder) for flag in flags]
    assert main(["train", "--data", str(folder / "texts"), "--run", str(tmp_path / "run"), *given]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


CASES = [
    ({"context": 100}, ["gpt1", "gpt2"], "at most 64 tokens"),
    ({"layers": ("transformer.wte.nothing",)}, ["gpt1", "gpt2"], "no layer"),
]


@pytest.mark.parametrize(("settings", "names", "said"), CASES)
def test_mistakes_are_said_before_anything_runs(folder: Path, settings: Any, names: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        specs(folder, names, **{"layers": ("transformer.h.0",), "context": 24, **settings})


def permuted(folder: Path, source: str, name: str) -> np.ndarray:
    """Store a copy of a model whose neurons stand in another order; return which of the source's each is."""
    net: Any = AutoModelForCausalLM.from_pretrained(folder / source)
    mlp, order = net.transformer.h[0].mlp, torch.randperm(64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mlp.c_fc.weight.copy_(mlp.c_fc.weight[:, order])
        mlp.c_fc.bias.copy_(mlp.c_fc.bias[order])
        mlp.c_proj.weight.copy_(mlp.c_proj.weight[order])
    net.save_pretrained(folder / name)
    AutoTokenizer.from_pretrained(folder / source).save_pretrained(folder / name)
    return order.numpy()


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> tuple[Path, np.ndarray]:
    """A run of a model, its copy with neurons in another order, and a stranger."""
    order = permuted(folder, "gpt1", "copy")
    made = tmp_path_factory.mktemp("run") / "run"
    networks = ",".join(f"{name}=hf/{folder / name}" for name in ("gpt1", "copy", "gpt2"))
    common = ["--run", str(made), "--data", str(folder / "texts")]
    layers = ["--layers", "transformer.h.0.mlp.act", "--context", "24"]
    assert main(["train", *common, "--networks", networks, *layers]) == 0
    assert main(["collect", *common]) == 0
    for stage in ("align", "patches"):
        assert main([stage, "--run", str(made)]) == 0
    return made, order


@pytest.mark.slow
def test_a_run_finds_neurons_that_stand_elsewhere_and_none_of_a_stranger(run: tuple[Path, np.ndarray]) -> None:
    folder, order = run
    opened = raycv.open_run(str(folder))
    rows = opened.table("recurrence")
    matchings = opened.table("matchings")
    best = matchings[(matchings["method"] == "semi") & (matchings["similarity"] == "correlation")]
    pairs = best[(best["net_a"] == "copy") & (best["net_b"] == "gpt1")].sort_values("unit_a")
    assert pairs["unit_b"].tolist() == order.tolist()
    np.testing.assert_allclose(pairs["value"], 1, atol=1e-5)
    assert set(rows.loc[rows["net"] == "gpt1", "partners"]) == {1}  # the copy, and not the stranger
    assert np.mean(rows.loc[rows["net"] == "gpt2", "partners"].to_numpy() > 0) < 0.1


@pytest.mark.slow
def test_the_contexts_of_a_neuron_are_where_the_model_itself_is_highest(
    run: tuple[Path, np.ndarray], folder: Path
) -> None:
    made, order = run
    contexts = raycv.open_run(str(made)).table("contexts")
    tokenizer = AutoTokenizer.from_pretrained(folder / "gpt1")
    texts = documents(COUNT, seed=5, words=(40, 60))
    inputs = dict(tokenizer(texts, truncation=True, max_length=24, return_tensors="pt"))
    values = hooked(AutoModelForCausalLM.from_pretrained(folder / "gpt1"), "transformer.h.0.mlp.act", inputs)
    highest = values[:, 1:].max(1)  # by document
    own = dict(list(contexts[contexts["net"] == "gpt1"].groupby("unit")))
    for unit in range(64):
        rows = own[unit]
        np.testing.assert_allclose(rows["value"], np.sort(highest.values[:, unit].numpy())[::-1][:9], rtol=1e-5)
        row: Any
        for row in rows.itertuples():
            assert values[row.document, row.place, unit] == pytest.approx(row.value, rel=1e-5)
            whole = tokenizer.decode(inputs["input_ids"][row.document])
            assert row.before + row.token + row.after in whole
    copied = dict(list(contexts[contexts["net"] == "copy"].groupby("unit")))
    same = [copied[unit]["token"].tolist() == own[order[unit]]["token"].tolist() for unit in range(64)]
    assert np.mean(same) > 0.9  # ties aside


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["ablate", "prune", "ensemble", "stitch", "merge"])
def test_what_needs_images_says_so(
    run: tuple[Path, np.ndarray], stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([stage, "--run", str(run[0])]) == 2
    assert "reads texts" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_is_done_is_not_done_again(
    run: tuple[Path, np.ndarray], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["collect", "--run", str(run[0]), "--data", str(folder / "texts")]) == 0
    assert "already finished" in capsys.readouterr().out


def test_untrained_networks_of_two_folders_are_drawn_apart(folder: Path) -> None:
    found = groups_of(specs(folder, ["gpt1", "gpt2"], layers=("transformer.h.0",), context=24))[NULL]
    assert len({spec.seed for spec in found}) == len(found) == 4
    first = [next(iter(untrained(spec).parameters())) for spec in found]
    assert not any(torch.equal(a, b) for n, a in enumerate(first) for b in first[:n])


def test_all_layers_are_compared_by_the_means_over_the_samples_of_a_document(folder: Path) -> None:
    found = specs(
        folder, ["gpt1", "gpt2"], layers=("transformer.h.0", "transformer.h.0.mlp.act"), compare=("all",), context=24
    )
    groups = groups_of(found)
    reader = validation_of(found, str(folder / "texts")).reader
    assert isinstance(reader, Documents)
    assert found[0].tokens is not None
    numbers = np.arange(COUNT)
    texts = reader.documents(numbers)
    sequences = {found[0].tokens: found[0].tokens.encode(texts)}
    nets = {spec.name: build(spec, published=True) for spec in found}
    collector = Collector({ACROSS: groups[ACROSS]}, nets, CPU)
    rows = collector.partial(sequences, numbers, collector.pilot(sequences, numbers), COUNT).rows[Key(ACROSS, ACROSS)]
    inputs = dict(
        AutoTokenizer.from_pretrained(folder / "gpt1")(texts, truncation=True, max_length=24, return_tensors="pt")
    )
    for spec, values in zip(groups[ACROSS], rows, strict=True):
        net = AutoModelForCausalLM.from_pretrained(folder / spec.network)
        own = hooked(net, spec.place(ACROSS).module, inputs)
        np.testing.assert_allclose(values, own[:, 1:].double().mean(1), atol=1e-5)
