"""Small language models of bytes: what they see, how they are trained, and a run of them on a cluster."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

import raycv
from raycv.cli import main
from raycv.config import TrainConfig
from raycv.data.texts import Documents, open_documents
from raycv.data.tokenizing import bytes_of, shown
from raycv.data.windows import Windows, open_windows
from raycv.errors import UserError
from raycv.networks.evaluation import Batch, evaluate
from raycv.networks.models import build
from raycv.networks.small_gpt import LAYERS, SmallGPT
from raycv.networks.stored import stored, weights_content
from raycv.run.store import RunStore
from raycv.stages.train.learning import make_optimizer, train_epoch
from raycv.stages.train.recipe import Recipe, recipe_of
from raycv.stages.train.saved import packed, unpack
from raycv.stages.train.specs import specs_of
from tests.support.language import documents
from tests.support.processes import processes

CPU, CONTEXT = torch.device("cpu"), 32


def write_splits(folder: Path, count: int = 60) -> Path:
    folder.mkdir(exist_ok=True)
    for seed, split in enumerate(("train", "validation")):
        lines = [json.dumps({"text": text}) for text in documents(count, seed=seed)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    return folder


def test_a_byte_is_told_from_those_before_it_alone() -> None:
    torch.manual_seed(0)
    net = SmallGPT(CONTEXT).eval()
    tokens = torch.randint(256, (2, CONTEXT))
    other = tokens.clone()
    other[:, 20:] = (other[:, 20:] + 1) % 256
    with torch.no_grad():
        one, two = net(tokens), net(other)
    torch.testing.assert_close(one[:, :20], two[:, :20])
    assert not torch.allclose(one[:, 20], two[:, 20])


def test_training_sequences_are_all_bytes_of_the_training_documents(tmp_path: Path) -> None:
    data = str(write_splits(tmp_path))
    found = open_windows(data, bytes_of(CONTEXT)).reader
    assert isinstance(found, Windows)
    texts = [text.encode() for text in documents(60)]
    expected = [text[n : n + CONTEXT] for text in texts for n in range(0, len(text) - CONTEXT + 1, CONTEXT)]
    assert [bytes(row) for row in found.sequences] == expected
    few, more = found.first(10), found.first(25)
    assert {bytes(row) for row in few.sequences} <= {bytes(row) for row in more.sequences}
    assert len(few) == 10
    with pytest.raises(UserError, match="fewer than the 9,999 asked for"):
        found.first(9999)
    held_out = open_documents(data, [bytes_of(CONTEXT)]).reader
    assert isinstance(held_out, Documents)
    assert held_out.documents([3]) == [documents(60, seed=1)[3]]


def test_a_folder_with_the_name_of_raycvs_own_texts_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_splits(tmp_path / "shakespeare")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is a folder here, and the name of raycv's own texts"):
        open_windows("shakespeare", bytes_of(CONTEXT))
    assert len(open_documents("./shakespeare", [bytes_of(CONTEXT)])) == 60


def test_raycvs_own_texts_are_taken_where_none_are_named() -> None:
    """And where a document of another language is cut inside a letter, that is shown as such."""
    training, held_out = open_windows("cifar10-subset", bytes_of(128)), open_documents("shakespeare", [bytes_of(128)])
    assert (len(training), len(held_out)) == (5897, 481)
    assert training.identity != held_out.identity
    sequence = bytes_of(8).encode(["né!né!né!"])[0, 0]
    assert bytes(sequence.tolist()) == "né!né!né!".encode()[:8]
    assert shown(bytes_of(8), sequence, 2, 1) == ("�", "�", "!")


def batches(seed: int = 0) -> list[Batch]:
    """Sequences that repeat three bytes."""
    starts = torch.randint(3, (64, 1), generator=torch.Generator().manual_seed(seed))
    rows = ((starts + torch.arange(CONTEXT)) % 3 + 65).to(torch.uint8)
    return [(part, torch.zeros(len(part), dtype=torch.long)) for part in torch.split(rows, 8)]


def net_and_optimizer() -> tuple[torch.nn.Module, torch.optim.Optimizer, Recipe]:
    spec = specs_of(TrainConfig.model_validate({"model": ("small-gpt",), "seeds": (1, 2), "context": CONTEXT}), 1)[0]
    net = build(spec)
    recipe = replace(recipe_of("small-gpt", TrainConfig()), epochs=3)
    return net, make_optimizer(net, recipe, adam=True), recipe


def learn(net: torch.nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, epoch: int) -> float:
    return train_epoch(net, batches(epoch), optimizer, recipe, None, epoch=epoch, steps=8, seed=1, device=CPU)


def test_a_model_learns_and_is_scored_by_the_next_byte() -> None:
    net, optimizer, recipe = net_and_optimizer()
    losses = [learn(net, optimizer, recipe, epoch) for epoch in range(3)]
    assert losses[0] > 2 * losses[2]
    scores = evaluate(net.eval(), batches(9), None, CPU)
    rows = torch.cat([part for part, _ in batches(9)]).long()
    with torch.no_grad():
        logits = net(rows)
    own = F.cross_entropy(logits[:, :-1].reshape(-1, 256), rows[:, 1:].reshape(-1))
    assert scores.loss == pytest.approx(float(own), rel=1e-5)
    assert scores.top1 == pytest.approx(float((logits[:, :-1].argmax(2) == rows[:, 1:]).double().mean()))
    assert scores.top1 > 0.9


def test_what_was_saved_goes_on_as_if_nothing_had_happened() -> None:
    one, other = net_and_optimizer(), net_and_optimizer()
    learn(*one, 0)
    history = [{"net": "net1", "epoch": 1}]
    assert unpack(packed(one[0], one[1], history), other[0], other[1]) == history
    losses = [learn(*of, 1) for of in (one, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for a, b in zip(one[0].parameters(), other[0].parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_neurons_and_stream_of_every_block_are_compared_unless_layers_are_named() -> None:
    given = {"model": ("small-gpt",), "seeds": (1, 2), "context": CONTEXT}
    found = specs_of(TrainConfig.model_validate(given), 1)
    assert found[0].layers == LAYERS
    assert specs_of(TrainConfig.model_validate({**given, "layers": ("blocks.1.mlp.act",)}), 1)[0].layers == (
        "blocks.1.mlp.act",
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--train-labels", "random"], "--train-labels is for images, and small-gpt reads texts"),
        (["--train-part", "half"], "--train-part is for images"),
        (["--augmentation", "none"], "--augmentation is for images"),
        (["--train-images", "99999"], "fewer than the 99,999 asked for"),
        (["--batch-size", "99999"], "sequences to train on; allowed are 1 to"),
        (["--layers", "blocks.9"], "no layer 'blocks.9'"),
        (["--model", "small-gpt,small-alexnet"], "small-gpt reads texts and small-alexnet does not"),
        (["--data", "{0}/untrained"], "has no training documents"),
        (["--data", "{0}/ids"], "are token ids, and the networks were set up for texts"),
        (["--width", "8"], "--width is for images"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    tmp_path: Path, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_splits(tmp_path / "texts")
    (tmp_path / "untrained").mkdir()
    (data / "validation.jsonl").rename(tmp_path / "untrained" / "documents.jsonl")
    write_splits(tmp_path / "texts")
    (tmp_path / "ids").mkdir()
    for split in ("train", "validation"):
        (tmp_path / "ids" / f"{split}.jsonl").write_text(json.dumps({"input_ids": [1] * 40}) + "\n")
    usual = {"--model": "small-gpt", "--data": str(data), "--seeds": "1,2", "--context": "32"}
    given = usual | {"--run": str(tmp_path / "run")} | {flags[0]: flags[1].format(tmp_path)}
    assert main(["train", *(word for pair in given.items() for word in pair)]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


SETTINGS = ("--model", "small-gpt", "--seeds", "1,2", "--context", "32", "--epochs", "3", "--batch-size", "8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    """Two models trained on few texts, undisturbed, and compared."""
    folder = tmp_path_factory.mktemp("small-gpt")
    common = ["--run", str(folder / "run"), "--data", str(write_splits(folder / "texts"))]
    assert main(["train", *common, *SETTINGS]) == 0
    assert main(["collect", *common]) == 0
    for stage in ("align", "patches", "figures", "report"):
        assert main([stage, "--run", str(folder / "run")]) == 0
    return folder


def weights(run: Path) -> dict[str, torch.Tensor]:
    """As later stages read them."""
    store, found = RunStore(str(run)), dict[str, torch.Tensor]()
    for network in stored(store):
        content = safetensors.torch.load(weights_content(store, network))
        found |= {f"{network.spec.name}.{name}": value for name, value in content.items()}
    return found


@pytest.mark.slow
def test_a_run_of_small_language_models_has_universal_units_with_their_contexts(finished: Path) -> None:
    run = raycv.open_run(str(finished / "run"))
    training: Any = run.table("training").set_index(["net", "epoch"])
    for net in ("net1", "net2"):
        losses = [training.loc[(net, epoch), "validation_loss"] for epoch in (1, 2, 3)]
        assert losses[0] > losses[2]
        assert losses[2] < np.log(256)
    universal = run.table("universal")
    assert set(universal["layer"]) == set(LAYERS)
    assert len(universal) == 2 * 4 * (96 + 384)
    by: Any = run.table("universal_by_layer").set_index(["layer", "definition"])
    assert by.loc[(LAYERS[0], "mutual"), "shuffled"] > 0  # some units are mutual firsts by chance
    assert by["untrained"].notna().all()
    contexts = run.table("contexts")
    held_out = open_documents(str(finished / "texts"), [bytes_of(32)]).reader
    assert isinstance(held_out, Documents)
    row: Any
    for row in contexts.sample(40, random_state=0).itertuples():
        (text,) = held_out.documents([row.document])
        assert row.before + row.token + row.after in str(text)[:32]
    assert (finished / "run" / "figures" / "universal.png").exists()
    assert "blocks.0.mlp.act" in (finished / "run" / "report.html").read_text()


@pytest.mark.slow
def test_a_killed_worker_is_not_noticed_in_the_weights(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ray_cluster: None
) -> None:
    run, killed = tmp_path / "run", threading.Event()

    def kill() -> None:
        deadline = time.monotonic() + 240
        while not any(run.glob("networks/training/*/saved/net1/00001.safetensors")):
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)
        for process in processes(b"ray::RayTrainWorker")[:1]:
            os.kill(process, signal.SIGKILL)
            killed.set()

    killer = threading.Thread(target=kill)
    killer.start()
    code = main(["train", "--run", str(run), "--data", str(finished / "texts"), *SETTINGS])
    killer.join()
    assert killed.is_set()
    assert code == 0
    assert "goes on from the last epoch" in capsys.readouterr().out
    one, other = weights(run), weights(finished / "run")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    epochs = pd.read_parquet(run / "tables/training").groupby("net")["epoch"].apply(list)
    assert epochs.tolist() == [[1, 2, 3], [1, 2, 3]]
