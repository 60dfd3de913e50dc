"""The pass over texts against the forward passes alone: `python -m benchmarks.language`.

Two causal models of 4 blocks of width 256 and the four untrained ones beside them, on the same batches, in one thread.
The limit is the forward passes and the float32 products of all samples, done by PyTorch alone.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from benchmarks.machine import best, in_words
from raycv.config import TrainConfig
from raycv.data.tokenizing import Tokens
from raycv.networks.models import build
from raycv.networks.spec import NetworkSpec
from raycv.run.paths import NETS, NULL
from raycv.stages.collect.collector import Collector, build_untrained
from raycv.stages.collect.groups import Groups
from raycv.stages.collect.planned import groups_of
from raycv.stages.train.specs import specs_of

BLOCKS, WIDTH, CONTEXT, TEXTS = 4, 256, 128, 64
VOCABULARY = 4096
CASES = {"residual stream": "transformer.h.?", "neurons": "transformer.h.*.mlp.act"}


def models_in(folder: Path) -> list[str]:
    """Store two models with one tokenizer of numbers; their folders."""
    made = Tokenizer(models.WordLevel({str(n): n for n in range(VOCABULARY)}, unk_token="0"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer: object = PreTrainedTokenizerFast(tokenizer_object=made)  # type: ignore[no-untyped-call]
    for seed in (1, 2):
        torch.manual_seed(seed)
        config = GPT2Config(
            vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=WIDTH, n_layer=BLOCKS, n_head=4, bos_token_id=0,
            eos_token_id=0,
        )  # fmt: skip
        GPT2LMHeadModel(config).save_pretrained(folder / str(seed))
        tokenizer.save_pretrained(folder / str(seed))  # type: ignore[attr-defined]
    return [str(folder / str(seed)) for seed in (1, 2)]


def measure(name: str, layers: str, folders: list[str]) -> str:
    """One row: tokens a second of the forward passes, of the pass, and both ratios."""
    networks = [{"name": f"net{n}", "model": f"hf/{folder}"} for n, folder in enumerate(folders)]
    config = TrainConfig.model_validate({"networks": networks, "layers": (layers,), "context": CONTEXT})
    specs = specs_of(config, classes=1)
    groups: Groups = {group: of for group, of in groups_of(specs).items() if group in (NETS, NULL)}
    nets: dict[str, torch.nn.Module] = {spec.name: build(spec, published=True) for spec in specs}
    nets |= build_untrained(groups[NULL])
    collector = Collector(groups, {**nets}, torch.device("cpu"))
    tokens = specs[0].tokens
    assert tokens is not None
    numbers, given = np.arange(TEXTS), {tokens: sequences(tokens)}
    pilot = collector.pilot(given, numbers)
    batches = torch.split(torch.from_numpy(given[tokens][:, 0]).long(), collector.batch)

    @torch.inference_mode()
    def forward() -> None:
        for batch in batches:
            for net in nets.values():
                net(batch)

    products = best(lambda: _products(groups, specs))
    alone, whole = best(forward), best(lambda: collector.partial(given, numbers, pilot, 10_000))
    rates = " | ".join(f"{TEXTS * CONTEXT / seconds:,.0f}" for seconds in (alone, whole))
    return f"| {name} | {rates} | {whole / alone:.2f} | {(alone + products) / alone:.2f} |"


def _products(groups: Groups, specs: list[NetworkSpec]) -> None:
    """Of all units of a layer, with all others of its group, in all samples of the texts."""
    for of in groups.values():
        units = sum(4 * WIDTH if "mlp" in specs[0].layers[0] else WIDTH for _ in of)
        samples = torch.zeros(TEXTS * (CONTEXT - 1), units)
        for _ in specs[0].layers:
            samples.T @ samples


def sequences(tokens: Tokens) -> np.ndarray:
    """Texts of random tokens."""
    rng = np.random.default_rng(0)
    return tokens.encode([" ".join(map(str, rng.integers(VOCABULARY, size=CONTEXT))) for _ in range(TEXTS)])


def main() -> int:
    torch.set_num_threads(1)
    print(in_words())
    print("| layers | tokens/s, forward passes | tokens/s, the pass | times as long | limit |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        folders = models_in(Path(folder))
        for name, layers in CASES.items():
            print(measure(name, layers, folders), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
