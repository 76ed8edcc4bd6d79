from __future__ import annotations

import os
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearfar.data import open_images, open_splits
from nearfar.errors import DataError
from tests.data.pictures import folder_of, noise, save


def test_nested_folders_are_classes(tmp_path):
    source = open_images(folder_of(tmp_path, classes=("dog", "cat"), each=2))
    assert source.class_names == ("cat", "dog")
    assert list(source.ids) == ["cat/000.png", "cat/001.png", "dog/000.png", "dog/001.png"]
    assert source.labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(source.read(1), noise(8, 8, 3, seed=1001))


def test_folder_names_of_digits_are_sorted_as_numbers_and_stay_names(tmp_path):
    source = open_images(folder_of(tmp_path, classes=("10", "9", "2"), each=1))
    assert source.class_names == ("2", "9", "10")
    assert source.labels.tolist() == [2, 0, 1]  # by id: 10, 2, 9


def test_a_flat_folder_has_no_labels(tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.png", noise(4, 4))
    source = open_images(tmp_path)
    assert source.labels is None
    assert source.class_names is None
    assert source.read(0).shape == (4, 4, 1)


def test_some_files_without_labels(tmp_path):
    folder_of(tmp_path, each=2)
    save(tmp_path / "loose.png", noise(8, 8, 3))
    save(tmp_path / "unlabelled" / "x.png", noise(8, 8, 3))
    source = open_images(tmp_path)
    assert source.class_names == ("cat", "dog")
    assert dict(zip(source.ids, source.labels.tolist(), strict=True)) == {
        "cat/000.png": 0,
        "cat/001.png": 0,
        "dog/000.png": 1,
        "dog/001.png": 1,
        "loose.png": -1,
        "unlabelled/x.png": -1,
    }


def test_splits_share_channels_and_classes(tmp_path):
    folder_of(tmp_path / "train", classes=("b", "c"), each=2)
    for number in range(2):
        save(tmp_path / "valid" / "c" / f"{number}.png", noise(8, 8))
    parts = open_splits(tmp_path)
    assert {name: len(part) for name, part in parts.items()} == {"": 6, "train": 4, "val": 2}
    assert parts["val"].labels.tolist() == [1, 1]
    assert parts["val"].read(0).shape == (8, 8, 3)
    assert open_images(tmp_path, split="validation").ids == ["valid/c/0.png", "valid/c/1.png"]
    with pytest.raises(DataError, match=r"split must be one of its splits \(train, val\), got 'test'"):
        open_images(tmp_path, split="test")


def test_a_class_called_train_is_no_split(tmp_path):
    source = open_images(folder_of(tmp_path, classes=("car", "train"), each=1))
    assert source.class_names == ("car", "train")


def test_other_files_hidden_files_and_loops_are_ignored(tmp_path):
    folder_of(tmp_path, each=2)
    (tmp_path / "cat" / "notes.txt").write_text("hello")
    (tmp_path / "cat" / "._000.png").write_bytes(b"resource fork")
    save(tmp_path / ".thumbs" / "x.png", noise(4, 4))
    (tmp_path / "cat" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "dog" / "self").symlink_to(tmp_path / "dog", target_is_directory=True)
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert len(open_images(tmp_path)) == 4


def test_a_linked_class_folder_is_read(tmp_path):
    folder_of(tmp_path / "pool", classes=("cat",), each=2)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cats").symlink_to(tmp_path / "pool" / "cat", target_is_directory=True)
    assert open_images(tmp_path / "data").ids == ["cats/000.png", "cats/001.png"]


def test_grey_and_colour_and_depths_become_one_kind(tmp_path):
    save(tmp_path / "a.png", noise(8, 8))
    save(tmp_path / "b.png", noise(8, 8, 3))
    save(tmp_path / "c.png", noise(8, 8, dtype=np.uint16))
    source = open_images(tmp_path)
    assert [(source.read(row).shape, source.read(row).dtype) for row in range(3)] == [((8, 8, 3), np.uint16)] * 3
    grey = open_images(tmp_path, channels=1)
    assert grey.read(1).shape == (8, 8, 1)


def test_listing_is_fast(tmp_path):
    for name in range(20):
        (tmp_path / f"{name}").mkdir()
        for number in range(1000):
            os.close(os.open(tmp_path / f"{name}" / f"{number}.jpg", os.O_CREAT))
    began = time.process_time()
    source = open_images(tmp_path)
    assert time.process_time() - began < 2
    assert len(source) == 20_000


def test_one_file_is_a_source_of_one(tmp_path):
    source = open_images(save(tmp_path / "a.png", noise(4, 5, 3)))
    assert source.ids == ["a.png"]
    assert source.labels is None


def test_names_that_are_no_text(tmp_path):
    (tmp_path / "x").mkdir()
    raw = os.fsencode(tmp_path) + b"/x/caf\xe9.png"
    content = save(tmp_path / "x" / "a.png", noise(4, 4)).read_bytes()
    try:
        with open(raw, "wb") as file:  # noqa: PTH123
            file.write(content)
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    source = open_images(tmp_path)
    assert [text.encode() for text in source.ids] == [b"x/a.png", b"x/caf\\udce9.png"]
    assert source.read(1).shape == (4, 4, 1)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_manifest(tmp_path, ending):
    folder_of(tmp_path / "images", each=2)
    outside = save(tmp_path / "elsewhere" / "x.png", noise(8, 8, 3))
    (tmp_path / "lists").mkdir()
    rows = {
        "path": ["../images/dog/000.png", str(outside), "../images/cat/001.png"],
        "note": ["a", "b", "c"],
        "label": ["dog", None, "cat"],
        "split": ["train", "train", "testing"],
    }
    manifest = tmp_path / "lists" / f"list.{ending}"
    if ending == "parquet":
        pq.write_table(pa.table(rows), manifest)
    else:
        mark = "," if ending == "csv" else "\t"
        lines = [mark.join(rows)] + [
            mark.join(value or "" for value in row) for row in zip(*rows.values(), strict=True)
        ]
        manifest.write_text("\ufeff" + "\n".join(lines) + "\n\n")
    parts = open_splits(manifest)
    whole = parts[""]
    assert list(whole.ids) == rows["path"]
    assert whole.class_names == ("cat", "dog")
    assert whole.labels.tolist() == [1, -1, 0]
    assert parts["train"].labels.tolist() == [1, -1]
    assert list(parts["test"].ids) == ["../images/cat/001.png"]
    np.testing.assert_array_equal(whole.read(1), noise(8, 8, 3))


def test_whole_numbers_in_a_manifest_are_class_numbers(tmp_path):
    folder_of(tmp_path, each=2)
    (tmp_path / "m.csv").write_text("path,label\ncat/000.png,7\ncat/001.png,2.0\ndog/000.png,\ndog/001.png,-1\n")
    source = open_images(tmp_path / "m.csv")
    assert source.labels.tolist() == [7, 2, -1, -1]
    assert source.class_names == tuple("01234567")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the columns must be path and, optionally, label and split, got no path; the file is empty"),
        ("paths,label\na.png,1\n", "did you mean 'paths'"),
        ("path\n", "the number of rows must be >= 1, got 0"),
        ("path,label\ncat/000.png,1\ncat/000.png,1\n", "row 2: path must be in one row only, got 'cat/000.png'"),
        ("path,label\ncat/000.png,1\nno.png,1\n", "row 2: path must be an existing file, got 'no.png'"),
        ("path,label\ncat/000.png\n", "row 1: the number of fields must be 2, got 1"),
        ("path,label\n,1\n", "row 1: path must be given, got nothing"),
        ('path\n"cat/000.png\n', "cannot be read as CSV"),
        ("path\nca\0t\n", ""),
    ],
)
def test_wrong_manifests(tmp_path, text, sentence):
    folder_of(tmp_path)
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        open_images(tmp_path / "m.csv")
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "m.csv"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_parquet(tmp_path):
    (tmp_path / "m.parquet").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        open_images(tmp_path / "m.parquet")


def test_wrong_places(tmp_path):
    with pytest.raises(DataError, match=r"nothing.*: DATA must be an existing folder or file, got neither"):
        open_images(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="must hold at least one image file, got none"):
        open_images(tmp_path / "empty")
    (tmp_path / "x.doc").write_text("hello")
    with pytest.raises(DataError, match=r"a file's ending must be one of .*, got '.doc'"):
        open_images(tmp_path / "x.doc")
    with pytest.raises(DataError, match="data must be a path, an array, a source or a torch data set, got int"):
        open_images(3)


def test_a_folder_without_permission(tmp_path, monkeypatch):
    folder_of(tmp_path)
    scandir = os.scandir

    def refuse(folder):
        if folder.endswith("cat"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"cat: cannot be listed .Permission denied.; check its permissions"):
        open_images(tmp_path)


def test_fingerprint_follows_contents_and_labels(tmp_path):
    folder_of(tmp_path)
    before = open_images(tmp_path).fingerprint()
    assert open_images(tmp_path).fingerprint() == before
    os.utime(tmp_path / "cat" / "000.png", (1, 1))
    changed = open_images(tmp_path).fingerprint()
    assert changed != before
    (tmp_path / "cat").rename(tmp_path / "bird")
    assert open_images(tmp_path).fingerprint() not in (before, changed)


def test_a_split_has_a_fingerprint_of_its_own(tmp_path):
    folder_of(tmp_path / "train")
    folder_of(tmp_path / "test")
    before = {name: part.fingerprint() for name, part in open_splits(tmp_path).items()}
    os.utime(tmp_path / "test" / "cat" / "000.png", (1, 1))
    after = {name: part.fingerprint() for name, part in open_splits(tmp_path).items()}
    assert {name: after[name] == before[name] for name in before} == {"": False, "train": True, "test": False}


def test_npz_with_and_without_splits(tmp_path):
    images, labels = noise(6, 5, 5, 3), np.array([[0], [1], [2], [0], [1], [2]])
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    source = open_images(tmp_path / "a.npz")
    assert source.labels.tolist() == [0, 1, 2, 0, 1, 2]
    np.testing.assert_array_equal(source.read(2), images[2])
    names = np.array(["b", "c", "c", "b"])
    np.savez(
        tmp_path / "b.npz", x_train=images[:4], y_train=names, test_images=images[4:], test_labels=np.array(["c", "a"])
    )
    parts = open_splits(tmp_path / "b.npz")
    assert set(parts) == {"", "train", "test"}
    assert parts["train"].class_names == ("a", "b", "c")
    assert parts["train"].labels.tolist() == [1, 2, 2, 1]
    assert parts["test"].labels.tolist() == [2, 0]
    assert parts[""].ids == ["train/0", "train/1", "train/2", "train/3", "test/0", "test/1"]
    np.testing.assert_array_equal(parts[""].read(4), images[4])
    assert open_images(tmp_path / "b.npz", split="test").labels.tolist() == [2, 0]
    np.savez(tmp_path / "c.npz", something=images, other=np.arange(3))
    assert len(open_images(tmp_path / "c.npz")) == 6


def test_npy_and_channels(tmp_path):
    np.save(tmp_path / "a.npy", noise(4, 6, 7))
    assert open_images(tmp_path / "a.npy").read(0).shape == (6, 7, 1)
    colour = open_images(tmp_path / "a.npy", channels=3)
    assert colour.read(0).shape == (6, 7, 3)
    with pytest.raises(DataError, match="must have 5 channels, got 1"):
        open_images(tmp_path / "a.npy", channels=5)


def test_array_files_that_cannot_be_used(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read as an array file"):
        open_images(tmp_path / "o.npy")
    (tmp_path / "x.npz").write_bytes(b"PK nonsense")
    with pytest.raises(DataError, match="cannot be read as an array file"):
        open_images(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", a=noise(2, 2, 2), b=noise(2, 2, 2))
    with pytest.raises(DataError, match="the images must be under 'images' or 'x'"):
        open_images(tmp_path / "y.npz")
