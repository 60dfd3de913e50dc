"""Documents in Parquet and JSON lines, on disk and on a real S3 server."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raycv.data import texts as reading
from raycv.data.texts import Documents, open_documents
from raycv.data.tokenizing import Tokens, ids_of, tokens_of
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
    assert found.documents(np.arange(len(found))) == long
    assert found.documents([5, 0, 5]) == [long[5], long[0], long[5]]
    assert "14 of 62 documents do not have 24 tokens of text" in capsys.readouterr().out


def test_parquet_and_json_lines_on_disk_and_on_s3_are_the_same(store: RunStore, tmp_path: Path, tokens: Tokens) -> None:
    given = documents(40)
    content = io.BytesIO()
    pq.write_table(pa.table({"text": given, "n": range(40)}), content, row_group_size=7)
    store.write("parquet/part-0.parquet", content.getvalue())
    store.write("lines/part-0.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in given).encode())
    for kind in ("parquet", "lines"):
        assert opened(store.locate(kind), tokens).documents(range(40)) == given


def test_the_validation_split_is_taken_where_files_name_splits(tmp_path: Path, tokens: Tokens) -> None:
    write_lines(tmp_path / "data", documents(20), "train-0.jsonl")
    with pytest.raises(UserError, match=r"the training split alone \(train-0.jsonl\)"):
        opened(tmp_path / "data", tokens)
    held_out = documents(17, seed=1)
    write_lines(tmp_path / "data", held_out, "validation-0.jsonl")
    assert opened(tmp_path / "data", tokens).documents(range(17)) == held_out


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
        ('{"text": 3}\n', None, "The column 'text' of .* holds neither texts nor lists of token ids"),
        ('{"text": "a"}\n{"text": 3}\n', None, "'text' is no text in line 2"),
        ('{"text": "a", "n": 1}\n', "body", "has no column 'body'.* it has text, n"),
        ('{"n": 1}\n', None, "has no column 'text'.* it has n"),
        ('{"text": "a", "input_ids": [1]}\n', None, "both the columns 'text' and 'input_ids'"),
        ('{"input_ids": [1]}\n', None, "are token ids, and the networks were set up for texts"),
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
    for column, said in ((None, "'text' of .* holds neither texts nor"), ("words", "has no column 'words'")):
        with pytest.raises(UserError, match=said):
            opened(tmp_path, tokens, column)
    (tmp_path / "empty").mkdir()
    for folder, said in (("empty", "holds no documents"), ("missing", "is not there"), ("a.parquet", "is a file")):
        with pytest.raises(UserError, match=said):
            opened(tmp_path / folder, tokens)


# -- token ids -------------------------------------------------------------------------------------------------------

IDS = ids_of("nowhere", 8, vocabulary=50, padding=(0,))
ROWS: list[dict[str, Any]] = [
    {"input_ids": list(range(n + 1, n + 1 + length)), "attention_mask": [1] * length}
    for n, length in enumerate([10, 8, 7] * 8)
]


def write_rows(folder: Path, rows: list[dict[str, Any]], kind: str) -> Path:
    folder.mkdir(exist_ok=True)
    if kind == "jsonl":
        (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet", row_group_size=5)
    return folder


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_token_ids_are_read_without_their_padding(tmp_path: Path, kind: str, side: str) -> None:
    padded = []
    for row in ROWS:
        more = [0] * (12 - len(row["input_ids"]))
        both = (more, []) if side == "left" else ([], more)
        padded.append({name: both[0] + row[name] + both[1] for name in row})
    found = opened(write_rows(tmp_path / "ids", padded, kind), IDS)
    long = [row["input_ids"] for row in ROWS if len(row["input_ids"]) >= 8]
    assert [np.asarray(document).tolist() for document in found.documents(range(len(found)))] == long
    assert found.largest_id == max(max(ids[:8]) for ids in long)
    sequences = IDS.encode(found.documents([0, 1]))
    assert sequences[:, 0].tolist() == [ids[:8] for ids in long[:2]]
    assert sequences[:, 1, : IDS.samples].tolist() == [list(range(1, 8))] * 2


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"attention_mask": [1] * 9}, "a 0 or 1 for each of the 10 token ids in"),
        ({"attention_mask": [1] * 4 + [0] * 2 + [1] * 4}, "zeros between ones"),
        ({"attention_mask": [1] * 9 + [2]}, "a 0 or 1 for each"),
        ({"attention_mask": None}, "'attention_mask' is no list of whole numbers"),
        ({"input_ids": [1] * 9 + [-4]}, "the token id -4 in"),
        ({"input_ids": [1] * 9 + [2**40]}, "the token id 1099511627776 in"),
        ({"input_ids": [1] * 9 + [None]}, "no list of whole numbers in"),
    ],
)
def test_what_are_no_token_ids_is_refused(tmp_path: Path, kind: str, change: dict[str, Any], said: str) -> None:
    write_rows(tmp_path / "ids", [ROWS[0], {**ROWS[0], **change}, *ROWS], kind)
    where = "row 1 of row group 0" if kind == "parquet" else "line 2 after byte 0"
    with pytest.raises(UserError, match=f"{said}.*{where}|{where}" if said.endswith("in") else said):
        opened(tmp_path / "ids", IDS)


def test_padding_that_nothing_marks_is_refused(tmp_path: Path) -> None:
    rows = [{"input_ids": row["input_ids"]} for row in ROWS]
    assert len(opened(write_rows(tmp_path / "ids", rows, "jsonl"), IDS)) == 16
    short = {"input_ids": [5, 6, 7, 8, 9, 0, 0, 0, 0]}
    with pytest.raises(UserError, match="1 documents of .* begin or end with the token 0 twice"):
        opened(write_rows(tmp_path / "ids", [*rows, short], "jsonl"), IDS)
    marked = [{**row, "attention_mask": [1] * len(row["input_ids"])} for row in [*rows, short]]
    assert len(opened(write_rows(tmp_path / "ids", marked, "jsonl"), IDS)) == 17  # the user says that it is none


def test_files_of_texts_and_of_token_ids_do_not_go_together(tmp_path: Path) -> None:
    write_rows(tmp_path / "ids", ROWS, "parquet")
    pq.write_table(pa.table({"input_ids": ["a"]}), tmp_path / "ids" / "b.parquet")
    with pytest.raises(UserError, match="b.parquet holds documents in another way than the first file"):
        opened(tmp_path / "ids", IDS)


def test_the_user_says_which_of_two_columns_holds_the_documents(tmp_path: Path, tokens: Tokens) -> None:
    texts = documents(20)
    rows = [{"text": text, "input_ids": list(range(1, 11))} for text in texts]
    folder = write_rows(tmp_path / "both", rows, "parquet")
    assert opened(folder, tokens, "text").documents([3]) == [texts[3]]
    assert len(opened(folder, IDS, "input_ids")) == 20
