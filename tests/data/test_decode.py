from __future__ import annotations

import os

import numpy as np
import pytest

from nearfar.data import ArraySource, decode_all, open_images, take, write_skipped
from nearfar.data.memory import available_bytes, size_text
from nearfar.data.skipped import Skipped, check_skipped
from nearfar.errors import DataError, RunError
from tests.data.pictures import folder_of, noise, save


def test_images_of_one_size_become_one_array(tmp_path):
    source = open_images(folder_of(tmp_path, each=40))
    decoded = decode_all(source)
    assert decoded.where == "memory"
    assert decoded.images.shape == (80, 8, 8, 3)
    assert list(decoded.ids) == list(source.ids)
    assert decoded.labels.tolist() == source.labels.tolist()
    for row in (0, 41, 79):
        np.testing.assert_array_equal(decoded.read(row), source.read(row))
    np.testing.assert_array_equal(decoded.read_many(np.array([3, 1])), decoded.images[[3, 1]])


@pytest.mark.parametrize("threads", [1, 3])
def test_other_sizes_become_a_list(tmp_path, threads):
    for number in range(100):
        save(tmp_path / f"{number:03d}.png", noise(5 + number // 60, 6, seed=number))
    decoded = decode_all(open_images(tmp_path), threads=threads)
    assert decoded.images is None
    for number in (0, 59, 60, 99):
        np.testing.assert_array_equal(decoded.read(number)[..., 0], noise(5 + number // 60, 6, seed=number))
    assert [image.shape for image in decoded.read_many(np.array([99, 0]))] == [(6, 6, 1), (5, 6, 1)]


def test_larger_images_are_resized(tmp_path):
    for number, shape in enumerate([(40, 60, 3), (8, 9, 3), (16, 16, 3)]):
        save(tmp_path / f"{number}.png", noise(*shape))
    decoded = decode_all(open_images(tmp_path), side=16)
    assert [decoded.read(row).shape for row in range(3)] == [(16, 24, 3), (8, 9, 3), (16, 16, 3)]
    array = decode_all(ArraySource(noise(5, 40, 60)), side=10)
    assert array.images.shape == (5, 10, 15, 1)


def test_an_array_is_not_copied():
    images = noise(5, 8, 8, 3)
    assert decode_all(ArraySource(images), side=8).images is images
    part = decode_all(take(ArraySource(images), [4, 2]))
    np.testing.assert_array_equal(part.images, images[[4, 2]])


def spoil(root, *names):
    for name in names:
        (root / name).write_bytes(b"")


@pytest.mark.parametrize("cache", ["memory", "files", "disk"])
def test_broken_files_are_left_out(tmp_path, cache):
    folder_of(tmp_path / "data", each=100)
    spoil(tmp_path / "data", "cat/007.png", "dog/099.png")
    options = (
        {"cache": "disk", "folder": tmp_path / "cache"}
        if cache == "disk"
        else {"limit_bytes": 0 if cache == "files" else None}
    )
    decoded = decode_all(open_images(tmp_path / "data"), **options)
    assert decoded.where == cache
    assert [tuple(item) for item in decoded.skipped] == [
        ("cat/007.png", "the file is empty"),
        ("dog/099.png", "the file is empty"),
    ]
    assert len(decoded) == len(decoded.ids) == len(decoded.labels) == 198
    assert not {"cat/007.png", "dog/099.png"} & set(decoded.ids)
    np.testing.assert_array_equal(decoded.read(7), noise(8, 8, 3, seed=8))
    np.testing.assert_array_equal(np.stack(list(decoded.read_many(np.array([197, 7]))))[0], noise(8, 8, 3, seed=1098))


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_too_many_broken_files_are_an_error(tmp_path, cache):
    folder_of(tmp_path / "data", each=50)
    spoil(tmp_path / "data", "cat/007.png", "dog/009.png")
    source = open_images(tmp_path / "data")
    with pytest.raises(DataError, match=r"100 items must be readable but for 1%, got 2 broken: cat/007.png \(the"):
        decode_all(source, cache=cache, folder=tmp_path / "cache")
    assert not list(tmp_path.glob("cache/*.building"))
    assert len(decode_all(source, most_broken=0.02)) == 98
    for path in (tmp_path / "data").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"100 items must be readable, got none.*; and 97 more; mend or remove them"):
        decode_all(open_images(tmp_path / "data"), cache=cache, folder=tmp_path / "cache")


def test_off_looks_at_nothing(tmp_path):
    folder_of(tmp_path)
    spoil(tmp_path, "cat/000.png")
    decoded = decode_all(open_images(tmp_path), cache="off", side=4)
    assert decoded.where == "files"
    assert len(decoded) == 6
    assert decoded.read(1).shape == (4, 4, 3)


def test_the_limit_holds_when_the_estimate_was_too_low(tmp_path, monkeypatch):
    monkeypatch.setattr("nearfar.data.decode.mean_bytes", lambda source: 1.0)
    source = open_images(folder_of(tmp_path, each=40))
    decoded = decode_all(source, limit_bytes=80 * 192 - 1)
    assert decoded.where == "files"
    assert len(decoded) == 80
    assert decode_all(source, limit_bytes=80 * 192).where == "memory"


def test_size_is_announced(tmp_path, capsys):
    decode_all(open_images(folder_of(tmp_path, each=10)))
    assert "Decoding 20 images: about 4 kB in memory" in capsys.readouterr().err


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="side must be >= 1, got 0"):
        decode_all(ArraySource(noise(2, 2, 2)), side=0)
    with pytest.raises(ValueError, match="cache must be 'memory', 'disk' or 'off', got 'ram'"):
        decode_all(ArraySource(noise(2, 2, 2)), cache="ram")


def test_memory_is_known():
    assert 1 << 20 < available_bytes() < 1 << 50
    assert [size_text(count) for count in (12, 4096, 153_600_000, 12.34e9, 5e13)] == [
        "12 bytes",
        "4 kB",
        "154 MB",
        "12.3 GB",
        "50,000.0 GB",
    ]


class TestSkipped:
    def test_written_whole_or_not_at_all(self, tmp_path):
        file = tmp_path / "skipped.csv"
        write_skipped(file, [Skipped('a "quoted", name.png', "line\nbreak"), Skipped("b", "x")])
        assert file.read_text() == 'id,reason\n"a ""quoted"", name.png","line\nbreak"\nb,x\n'
        with pytest.raises(RunError, match="cannot be written"):
            write_skipped(tmp_path / "missing" / "skipped.csv", [])
        write_skipped(file, [])
        assert file.read_text() == "id,reason\n"
        assert os.listdir(tmp_path) == ["skipped.csv"]  # noqa: PTH208

    def test_one_per_cent(self):
        items = [Skipped(str(number), "x") for number in range(3)]
        check_skipped(items, 300)
        check_skipped([], 1)
        with pytest.raises(DataError):
            check_skipped(items, 299)
        with pytest.raises(DataError):
            check_skipped(items, 3, most=1.0)
