"""From a document to what a language model sees: the tokens of its beginning, and which of them are samples.

A document gives one sequence, so that it is to tokens what an image is to pixels: the unit of folds, shuffles and
intervals. Its positions depend on each other, documents do not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from raycv.data.documents import Document
from raycv.errors import UserError
from raycv.progress import say
from raycv.run.fingerprint import fingerprint

LARGEST = 2**20  # positions of a sequence
CHARACTERS = 16  # of a document that are looked at first for each token of a sequence; of English a token has four
# A text on which tokenizers differ that differ in what they do before they look words up.
PROBE = "Cafe\u0301 nai\u0308ve\u00a0x  12345 don't\n\n\t a1b2 \u4f60\u597d"
BYTES = "bytes"  # in the place of a folder: each byte of a text in UTF-8 is a token
# In one of these a tokenizer is kept beside a model.
FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
)
PADDING = -1  # in the place of a token's number, where a sequence is longer than a text
Token = Annotated[int, Field(ge=0, lt=2**31)]


class Tokens(BaseModel):
    """How the documents of a run become sequences of one network.

    Without ``words`` a sequence has ``context`` tokens, special ones included, and all others are samples, but for the
    first of a sequence that begins with no special token: models use it as a sink of attention. With ``words`` it has
    as many words and one more as a document begins with, in up to ``context`` tokens, and a sample is the last token
    that ends no later than a word. So networks with different tokenizers are compared in the same places. The first
    word is no sample.

    ``folder`` holds the tokenizer, of which ``digest`` says what it does. ``before`` and ``after`` are the special
    tokens with which it begins and ends a sequence. Where ``folder`` is ``BYTES`` there is none, and bytes are tokens.

    With ``ids`` documents are the numbers of tokens already: a sequence is their beginning as it is, of which all but
    the first are samples. The folder then needs no tokenizer. ``vocabulary`` is how many tokens the network knows, and
    ``padding`` has those that it may have for padding.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Annotated[str, Field(min_length=1, max_length=4096)]
    digest: Annotated[str, Field(max_length=100)]
    context: Annotated[int, Field(ge=4, le=LARGEST)]
    before: tuple[Token, ...] = ()
    after: tuple[Token, ...] = ()
    words: Annotated[int, Field(ge=1, le=LARGEST)] | None = None
    ids: bool = False
    vocabulary: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    padding: tuple[Token, ...] = ()

    @property
    def samples(self) -> int:
        """Of each sequence."""
        return self.words or self.context - len(self.after) - self._first

    @property
    def _first(self) -> int:
        return max(1, len(self.before))

    @property
    def text_tokens(self) -> int:
        """Tokens of text in a sequence, at most."""
        return self.context - len(self.before) - len(self.after)

    def encode(self, documents: Sequence[Document]) -> NDArray[np.int32]:
        """(n, 2, context): tokens, and at which positions the samples are; both ``PADDING`` behind their end.

        Raises ValueError for a document that does not suffice.
        """
        made = [self._sequence(document) for document in documents]
        short = next((n for n, one in enumerate(made) if one is None), None)
        if short is not None:
            raise ValueError(f"document {short} is too short for a sequence")
        return np.stack([one for one in made if one is not None]) if made else np.empty((0, 2, self.context), np.int32)

    def suffices(self, documents: Sequence[Document | None]) -> NDArray[np.bool_]:
        """(n,): whether each document is long enough."""
        return np.array([one is not None and self._sequence(one) is not None for one in documents], dtype=bool)

    def _sequence(self, document: Document) -> NDArray[np.int32] | None:
        if not isinstance(document, str):
            found = self._of_ids(document)
        elif self.words:
            found = self._of_words(document)
        else:
            found = self._of_tokens(document)
        if found is None:
            return None
        numbers, places = found
        made = np.full((2, self.context), PADDING, np.int32)
        made[0, : len(numbers)], made[1, : len(places)] = numbers, places
        return made

    def _of_ids(self, ids: NDArray[np.int32]) -> tuple[list[int], NDArray[np.int64]] | None:
        if len(ids) < self.context:
            return None
        return ids[: self.context].tolist(), np.arange(1, self.context)

    def _of_tokens(self, text: str) -> tuple[list[int], NDArray[np.int64]] | None:
        numbers = self._beginning(text)
        if len(numbers) < self.text_tokens:
            return None
        whole = [*self.before, *numbers[: self.text_tokens], *self.after]
        return whole, np.arange(self._first, self._first + self.samples)

    def _beginning(self, text: str) -> list[int]:
        """The tokens with which a text begins: all, or twice as many as a sequence has.

        So a cut in the text, near which tokens may be others than without it, is far from the sequence.
        """
        if self.folder == BYTES:
            return list(text[: self.text_tokens].encode())
        length = CHARACTERS * self.context
        while True:
            part = text[:length]
            numbers: list[int] = _tokenizer(self.folder)(part, add_special_tokens=False, verbose=False)["input_ids"]
            if length >= len(text) or len(numbers) >= 2 * self.text_tokens:
                return numbers
            length *= 4

    def _of_words(self, text: str) -> tuple[list[int], NDArray[np.int64]] | None:
        assert self.words is not None
        ends = list(islice(_ends(text), self.words + 1))
        if len(ends) <= self.words:
            return None
        given = text[: ends[-1]]
        found = _tokenizer(self.folder)(given, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        last = np.array([end for _, end in found["offset_mapping"]])
        if not 0 < len(last) <= self.text_tokens:
            return None
        places = np.searchsorted(last, ends[1:], side="right") - 1
        if places[0] < 1 or (np.diff(places) < 1).any():  # a token of several words
            return None
        return [*self.before, *found["input_ids"], *self.after], places + len(self.before)


def _ends(text: str) -> Iterator[int]:
    """Where the words of a text end."""
    return (match.end() for match in re.finditer(r"\S+", text))


def tokens_of(folder: str, context: int) -> Tokens:
    """How a folder's tokenizer makes sequences of ``context`` tokens. Raises UserError where that cannot be."""
    tokenizer = _tokenizer(folder)
    longest = int(min(getattr(tokenizer, "model_max_length", LARGEST) or LARGEST, LARGEST))
    if context > longest:
        raise UserError(
            f"--context is {context:,}, and the tokenizer in {folder} makes sequences of at most {longest:,} tokens; "
            f"allowed are 4 to {longest:,}."
        )
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    start = next((n for n in range(len(whole)) if whole[n : n + len(bare)] == bare), None)
    if start is None or not bare:
        raise UserError(
            f"The tokenizer in {folder} makes {whole} of the text 'a' with special tokens and {bare} without, so it "
            "cannot be told which are special; name a model with another tokenizer."
        )
    found = Tokens(
        folder=folder,
        digest=_digest(tokenizer),
        context=context,
        before=tuple(whole[:start]),
        after=tuple(whole[start + len(bare) :]),
    )
    if found.text_tokens < 2:
        special = len(whole) - len(bare)
        raise UserError(f"--context is {context}, of which {special} are special tokens; give at least {special + 2}.")
    return found


def largest_token(folder: str) -> int:
    """The largest number that a folder's tokenizer gives a token."""
    return int(max(_tokenizer(folder).get_vocab().values()))


def words_of(tokens: Tokens) -> Tokens:
    """The same with words as samples: half as many as a sequence has tokens. Raises UserError where these are unknown.

    A word of English takes 1.3 tokens; others take more.
    """
    if tokens.folder == BYTES:
        raise UserError(
            "A network that reads bytes is compared with others that do, and not with networks that have tokenizers; "
            "compare small-gpt with small-gpt."
        )
    if not getattr(_tokenizer(tokens.folder), "is_fast", False):
        raise UserError(
            f"The tokenizer in {tokens.folder} does not say which characters a token stands for, which networks with "
            "different tokenizers need; save a fast one with the model (tokenizer.json)."
        )
    return tokens.model_copy(update={"words": tokens.context // 2 - 1})


def bytes_of(context: int) -> Tokens:
    """How documents make sequences of ``context`` bytes, of which all but the first are samples."""
    return Tokens(folder=BYTES, digest=BYTES, context=context)


def whole(tokens: Tokens, text: str) -> NDArray[np.uint8]:
    """(n, context) the sequences that all of a text makes, one after the other; of bytes, see `bytes_of`."""
    assert tokens.folder == BYTES
    found = np.frombuffer(text.encode(), np.uint8)
    return found[: len(found) // tokens.context * tokens.context].reshape(-1, tokens.context)


def ids_of(folder: str, context: int, vocabulary: int, padding: Iterable[int]) -> Tokens:
    """How documents that are token ids make sequences of ``context`` tokens. The folder may have no tokenizer."""
    return Tokens(
        folder=folder,
        digest=_digest(_tokenizer(folder)) if has_tokenizer(folder) else "",
        context=context,
        ids=True,
        vocabulary=vocabulary,
        padding=tuple(sorted(set(padding))),
    )


def has_tokenizer(folder: str) -> bool:
    """Whether a folder holds a file of a tokenizer."""
    return any(os.path.isfile(os.path.join(folder, name)) for name in FILES)


def shown(tokens: Tokens, sequence: NDArray[np.int32], place: int, around: int) -> tuple[str, str, str]:
    """The text before, of and after the token at ``place`` of a sequence (context,), of ``around`` tokens a side.

    Where nothing makes text of tokens, their numbers.
    """
    there = sequence[sequence != PADDING]
    parts = there[max(0, place - around) : place], there[place : place + 1], there[place + 1 : place + 1 + around]
    if tokens.ids and not tokens.digest:
        before, token, after = (" ".join(map(str, part.tolist())) for part in parts)
        return f"{before} ", token, f" {after}"
    if tokens.folder == BYTES:
        before, token, after = (bytes(part.tolist()).decode(errors="replace") for part in parts)
        return before, token, after
    tokenizer = _tokenizer(tokens.folder)
    before, token, after = (tokenizer.decode(part.tolist(), clean_up_tokenization_spaces=False) for part in parts)
    return before, token, after


def _digest(tokenizer: Any) -> str:
    """What changes where the tokenizer does anything else; the same for copies of it in other folders."""
    if not getattr(tokenizer, "is_fast", False):
        return fingerprint(type(tokenizer).__name__, sorted(tokenizer.get_vocab().items()))
    backend = tokenizer.backend_tokenizer
    return fingerprint(type(backend).__name__, backend.to_str(), sorted(tokenizer.get_vocab().items()))


@lru_cache(maxsize=16)
def _tokenizer(folder: str) -> Any:
    try:
        import transformers
    except ImportError:
        raise UserError(
            f"The tokenizer in {folder} needs the package transformers: pip install transformers."
        ) from None
    if not os.path.isdir(folder):  # transformers would take it for the name of a model that it may hold from the Hub
        raise UserError(f"The folder of a tokenizer, {folder}, is not there; every node needs the model's folder.")
    try:
        made = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever a library raises of a folder that it cannot do with
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(
            f"{folder} holds no tokenizer that can be read ({said}); save it beside the model with save_pretrained."
        ) from None
    if getattr(made, "is_fast", False):
        made.backend_tokenizer.no_padding()
        made.backend_tokenizer.no_truncation()
        _say_if_other(folder, made)
    return made


def _say_if_other(folder: str, made: Any) -> None:
    """Say that transformers makes a tokenizer of its own of what was saved: it does for some types of models.

    Of a tokenizer saved with a Qwen2 model transformers 5.24 keeps the vocabulary alone (findings/).
    """
    import tokenizers

    saved = os.path.join(folder, "tokenizer.json")
    if os.path.isfile(saved):
        plain = tokenizers.Tokenizer.from_file(saved).encode(PROBE, add_special_tokens=False).ids
        if plain != made(PROBE, add_special_tokens=False, verbose=False)["input_ids"]:
            say(
                f"note: transformers reads the tokenizer in {folder} as {type(made).__name__}, which makes other "
                "tokens of some texts than the tokenizer.json there; if the model saw those, samples are wrong"
            )
