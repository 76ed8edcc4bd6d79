"""Reading texts: lines, columns, folders; what is broken is left out, named and counted."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from nearfar.data.texts import MOST_CHARACTERS, TextColumns, TextSource, open_text_splits, open_texts
from nearfar.errors import DataError


def source_of(path: Path, **settings: object) -> TextSource:
    opened = open_texts(path, **settings)
    assert isinstance(opened, TextSource)
    return opened


def test_lines_keep_their_numbers_and_empty_ones_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\r\n\r\n  \ntwo \u2028 parts\n".encode())
    source = source_of(path)
    assert source.texts == [("one",), ("two \u2028 parts",)]
    assert list(source.ids) == ["1", "4"]
    assert [(item.id, item.reason) for item in source.skipped] == [("2", "empty"), ("3", "empty")]
    assert source.labels is None


def test_a_packed_file_of_a_language_reads_alike(tmp_path: Path) -> None:
    path = tmp_path / "train.de.gz"
    path.write_bytes(gzip.compress(b"eins\nzwei\n"))
    assert source_of(path).texts == [("eins",), ("zwei",)]
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(DataError, match=r"train\.de\.gz: cannot be read"):
        open_texts(path)


def test_utf_16_is_told_by_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("grün\nrot\n".encode("utf-16"))
    assert source_of(path).texts == [("grün",), ("rot",)]


def test_a_few_broken_lines_are_left_out_and_many_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    lines = [b"fine"] * 199
    path.write_bytes(b"\n".join([*lines[:5], "grün".encode("latin-1"), *lines[5:]]) + b"\n")
    source = source_of(path)
    assert len(source) == 199
    assert [item.id for item in source.skipped] == ["6"]
    assert source.skipped[0].reason.startswith("not utf-8: ")
    path.write_bytes("grün\nblau\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"got 1 broken: 1 \(not utf-8.*name the encoding"):
        open_texts(path)
    assert source_of(path, encoding="latin-1").texts[0] == ("grün",)
    with pytest.raises(DataError, match="encoding must be known, got 'utf-9'"):
        open_texts(path, encoding="utf-9")


def test_a_line_of_a_megabyte_is_cut_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x" * 1_000_000 + "\nshort\n")
    source = source_of(path)
    assert [len(row[0]) for row in source.texts] == [MOST_CHARACTERS, 5]
    assert source.cut == 1


def test_nothing_but_empty_lines_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n \n\n")
    with pytest.raises(DataError, match="number of rows with text must be >= 1, got 0"):
        open_texts(path)


def test_columns_are_found_by_their_usual_names(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,category,split\n"one, two",b,train\nthree,a,test\n,a,train\n')
    parts = open_text_splits(path)
    whole = parts[""]
    assert isinstance(whole, TextSource)
    assert whole.texts == [("one, two",), ("three",)]
    assert whole.class_names == ("a", "b")
    assert whole.labels is not None
    assert whole.labels.tolist() == [1, 0]
    assert [item.reason for item in whole.skipped] == ["empty"]
    assert set(parts) == {"", "train", "test"}
    assert parts["test"].labels is not None
    assert parts["test"].labels.tolist() == [0]
    assert parts["test"].class_names == ("a", "b")


def test_pairs_triplets_and_scores(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"anchor": "a", "positive": "b", "negative": "c"}\n{"anchor": "d", "positive": "e"}\n')
    with pytest.raises(DataError, match="the score is no number"):
        open_texts(path, columns=TextColumns(("anchor",), score="negative"))
    source = source_of(path)
    assert source.texts == [("a", "b", "c")]
    assert [item.id for item in source.skipped] == ["2"]
    bare = tmp_path / "b.csv"
    bare.write_text("a girl,a boy,2.5\na cat,a dog,1\n")
    source = source_of(bare, columns=TextColumns(("1", "2"), None, "3"))
    assert source.texts == [("a girl", "a boy"), ("a cat", "a dog")]
    assert source.scores is not None
    assert source.scores.tolist() == [2.5, 1.0]
    with pytest.raises(DataError, match=r"columns of texts must be .*found 1, 2, 3"):
        open_texts(bare)
    with pytest.raises(DataError, match="has no column 'txt'"):
        open_texts(bare, columns=TextColumns(("txt",)))


def test_a_score_that_is_no_number_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("sentence1,sentence2,score\n" + "a,b,1\n" * 199 + "c,d,?\n")
    source = source_of(path)
    assert len(source) == 199
    assert source.skipped[0].reason == "the score is no number"


def test_tsv_takes_quotes_as_text_and_short_rows_are_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("text\tlabel\n" + 'say "hi\tx\n' * 150 + "only\n")
    source = source_of(path)
    assert source.texts[0] == ('say "hi',)
    assert source.skipped[0].reason == "1 fields instead of 2"


def test_parquet_and_folders_of_splits(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"sentence": ["one", "two"], "label": ["x", "y"]})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    (tmp_path / "test.csv").write_text("sentence,label\nthree,z\nfour,\n")
    parts = open_text_splits(tmp_path)
    assert set(parts) == {"", "train", "test"}
    assert list(parts[""].ids) == ["test/1", "test/2", "train/1", "train/2"]
    assert parts["train"].class_names == parts["test"].class_names == ("x", "y", "z")
    assert parts["test"].labels is not None
    assert parts["test"].labels.tolist() == [2, -1]
    with pytest.raises(DataError, match=r"split must be one of its splits \(test, train\), got 'dev'"):
        open_texts(tmp_path, split="dev")


def test_folders_of_documents_are_classes(tmp_path: Path) -> None:
    for split, label, text in (("train", "good", "a\nb"), ("train", "bad", "c"), ("test", "bad", "d")):
        folder = tmp_path / split / label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "1.txt").write_text(text)
    parts = open_text_splits(tmp_path)
    whole = parts[""]
    assert isinstance(whole, TextSource)
    assert list(whole.ids) == ["test/bad/1.txt", "train/bad/1.txt", "train/good/1.txt"]
    assert whole.texts[2] == ("a\nb",)
    assert whole.class_names == ("bad", "good")
    assert len(parts["train"]) == 2


def test_python_lists_and_columns() -> None:
    assert open_texts(["a", "b"]).read(1) == ("b",)
    assert open_texts([("a", "b"), ("c", "d")]).read(0) == ("a", "b")
    assert open_texts({"question": ["q"], "answer": ["r"], "label": ["x"]}).read(0) == ("q", "r")
    with pytest.raises(DataError, match="texts a row must be the same number"):
        open_texts([("a", "b"), ("c",)])
    with pytest.raises(DataError, match="data must be a path, a list of texts"):
        open_texts(3)


def test_what_is_not_there_or_not_readable(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be an existing folder or file"):
        open_texts(tmp_path / "no.txt")
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(DataError, match="ending must be one of"):
        open_texts(tmp_path / "a.docx")
    with pytest.raises(DataError, match=r"must be one with train\.csv"):
        open_texts(tmp_path)
    (tmp_path / "a.csv").write_text('text\n"one\n')
    with pytest.raises(DataError, match="cannot be read as CSV"):
        open_texts(tmp_path / "a.csv")


def test_the_fingerprint_follows_texts_labels_and_order() -> None:
    plain = TextSource([("a",), ("b",)], labels=[0, 1])
    assert plain.fingerprint() == TextSource([("a",), ("b",)], labels=[0, 1]).fingerprint()
    others = [
        TextSource([("a",), ("c",)], labels=[0, 1]),
        TextSource([("a",), ("b",)], labels=[1, 0]),
        TextSource([("a", "b"), ("c", "d")]),
        TextSource([("a",), ("b",)], ids=["x", "y"], labels=[0, 1]),
    ]
    assert len({plain.fingerprint(), *(other.fingerprint() for other in others)}) == 5
    assert plain.read_many(np.array([1, 0])) == [("b",), ("a",)]
