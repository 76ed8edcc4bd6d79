from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearfar.data import embeddings_writer
from nearfar.data.embeddings import EmbeddingsInfo, count_rows, iterate_embeddings, read_embeddings, read_info
from nearfar.data.embeddings_writer import EmbeddingsWriter
from nearfar.errors import DataError, InputError, RunError
from tests.indexing.samples import names, vectors

INFO = EmbeddingsInfo(6, fingerprint="0123abcd", normalised=True, view="centre crop", source="runs/first, photos")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(embeddings_writer, "PART_ROWS", 10)


def write(path, count=35, labels=True, start=0, **options):
    with EmbeddingsWriter(path, INFO, **options) as writer:
        for first in range(max(start, writer.done), count, 4):
            rows = range(first, min(first + 4, count))
            given = [f"class {row % 3}" if row % 5 else None for row in rows] if labels else None
            writer.write([f"item {row}" for row in rows], vectors(count)[rows.start : rows.stop], given)
    return path


def test_what_is_written_is_read(tmp_path):
    path = write(tmp_path / "emb.parquet")
    rows = read_embeddings(path)
    assert rows.ids == names(35)
    np.testing.assert_array_equal(rows.vectors, vectors(35))
    assert rows.labels == [f"class {row % 3}" if row % 5 else None for row in range(35)]
    assert read_info(path) == INFO
    assert count_rows(path) == 35
    assert [file.name for file in tmp_path.iterdir()] == ["emb.parquet"]


def test_the_layout_is_the_documented_one(tmp_path):
    schema = pq.read_schema(write(tmp_path / "emb.parquet"))
    assert [(f.name, f.type) for f in schema] == [
        ("id", pa.string()),
        ("embedding", pa.list_(pa.float32(), 6)),
        ("label", pa.string()),
    ]
    assert b"nearfar" in schema.metadata


def test_labels_may_be_absent_numbers_or_late(tmp_path):
    assert read_embeddings(write(tmp_path / "none.parquet", labels=False)).labels is None
    with EmbeddingsWriter(tmp_path / "late.parquet", INFO) as writer:
        writer.write(names(20), vectors(20))
        writer.write(names(2, start=20), vectors(2), [np.int64(4), None])
    assert read_embeddings(tmp_path / "late.parquet").labels == [None] * 20 + [4, None]


def test_streams_in_batches(tmp_path):
    path = write(tmp_path / "emb.parquet")
    parts = list(iterate_embeddings(path, batch_size=8))
    assert max(len(part.ids) for part in parts) <= 8
    assert [name for part in parts for name in part.ids] == names(35)


def interrupted(path):
    with EmbeddingsWriter(path, INFO) as writer:
        writer.write(names(24), vectors(35)[:24], ["a"] * 24)
        raise KeyError


def test_an_exception_keeps_the_parts_and_the_next_writer_goes_on(tmp_path):
    path = tmp_path / "emb.parquet"
    with pytest.raises(KeyError):
        interrupted(path)
    assert not path.exists()
    writer = EmbeddingsWriter(path, INFO)
    assert writer.done_ids == names(24)
    writer.write(names(11, start=24), vectors(35)[24:], [None] * 11)
    writer.finish()
    rows = read_embeddings(path)
    assert rows.ids == names(35)
    np.testing.assert_array_equal(rows.vectors, vectors(35))


def test_another_encoder_does_not_continue_the_parts(tmp_path):
    path = tmp_path / "emb.parquet"
    EmbeddingsWriter(path, INFO).write(names(24), vectors(24))
    with pytest.raises(RunError, match=r"must be of fingerprint 'other'.*got fingerprint '0123abcd'"):
        EmbeddingsWriter(path, EmbeddingsInfo(6, fingerprint="other"))
    other = EmbeddingsWriter(path, EmbeddingsInfo(6, fingerprint="other"), overwrite=True)
    assert other.done == 0
    other.finish()
    assert count_rows(path) == 0


def test_a_finished_file_is_kept_unless_told(tmp_path):
    path = write(tmp_path / "emb.parquet")
    with pytest.raises(RunError, match="already exists; choose another name, or overwrite it"):
        EmbeddingsWriter(path, INFO)
    write(path, count=5, overwrite=True)
    assert count_rows(path) == 5


def test_parts_without_their_description_are_not_trusted(tmp_path):
    path = tmp_path / "emb.parquet"
    EmbeddingsWriter(path, INFO).write(names(24), vectors(24))
    (tmp_path / ".emb.parquet.partial" / "info.json").unlink()
    assert EmbeddingsWriter(path, INFO).done == 0
    assert not list((tmp_path / ".emb.parquet.partial").glob("*.parquet"))


def test_a_writer_that_wrote_nothing_stands_in_nobodys_way(tmp_path):
    EmbeddingsWriter(tmp_path / "emb.parquet", INFO)
    assert EmbeddingsWriter(tmp_path / "emb.parquet", EmbeddingsInfo(6, fingerprint="other")).done == 0


def test_damaged_parts_are_said(tmp_path):
    path = tmp_path / "emb.parquet"
    EmbeddingsWriter(path, INFO).write(names(24), vectors(24))
    (tmp_path / ".emb.parquet.partial" / "000000.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match="cannot be continued"):
        EmbeddingsWriter(path, INFO)


KILLED_WRITERS = """
import os, sys
import numpy as np
import pyarrow.parquet
from nearfar.data import embeddings_writer
from nearfar.data.embeddings import EmbeddingsInfo, read_embeddings

embeddings_writer.PART_ROWS = 12
path = sys.argv[1]
x = np.arange(60, dtype=np.float32).reshape(20, 3)
KINDS = ("fsync", "replace", "unlink", "rmdir", "mkdir")
originals = {name: getattr(os, name) for name in KINDS}

def write_and_die(stop):
    steps = 0

    def dying(name):
        def call(*args, **kwargs):
            nonlocal steps
            steps += 1
            if steps == stop:
                os.kill(os.getpid(), 9)
            return originals[name](*args, **kwargs)
        return call

    for name in KINDS:
        setattr(os, name, dying(name))
    with embeddings_writer.EmbeddingsWriter(path, EmbeddingsInfo(3)) as writer:
        for row in range(writer.done, 20):
            writer.write([str(row)], x[row : row + 1], [row])

def in_a_child(work, *args):
    child = os.fork()
    if not child:
        work(*args)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def finish_and_check():
    if not os.path.exists(path):
        write_and_die(0)
    rows = read_embeddings(path)
    assert rows.ids == [str(row) for row in range(20)] and rows.labels == list(range(20))
    assert (rows.vectors == x).all()

for stop in range(1, 60):
    code = in_a_child(write_and_die, stop)
    print(code, int(os.path.exists(path)), flush=True)
    if in_a_child(finish_and_check):
        raise SystemExit("the second attempt failed")
    os.unlink(path)  # and the parts, if any are left, must not spoil the next round
    if code == 0:
        break
"""


def test_killed_at_any_step_it_resumes_to_the_same_file(tmp_path):
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", KILLED_WRITERS, str(tmp_path / "emb.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    codes, finished = zip(*(map(int, line.split()) for line in done.stdout.splitlines()), strict=True)
    assert set(codes[:-1]) == {-9}
    assert codes[-1] == 0
    assert set(finished) == {0, 1}


@pytest.mark.parametrize(
    ("ids", "x", "labels", "message"),
    [
        (["a"], np.ones((1, 5)), None, r"shape must be \(N, 6\), got \(1, 5\)"),
        (["a"], np.ones((2, 6)), None, "ids must be as many as rows, 2, got 1"),
        (["a"], np.ones((1, 6)), ["x", "y"], "labels must be as many as rows"),
        (["a", "b"], np.array([[1] * 6, [np.nan] * 6]), None, "NaN or infinity in row 'b'"),
        (["a"], np.full((1, 6), 1e300), None, "infinity in row 'a'"),
        (["a"], np.ones((1, 6)), [1.5], "got 1.5"),
        (["a"], np.full((1, 6), "x"), None, "a real number's"),
    ],
)
def test_bad_rows_are_refused(tmp_path, ids, x, labels, message):
    writer = EmbeddingsWriter(tmp_path / "emb.parquet", INFO)
    with pytest.raises(InputError, match=message):
        writer.write(ids, x, labels)


@pytest.mark.parametrize("at", [4, 15])
def test_labels_of_two_kinds_are_refused(tmp_path, at):
    def mixed():
        with EmbeddingsWriter(tmp_path / "emb.parquet", INFO) as writer:
            writer.write(names(at), vectors(at), ["a"] * at)
            writer.write(names(8, start=at), vectors(8), [1] * 8)

    with pytest.raises(InputError, match="all text or all whole numbers, got both"):
        mixed()
    assert not (tmp_path / "emb.parquet").exists()


def foreign(tmp_path, **columns):
    path = tmp_path / "foreign.parquet"
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float16(), 2), pa.list_(pa.int8())]
)
@pytest.mark.parametrize("name", ["embedding", "vector", "whatever"])
def test_any_list_column_is_read(tmp_path, kind, name):
    number = np.float16 if kind.value_type == pa.float16() else int
    values = [[number(1), number(2)], [number(3), number(4)]]
    path = foreign(tmp_path, **{name: pa.array(values, kind), "id": [7, 8], "label": [0, None], "other": ["x", "y"]})
    rows = read_embeddings(path)
    assert rows.ids == ["7", "8"]
    assert rows.labels == [0, None]
    assert rows.vectors.dtype == np.float32
    np.testing.assert_array_equal(rows.vectors, np.array(values, np.float32))
    assert read_info(path) == EmbeddingsInfo(2)


def test_numbered_columns_are_read_in_the_order_of_their_numbers(tmp_path):
    path = foreign(tmp_path, **{f"f{i}": [float(i), 10.0 + i] for i in (1, 10, 2, 0, 3, 4, 5, 6, 7, 8, 9)})
    rows = read_embeddings(path)
    np.testing.assert_array_equal(rows.vectors, [np.arange(11), 10 + np.arange(11)])
    assert rows.ids == ["0", "1"]
    assert rows.labels is None


def test_row_numbers_go_on_over_batches(tmp_path):
    path = foreign(tmp_path, embedding=[[1.0]] * 5)
    assert [part.ids for part in iterate_embeddings(path, 2)] == [["0", "1"], ["2", "3"], ["4"]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1], "b": [2]}, r"a list column 'embedding' or columns f0, f1, ... of numbers, got columns a, b"),
        ({"f0": [1.0], "f2": [2.0]}, "columns f0, f2"),
        ({"f0": ["x"]}, "columns f0"),
        ({"embedding": ["text"]}, "columns embedding"),
        ({"x": [[1.0]], "y": [[2.0]]}, "columns x, y"),
        ({"embedding": [[1.0, 2.0], [3.0]]}, "2 numbers, like the first, got 1 in row 1"),
        ({"embedding": [[1.0, 2.0], None]}, "got 0 in row 1"),
        ({"embedding": [[1.0], [2.0], [np.nan]], "id": ["a", "b", "c"]}, r"in row 2 \(id 'c'\)"),
        ({"embedding": [[1.0], [None]]}, "in row 1"),
        ({"embedding": [[1.0], [1e300]]}, "in row 1"),
        ({"f0": [1.0, None]}, "in row 1"),
        ({"embedding": pa.array([[]], pa.list_(pa.float32()))}, "one number or more"),
        ({"embedding": [[1.0]], "id": [1.5]}, "column 'id' must be text or whole numbers"),
        ({"embedding": [[1.0], [2.0]], "id": ["a", None]}, "without gaps, got 1 nulls"),
        ({"embedding": [[1.0]], "label": [1.5]}, "column 'label' must be text or whole numbers"),
    ],
)
def test_other_files_are_one_sentence(tmp_path, columns, message):
    path = foreign(tmp_path, **columns)
    with pytest.raises(DataError, match=message) as caught:
        read_embeddings(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_unreadable_files_are_one_sentence(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_embeddings(tmp_path / "nowhere.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_embeddings(tmp_path / "text.parquet")
    whole = write(tmp_path / "emb.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_embeddings(tmp_path / "cut.parquet")
    with pytest.raises(DataError, match="cannot be read"):
        read_embeddings(tmp_path)
    with pytest.raises(DataError, match="of one row or more"):
        read_embeddings(foreign(tmp_path, embedding=pa.array([], pa.list_(pa.float32(), 3))))


def test_a_later_version_is_refused(tmp_path):
    table = pq.read_table(write(tmp_path / "emb.parquet"))
    text = table.schema.metadata[b"nearfar"].replace(b'"format": 1', b'"format": 99')
    pq.write_table(table.replace_schema_metadata({"nearfar": text}), tmp_path / "new.parquet")
    with pytest.raises(DataError, match="format must be <= 1, got 99; install a newer nearfar"):
        read_embeddings(tmp_path / "new.parquet")
    pq.write_table(table.replace_schema_metadata({"nearfar": "{}"}), tmp_path / "odd.parquet")
    with pytest.raises(DataError, match="metadata"):
        read_info(tmp_path / "odd.parquet")
