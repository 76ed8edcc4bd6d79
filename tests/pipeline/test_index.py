"""Building indexes from files: metadata, thumbnails, and going on where a build was stopped."""

from __future__ import annotations

import datetime
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import nearfar
from nearfar.data.items import iterate_items, metadata_columns
from nearfar.errors import DataError, InputError, RunError
from nearfar.indexing import open_index
from nearfar.pipeline import index as module


def vectors(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


@pytest.fixture
def parquet(tmp_path):
    count = 500
    columns = {
        "id": [f"{row}" for row in range(count)],
        "embedding": pa.array(vectors(count).tolist(), pa.list_(pa.float32(), 4)),
        "label": [f"class {row % 3}" for row in range(count)],
        "price": [row / 2 if row % 5 else None for row in range(count)],
        "brand": pa.array(["xyz"[row % 3] for row in range(count)]).dictionary_encode(),
        "day": [datetime.date(2026, 1, 1 + row % 28) for row in range(count)],
        "tags": [["a", "b"][: row % 3] for row in range(count)],
        "odd": [float("nan") if row % 2 else 2.0**60 for row in range(count)],
        "blob": [b"x"] * count,
        "thumbnail": [b"\x89PNG" if row % 2 else None for row in range(count)],
    }
    pq.write_table(pa.table(columns), tmp_path / "items.parquet", row_group_size=90)
    return tmp_path / "items.parquet"


def test_items_are_read_from_any_row(parquet):
    whole = list(iterate_items(parquet, 64))
    ids = [name for part in whole for name in part.rows.ids]
    assert ids == [str(row) for row in range(500)]
    for start in (0, 1, 89, 90, 91, 250, 499, 500):
        parts = list(iterate_items(parquet, 64, start=start))
        assert [name for part in parts for name in part.rows.ids] == ids[start:]
        if parts:
            np.testing.assert_array_equal(parts[0].rows.vectors[0], vectors(500)[start])
    assert whole[0].metadata[6] == {"price": 3.0, "brand": "x", "day": "2026-01-07", "tags": [], "odd": 2.0**60}
    assert whole[0].metadata[5] == {"brand": "z", "day": "2026-01-06", "tags": ["a", "b"]}
    assert whole[0].thumbnails[:2] == [None, b"\x89PNG"]
    assert metadata_columns(parquet)[1] == ["blob"]


@pytest.mark.parametrize("backend", ["faiss", "lance"])
def test_other_columns_become_metadata(parquet, tmp_path, backend):
    built = nearfar.index(parquet, out=tmp_path / "index", backend=backend)
    assert built.count == 500
    built.close()
    results = nearfar.search(tmp_path / "index", "7", k=4, where="brand = 'y' and price < 50", within=1.9)
    assert {int(hit.id) % 3 for hit in results.hits} == {1}
    assert all(int(hit.id) < 100 and hit.distance <= 1.9 for hit in results.hits)
    with open_index(tmp_path / "index") as index:
        assert index.get(["1", "2"], thumbnails=True).thumbnails == [b"\x89PNG", None]
        assert index.matching({"day": {">=": "2026-01-28"}}) == 17
    with pytest.raises(InputError, match="must be understood"):
        nearfar.search(tmp_path / "index", "7", where="brand = 'y'; drop table x")


class StoppedError(Exception):
    pass


def test_a_stopped_build_goes_on(parquet, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 45)
    read = iterate_items

    def stopping(*args, **kwargs):
        for number, part in enumerate(read(*args, **kwargs)):
            if number == 3:
                raise StoppedError
            started.append(part.rows.ids[0])
            yield part

    out, started = tmp_path / "index", []
    with monkeypatch.context() as patch:
        patch.setattr(module, "iterate_items", stopping)
        for _ in range(2):
            with pytest.raises(StoppedError):
                nearfar.index(parquet, out=out, backend="lance")
            with pytest.raises(RunError, match="is not finished; give the command"):
                open_index(out)
    assert started == ["0", "45", "90", "135", "180", "225"]
    other = tmp_path / "other.parquet"
    pq.write_table(pq.read_table(parquet).slice(0, 400), other)
    with pytest.raises(RunError, match="unfinished index must be of the same file"):
        nearfar.index(other, out=out, backend="lance")
    built = nearfar.index(parquet, out=out, backend="lance")
    assert list(built.ids) == [str(row) for row in range(500)]
    np.testing.assert_array_equal(built.get(["499"]).vectors, vectors(500)[499:])
    built.close()
    with pytest.raises(RunError, match="already exists"):
        nearfar.index(parquet, out=out, backend="lance")
    nearfar.index(other, out=out, backend="lance", overwrite=True).close()
    with open_index(out) as index:
        assert index.count == 400


def test_an_id_that_stands_twice_is_said(tmp_path):
    x = pa.array(vectors(300).tolist(), pa.list_(pa.float32(), 4))
    names = [f"{row % 299}" for row in range(300)]
    pq.write_table(pa.table({"id": names, "embedding": x}), tmp_path / "twice.parquet")
    for backend in ("exact", "lance"):
        with pytest.raises(InputError, match="'0' "):
            nearfar.index(tmp_path / "twice.parquet", out=tmp_path / backend, backend=backend)
    pq.write_table(pa.table({"id": pa.array([], pa.string()), "embedding": x[:0]}), tmp_path / "none.parquet")
    with pytest.raises(DataError, match=r"one row or more|one number or more"):
        nearfar.index(tmp_path / "none.parquet", out=tmp_path / "none", backend="lance")
    assert not (tmp_path / "none").exists()


def test_thumbnails_are_small_pictures_of_the_items(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (400, 300), (100 * number, 0, 0)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"x")
    names = ["0.png", "1.png", "2.png", "broken.png", "elsewhere.png"]
    x = pa.array(vectors(5).tolist(), pa.list_(pa.float32(), 4))
    pq.write_table(pa.table({"id": names, "embedding": x}), tmp_path / "items.parquet")
    built = nearfar.index(tmp_path / "items.parquet", out=tmp_path / "index", backend="lance", thumbnails=folder)
    shown = built.get(names, thumbnails=True).thumbnails
    assert [picture is None for picture in shown] == [False, False, False, True, True]
    picture = Image.open(io.BytesIO(shown[2]))
    assert (picture.format, picture.size) == ("JPEG", (128, 96))
    assert abs(picture.getpixel((5, 5))[0] - 200) < 8
