from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from nearfar.data import Loader, Nearby, decode_all, open_images, open_splits
from nearfar.errors import DataError
from tests.data.pictures import noise


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_tar(path, samples, mode="w"):
    """Write (name, content) pairs."""
    with tarfile.open(path, mode) as tar:
        for name, content in samples:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def samples(start, count, labels=True):
    for row in range(start, start + count):
        if labels:
            yield f"s{row:03d}.cls", str(row % 3).encode()
        yield f"s{row:03d}.png", png(noise(6, 5, 3, seed=row))
        yield f"s{row:03d}.json", b"{}"


def write_parquet(path, start, count, *, struct=False, names=None, group=4):
    images = [png(noise(6, 5, 3, seed=row)) for row in range(start, start + count)]
    values = [{"bytes": image, "path": None} for image in images] if struct else images
    table = pa.table({"image": values, "label": [row % 3 for row in range(start, start + count)]})
    if names:
        info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, path, row_group_size=group)
    return path


def check(source, start, count):
    assert len(source) == count
    assert source.labels.tolist() == [row % 3 for row in range(start, start + count)]
    for row in range(count):
        np.testing.assert_array_equal(source.read(row), noise(6, 5, 3, seed=start + row))


def test_a_folder_of_tar_files_with_splits(tmp_path):
    write_tar(tmp_path / "train-0000.tar", samples(0, 7))
    write_tar(tmp_path / "train-0001.tar", samples(7, 5))
    write_tar(tmp_path / "test-0000.tar", samples(12, 4))
    parts = open_splits(tmp_path)
    assert set(parts) == {"", "train", "test"}
    check(parts["train"], 0, 12)
    check(parts["test"], 12, 4)
    assert parts["train"].ids[6:8] == ["train-0000/s006", "train-0001/s007"]
    assert parts["train"].class_names == ("0", "1", "2")
    assert open_images(tmp_path / "test-0000.tar").read(0, side=3).shape == (4, 3, 3)


def test_folders_in_a_tar_file_and_missing_labels(tmp_path):
    files = [
        ("a/x.png", png(noise(4, 4))),
        ("b/x.png", png(noise(4, 4, seed=1))),
        ("b/x.cls", b"5"),
        ("b/.hidden", b""),
    ]
    source = open_images(write_tar(tmp_path / "a.tar", files))
    assert source.ids == ["a/a/x", "a/b/x"]
    assert source.labels.tolist() == [-1, 5]


@pytest.mark.parametrize("struct", [False, True])
def test_parquet_with_images(tmp_path, struct):
    write_parquet(tmp_path / "train-00000-of-00002.parquet", 0, 10, struct=struct, names=["x", "y", "z"])
    write_parquet(tmp_path / "train-00001-of-00002.parquet", 10, 6, struct=struct)
    source = open_images(tmp_path, split="train")
    check(source, 0, 16)
    assert source.class_names == ("x", "y", "z")
    assert source.ids[11] == "train-00001-of-00002/1"


def test_shards_behind_a_url(tmp_path):
    import fsspec

    system = fsspec.filesystem("memory")
    system.mkdirs("/nearfar-shards", exist_ok=True)
    system.pipe("/nearfar-shards/a.tar", write_tar(tmp_path / "a.tar", samples(0, 5)).read_bytes())
    try:
        check(open_images("memory://nearfar-shards"), 0, 5)
        check(open_images("memory://nearfar-shards/a.tar"), 0, 5)
        with pytest.raises(DataError, match="cannot be listed"):
            open_images("memory://nowhere-at-all")
    finally:
        system.rm("/nearfar-shards", recursive=True)
    with pytest.raises(DataError, match=r"cannot be listed \(Protocol not known"):
        open_images("nosuchscheme://x/y")


def test_through_the_cache_and_the_loader(tmp_path):
    write_parquet(tmp_path / "a.parquet", 0, 30)
    source = open_images(tmp_path / "a.parquet")
    decoded = decode_all(source, cache="disk", folder=tmp_path / "cache")
    check(decoded, 0, 30)
    assert decode_all(source, side=3).images.shape == (30, 4, 3, 3)

    def views(images, rng):
        return [torch.from_numpy(np.stack(list(images)))]

    loaders = [
        Loader(source, views, batch_size=4, drop_last=False, buffer=8, threads=threads, rank=rank, world_size=2)
        for threads, rank in ((0, 0), (3, 0), (2, 1))
    ]
    alone, same, other = ([batch.ids.tolist() for batch in loader] for loader in loaders)
    assert alone == same
    assert sorted(sum(alone + other, [])) == list(range(30))  # noqa: RUF017


def test_broken_images_in_shards_are_skipped(tmp_path):
    files = [*samples(0, 3), ("bad.png", b"nonsense")]
    decoded = decode_all(open_images(write_tar(tmp_path / "a.tar", files)), most_broken=0.5)
    assert [tuple(item) for item in decoded.skipped] == [("a/bad", "not an image, or of an unknown format")]
    table = pa.table({"image": [png(noise(4, 4)), None, png(noise(4, 4))]})
    pq.write_table(table, tmp_path / "b.parquet")
    decoded = decode_all(open_images(tmp_path / "b.parquet"), most_broken=0.5)
    assert [tuple(item) for item in decoded.skipped] == [("b/1", "the file is empty")]


def test_shards_that_cannot_be_used(tmp_path):
    whole = write_tar(tmp_path / "a.tar", samples(0, 3)).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 4])
    write_tar(tmp_path / "zip.tar", samples(0, 3), "w:gz")
    write_tar(tmp_path / "none.tar", [("a.txt", b"hello")])
    for name, sentence in [
        ("cut", "cannot be read as a tar file|must be whole"),
        ("zip", "shards must be plain, uncompressed tar files"),
        ("none", "a shard's images must be >= 1, got 0"),
    ]:
        with pytest.raises(DataError, match=sentence):
            open_images(tmp_path / f"{name}.tar")
    write_parquet(tmp_path / "b.parquet", 0, 2)
    with pytest.raises(DataError, match=r"all .tar, all .parquet or all .lance, got .parquet and .tar"):
        open_images(tmp_path)


def test_nearby_order_visits_all_and_stays_near():
    order = Nearby(1000, buffer=64, seed=0)
    rows = order.rows(3)
    assert sorted(rows) == list(range(1000))
    assert rows.tolist() == order.rows(3).tolist() != order.rows(4).tolist()
    for at in range(0, 1000 - 64, 50):
        blocks = {row // 4 for row in rows[at : at + 64]}
        assert len(blocks) <= 40  # of four rows each; in a full shuffle 64 visits touch 57 of the 250
    # Neighbours in storage do not stay neighbours, and the whole is mixed.
    assert np.mean(np.abs(np.diff(rows)) == 1) < 0.1
    assert abs(np.corrcoef(rows, np.arange(1000))[0, 1]) < 0.3
