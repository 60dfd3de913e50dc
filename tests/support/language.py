"""Small language models with tokenizers of their own, and documents for them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

LONGEST = 64  # tokens that the models see


def documents(count: int, seed: int = 0, words: tuple[int, int] = (30, 60)) -> list[str]:
    """Texts of made-up words, the same for all seeds, of which each document has some."""
    rng = random.Random(0)
    known = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(1, 8))) for _ in range(200)]
    return [_document(random.Random(f"{seed}/{n}"), known, words) for n in range(count)]


def _document(rng: random.Random, known: list[str], words: tuple[int, int]) -> str:
    topic = rng.sample(known, 20)
    return " ".join(rng.choices(topic, k=rng.randint(*words)))


def write_lines(folder: Path, texts: Sequence[str | None], name: str = "documents.jsonl") -> Path:
    """JSON lines with a column of texts; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(texts)))
    return folder


def gpt(folder: Path, seed: int, *, vocabulary: int = 500, layers: int = 1, **more: Any) -> GPT2LMHeadModel:
    """A causal model of 16 units in the stream, and 64 in each layer's neurons, whose tokenizer is byte-level BPE."""
    tokenizer = byte_pairs(vocabulary)
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=LONGEST, n_embd=16, n_layer=layers, n_head=2, bos_token_id=0,
        eos_token_id=0, **more,
    )  # fmt: skip
    net = GPT2LMHeadModel(config)
    save(folder, net, tokenizer)
    return net


def bert(folder: Path, seed: int) -> BertForMaskedLM:
    """A masked model of as many units, whose tokenizer is WordPiece and puts [CLS] and [SEP] around a text."""
    tokenizer = word_pieces()
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=LONGEST,
    )  # fmt: skip
    net = BertForMaskedLM(config)
    save(folder, net, tokenizer)
    return net


def save(folder: Path, net: Any, tokenizer: Any) -> None:
    net.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def byte_pairs(vocabulary: int) -> Any:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(documents(100), trainer)
    made_of: Any = PreTrainedTokenizerFast  # which has no types
    return made_of(tokenizer_object=made, eos_token="<end>", model_max_length=LONGEST)


def word_pieces() -> Any:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    made.train_from_iterator(documents(100), trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    made_of: Any = PreTrainedTokenizerFast  # which has no types
    return made_of(tokenizer_object=made, model_max_length=LONGEST, **names)
