"""Documents in Parquet and JSON lines, on disk and on a real S3 server."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raycv.data import texts as reading
from raycv.data.texts import Documents, open_documents
from raycv.data.tokenizing import Tokens, tokens_of
from raycv.errors import UserError
from raycv.run.store import RunStore
from tests.support.language import byte_pairs, documents, write_lines


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    folder = tmp_path_factory.mktemp("tokenizer")
    byte_pairs(500).save_pretrained(folder)
    return tokens_of(str(folder), 24)


def opened(data: object, tokens: Tokens, column: str | None = None) -> Documents:
    reader = open_documents(str(data), [tokens], column).reader
    assert isinstance(reader, Documents)
    return reader


def test_long_documents_are_numbered_in_their_order(
    tmp_path: Path, tokens: Tokens, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reading, "BYTES", 300)  # blocks of a few lines
    given = [text if n % 5 else text[:9] for n, text in enumerate(documents(60))]
    given[7] = "ä " * 60  # more bytes than characters
    lines = write_lines(tmp_path / "lines", [*given, None, ""])
    found = opened(lines, tokens)
    long = [text for n, text in enumerate(given) if n % 5]
    assert len(found.files[0].blocks) > 20
    assert found.texts(np.arange(len(found))) == long
    assert found.texts([5, 0, 5]) == [long[5], long[0], long[5]]
    assert "14 of 62 documents do not have 24 tokens of text" in capsys.readouterr().out


def test_parquet_and_json_lines_on_disk_and_on_s3_are_the_same(store: RunStore, tmp_path: Path, tokens: Tokens) -> None:
    given = documents(40)
    content = io.BytesIO()
    pq.write_table(pa.table({"text": given, "n": range(40)}), content, row_group_size=7)
    store.write("parquet/part-0.parquet", content.getvalue())
    store.write("lines/part-0.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in given).encode())
    for kind in ("parquet", "lines"):
        assert opened(store.locate(kind), tokens).texts(range(40)) == given


def test_the_validation_split_is_taken_where_files_name_splits(tmp_path: Path, tokens: Tokens) -> None:
    write_lines(tmp_path / "data", documents(20), "train-0.jsonl")
    with pytest.raises(UserError, match=r"the training split alone \(train-0.jsonl\)"):
        opened(tmp_path / "data", tokens)
    held_out = documents(17, seed=1)
    write_lines(tmp_path / "data", held_out, "validation-0.jsonl")
    assert opened(tmp_path / "data", tokens).texts(range(17)) == held_out


def test_the_identity_is_that_of_documents_and_tokens_wherever_they_are(tmp_path: Path, tokens: Tokens) -> None:
    for name in ("here", "there"):
        write_lines(tmp_path / name, documents(20))
    write_lines(tmp_path / "other", documents(21))
    shorter = tokens.model_copy(update={"context": 16})
    here, there, other, short = (
        open_documents(str(tmp_path / name), [how]).identity
        for name, how in (("here", tokens), ("there", tokens), ("other", tokens), ("here", shorter))
    )
    assert here == there
    assert len({here, other, short}) == 3


@pytest.mark.parametrize(
    ("content", "column", "said"),
    [
        ('{"text": "a"}\n', None, "0 of the 1 documents in .* have 24 tokens of text, and statistics need 16"),
        ('{"text": "a"\n', None, "Line 1 after byte 0 of .* is no JSON"),
        ('{"text": 3}\n', None, "'text' is no text in line 1"),
        ('{"text": "a"}\n', "body", "0 of the 1 documents"),
    ],
)
def test_lines_that_hold_no_documents_are_refused(
    tmp_path: Path, tokens: Tokens, content: str, column: str | None, said: str
) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(UserError, match=said):
        opened(tmp_path, tokens, column)


def test_folders_and_columns_that_are_not_there_are_named(tmp_path: Path, tokens: Tokens) -> None:
    pq.write_table(pa.table({"body": ["a"], "text": [1]}), tmp_path / "a.parquet")
    for column, said in ((None, "has int64 in the column 'text'"), ("words", "has no column 'words'")):
        with pytest.raises(UserError, match=said):
            opened(tmp_path, tokens, column)
    (tmp_path / "empty").mkdir()
    for folder, said in (("empty", "holds no documents"), ("missing", "is not there"), ("a.parquet", "is a file")):
        with pytest.raises(UserError, match=said):
            opened(tmp_path / folder, tokens)
