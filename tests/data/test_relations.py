"""Files of pairs, triplets, scores and sets: read, wrong, and as the loader's source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nearfar.data import Loader, decode_all, read_relations, take
from nearfar.errors import DataError

FILES = {
    "pairs": (["a", "b", "same"], [["0.png", "1.png", "1"], ["1.png", "2.png", "no"], ["0.png", "3.png", "false"]]),
    "scores": (["a", "b", "score"], [["0.png", "1.png", "4.5"], ["1.png", "2.png", "0"], ["0.png", "3.png", "-1"]]),
    "triplets": (
        ["anchor", "positive", "negative"],
        [["0.png", "1.png", "2.png"], ["3.png", "2.png", "0.png"], ["1.png", "0.png", "3.png"]],
    ),
    "sets": (["path", "labels"], [["0.png", "red;dress"], ["2.png", "red | shirt"], ["1.png", ""]]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n in range(4):
        Image.fromarray(np.full((4, 4, 3), 60 * n, np.uint8)).save(tmp_path / f"{n}.png")
    return tmp_path


def write(folder: Path, header: list[str], rows: list[list[str]], ending: str = ".csv") -> Path:
    path = folder / f"data{ending}"
    if ending == ".parquet":
        pq.write_table(pa.table({name: [row[n] for row in rows] for n, name in enumerate(header)}), path)
    else:
        mark = "\t" if ending == ".tsv" else ","
        path.write_text("\n".join(mark.join(row) for row in [header, *rows]) + "\n")
    return path


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
def test_every_kind_is_read(folder: Path, kind: str, ending: str) -> None:
    found = read_relations(write(folder, *FILES[kind], ending))
    assert found is not None
    assert found.kind == kind
    names = np.array(found.images.ids)[found.rows]
    expected = [row[: found.rows.shape[1]] for row in FILES[kind][1]]
    assert names.tolist() == expected
    assert len(set(found.images.ids)) == len(found.images.ids)
    if kind == "pairs":
        assert found.labels is not None
        assert found.labels.tolist() == [0, 1, 1]
    elif kind == "scores":
        assert found.targets is not None
        assert found.targets.tolist() == [4.5, 0, -1]
    elif kind == "sets":
        assert found.names == ("dress", "red", "shirt")
        assert found.targets is not None
        assert found.targets.tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]


def loaded(folder: Path, kind: str, world: int = 1, rank: int = 0) -> list[Any]:
    found = read_relations(write(folder, *FILES[kind]))
    assert found is not None
    source = found.over(decode_all(found.images, side=4))

    def views(items: Any, rng: np.random.Generator) -> list[Any]:
        import torch

        columns = zip(*items, strict=True) if kind != "sets" else [items]
        return [torch.from_numpy(np.stack(column)) for column in columns]

    return list(Loader(source, views, batch_size=1, seed=3, threads=0, world_size=world, rank=rank))


@pytest.mark.parametrize("kind", FILES)
def test_the_loader_hands_out_rows_with_what_they_say(folder: Path, kind: str) -> None:
    rows = FILES[kind][1]
    batches = loaded(folder, kind)
    assert len(batches) == 3
    for batch in batches:
        row = rows[int(batch.ids[0])]
        width = {"triplets": 3, "sets": 1}.get(kind, 2)
        assert [int(view[0, 0, 0, 0]) // 60 for view in batch.views] == [int(name[0]) for name in row[:width]]
        assert (batch.labels is None) == (kind != "pairs")
        assert (batch.targets is None) == (kind in ("pairs", "triplets"))
    if kind == "scores":
        assert [float(b.targets[0]) for b in batches] == [float(rows[int(b.ids[0])][2]) for b in batches]


def test_rows_with_an_unreadable_image_are_left_out_and_a_limit_draws(folder: Path) -> None:
    found = read_relations(write(folder, *FILES["pairs"]))
    assert found is not None
    images = take(found.images, [row for row, name in enumerate(found.images.ids) if name != "3.png"])
    source = found.over(images)
    assert len(source) == 2
    assert source.labels is not None
    assert source.labels.tolist() == [0, 1]
    assert len(found.over(found.images, 2)) == 2
    assert source.fingerprint() != found.over(found.images).fingerprint()


def test_a_split_is_kept_and_other_files_are_left_alone(folder: Path) -> None:
    header, rows = FILES["pairs"]
    path = write(folder, [*header, "split"], [[*row, "train" if n else "test"] for n, row in enumerate(rows)])
    found = read_relations(path, split="train")
    assert found is not None
    assert len(found.rows) == 2
    assert read_relations(write(folder, ["path", "label"], [["0.png", "x"]])) is None
    assert read_relations(write(folder, ["path", "label"], [["0.png", "x"]], ".parquet")) is None
    assert read_relations(folder) is None
    assert read_relations(np.zeros((2, 2))) is None


@pytest.mark.parametrize(
    ("header", "row", "sentence"),
    [
        (["a", "b", "same"], ["0.png", "1.png", "maybe"], "row 1: same must be 1 or 0"),
        (["a", "b", "score"], ["0.png", "1.png", "nan"], "row 1: score must be a finite number"),
        (["a", "b", "same"], ["0.png", "9.png", "1"], "every image must be an existing file, got '9.png'"),
        (["path", "labels"], ["0.png", " ; "], "labels must be given for some rows"),
    ],
)
def test_wrong_rows_are_one_sentence(folder: Path, header: list[str], row: list[str], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read_relations(write(folder, header, [row]))


def test_a_broken_table_and_an_empty_one_are_one_sentence(folder: Path) -> None:
    path = folder / "data.csv"
    path.write_text("a,b,same\n0.png,1.png\n")
    with pytest.raises(DataError, match="cannot be read as a table"):
        read_relations(path)
    path.write_text("a,b,same\n")
    with pytest.raises(DataError, match="number of rows must be >= 1"):
        read_relations(path)
