"""Sequences and samples against what the tokenizers themselves say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from raycv.data.tokenizing import PADDING, shown, tokens_of, words_of
from raycv.errors import UserError
from tests.support.language import LONGEST, byte_pairs, documents, word_pieces


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    made = {"pieces": word_pieces(), "pairs": byte_pairs(500), "few_pairs": byte_pairs(450)}
    found = {}
    for name, tokenizer in made.items():
        found[name] = str(tmp_path_factory.mktemp(name))
        tokenizer.save_pretrained(found[name])
    return found


@pytest.mark.parametrize("name", ["pieces", "pairs"])
def test_a_sequence_is_the_beginning_of_what_the_tokenizer_gives(folders: dict[str, str], name: str) -> None:
    texts, tokens = documents(8), tokens_of(folders[name], 20)
    found = tokens.encode(texts)
    given = AutoTokenizer.from_pretrained(folders[name])(texts, truncation=True, max_length=20)["input_ids"]
    assert found[:, 0].tolist() == given
    expected = list(range(1, 19)) if name == "pieces" else list(range(1, 20))  # neither [CLS] nor [SEP], nor the first
    assert tokens.samples == len(expected)
    assert (found[:, 1, : tokens.samples] == expected).all()
    assert (found[:, 1, tokens.samples :] == PADDING).all()


def test_a_text_that_is_too_short_makes_no_sequence(folders: dict[str, str]) -> None:
    tokens = tokens_of(folders["pieces"], 12)
    tokenizer = AutoTokenizer.from_pretrained(folders["pieces"])
    words = documents(1)[0].split()
    texts = [" ".join(words[:n]) for n in range(len(words))]
    lengths = np.array([len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts])
    assert tokens.suffices([None, *texts]).tolist() == [False, *(lengths >= 10)]
    with pytest.raises(ValueError, match="too short"):
        tokens.encode([texts[1]])


@pytest.mark.parametrize("name", ["pieces", "pairs", "few_pairs"])
def test_the_samples_of_words_are_the_tokens_that_end_with_them(folders: dict[str, str], name: str) -> None:
    tokens = words_of(tokens_of(folders[name], 60))
    assert tokens.words == tokens.samples == 29
    tokenizer = AutoTokenizer.from_pretrained(folders[name])
    texts = [" ".join(text.split()[:40]) for text in documents(30)]
    texts = [text for text, enough in zip(texts, tokens.suffices(texts), strict=True) if enough]
    assert texts
    for text, (numbers, places) in zip(texts, tokens.encode(texts), strict=True):
        words = text.split()[:30]
        there = numbers[numbers != PADDING]
        for word, place in enumerate(places[:29], start=1):
            until = str(tokenizer.decode(there[: place + 1], skip_special_tokens=True))
            assert until.replace(" ", "").replace("##", "") == "".join(words[: word + 1])
        assert (places[29:] == PADDING).all()


def test_a_text_that_takes_too_many_tokens_for_its_words_is_left_out(folders: dict[str, str]) -> None:
    tokens = words_of(tokens_of(folders["few_pairs"], 8))
    assert tokens.suffices(["a a a a", "a a a", "abcdefgh abcdefgh abcdefgh abcdefgh"]).tolist() == [True, False, False]


def test_a_long_text_is_looked_at_as_far_as_its_tokens_need(tmp_path: Path) -> None:
    words = [letter * 300 for letter in "abcdefgh"]
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token=words[0]))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made_of: Any = PreTrainedTokenizerFast  # which has no types
    made_of(tokenizer_object=made).save_pretrained(tmp_path)
    tokens = tokens_of(str(tmp_path), 20)
    text = " ".join(words * 9)
    assert tokens.suffices([text, " ".join(words * 2)]).tolist() == [True, False]
    assert tokens.encode([text])[0, 0].tolist() == [n % 8 for n in range(20)]


@pytest.mark.parametrize("name", ["pieces", "pairs"])
def test_the_beginning_of_a_long_text_has_the_tokens_of_the_whole(folders: dict[str, str], name: str) -> None:
    """Wherever the text is cut that is looked at: a word in the middle, or spaces."""
    tokens = tokens_of(folders[name], 8)
    tokenizer = AutoTokenizer.from_pretrained(folders[name])
    for n in range(40):
        text = " " * n + "  \n ".join(documents(40, seed=n))
        whole = tokenizer(text, add_special_tokens=False)["input_ids"]
        found = tokens.encode([text])[0, 0].tolist()
        assert found[len(tokens.before) : 8 - len(tokens.after)] == whole[: tokens.text_tokens]


def test_copies_of_a_tokenizer_are_known_as_such(folders: dict[str, str], tmp_path: Path) -> None:
    byte_pairs(500).save_pretrained(tmp_path)
    assert tokens_of(str(tmp_path), 16).digest == tokens_of(folders["pairs"], 16).digest
    assert len({tokens_of(folder, 16).digest for folder in folders.values()}) == 3


def test_it_is_said_where_transformers_makes_another_tokenizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As transformers 5.24 does beside a Qwen2 model (findings/transformers_qwen2_tokenizer.sh)."""
    for kind in ("gpt_neox", "qwen2"):
        byte_pairs(300).save_pretrained(tmp_path / kind)
        (tmp_path / kind / "config.json").write_text(json.dumps({"model_type": kind}))
        tokens_of(str(tmp_path / kind), 16)
    said = capsys.readouterr().out
    assert f"{tmp_path / 'qwen2'} as Qwen2Tokenizer, which makes other tokens" in said
    assert str(tmp_path / "gpt_neox") not in said


def test_what_is_shown_of_a_context_is_its_text(folders: dict[str, str]) -> None:
    text = documents(1)[0]
    tokens = tokens_of(folders["pairs"], 24)
    sequence = tokens.encode([text])[0, 0]
    before, token, after = shown(tokens, sequence, 5, 3)
    parts = [shown(tokens, sequence, place, 0)[1] for place in range(24)]
    assert [before, token, after] == ["".join(parts[2:5]), parts[5], "".join(parts[6:9])]
    assert text.startswith("".join(parts))


@pytest.mark.parametrize(
    ("name", "context", "said"),
    [
        ("pieces", LONGEST + 1, "at most 64 tokens"),
        ("missing", 16, "no tokenizer that can"),
    ],
)
def test_what_cannot_be_is_said(folders: dict[str, str], name: str, context: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        tokens_of(folders.get(name, str(tmp_path)), context)


def test_a_context_of_special_tokens_alone_is_refused(tmp_path: Path) -> None:
    made = word_pieces()
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] [CLS] $A [SEP] [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="--context is 5, of which 4 are special tokens; give at least 6"):
        tokens_of(str(tmp_path), 5)
    assert tokens_of(str(tmp_path), 6).text_tokens == 2


def test_a_folder_that_is_not_there_is_no_name_of_a_model_elsewhere() -> None:
    with pytest.raises(UserError, match="gpt2, is not there"):
        tokens_of("gpt2", 16)
