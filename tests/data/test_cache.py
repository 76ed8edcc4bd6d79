from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from nearfar.data import ArraySource, DatasetSource, decode_all, open_images
from nearfar.data import cache as cache_module
from nearfar.errors import DataError, RunError
from tests.data.pictures import folder_of, noise, save

BUILDERS = """
import os, random, signal, sys, time
from pathlib import Path
import nearfar.data.cache as cache
from nearfar.data import decode_all, open_images
from nearfar.data.images import FileSource

cache._SHARD_BYTES = 4000
read = FileSource.read

def slow(self, index, **options):
    time.sleep(0.004)
    return read(self, index, **options)

FileSource.read = slow
what, data, folder = sys.argv[1:]

def start():
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        code = 0 if len(decode_all(open_images(data), cache="disk", folder=folder, threads=2)) == 400 else 2
    finally:
        os._exit(code)

def shards():
    return len(list(Path(folder).glob("*/*.parquet")))

if what == "together":
    builders = [start(), start()]
    print(*(os.waitpid(pid, 0)[1] for pid in builders))
else:
    rng = random.Random(0)
    for _ in range(5):
        pid, before = start(), shards()
        while shards() == before:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        os.kill(pid, signal.SIGKILL)
        print(os.waitpid(pid, 0)[1], shards() - before)
"""
"""Builders as processes of their own; each starts with everything imported, since it is forked."""


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(cache_module, "_SHARD_BYTES", 4000)


def on_disk(source, folder, **options):
    return decode_all(source, cache="disk", folder=folder, **options)


def count_reads(monkeypatch):
    """Count the images that are decoded from now on."""
    from nearfar.data.images import FileSource

    reads = []
    read = FileSource.read
    monkeypatch.setattr(FileSource, "read", lambda self, index, **o: (reads.append(index), read(self, index, **o))[1])
    return reads


def assert_same(decoded, source):
    assert list(decoded.ids) == list(source.ids)
    assert decoded.labels.tolist() == source.labels.tolist()
    for row in range(len(source)):
        np.testing.assert_array_equal(decoded.read(row), source.read(row))


@pytest.mark.usefixtures("small_shards")
def test_built_once_and_found_again(tmp_path, monkeypatch):
    source = open_images(folder_of(tmp_path / "data", each=40))
    built = on_disk(source, tmp_path / "cache")
    assert built.where == "disk"
    assert len(list(tmp_path.glob("cache/*/*.bin"))) == 4
    assert_same(built, source)
    assert built.read_many(np.array([5, 60])).shape == (2, 8, 8, 3)
    reads = count_reads(monkeypatch)
    again = on_disk(open_images(tmp_path / "data"), tmp_path / "cache")
    assert not reads
    assert again.read(33).flags.writeable
    assert again.fingerprint() == built.fingerprint() is not None


@pytest.mark.usefixtures("small_shards")
def test_all_kinds_of_images(tmp_path):
    for number in range(30):
        save(tmp_path / "data" / "a" / f"{number}.png", noise(4 + number, 7, seed=number, dtype=np.uint16))
    source = open_images(tmp_path / "data")
    cached = on_disk(source, tmp_path / "cache", side=6)
    plain = decode_all(source, side=6)
    for row in range(30):
        assert cached.read(row).dtype == np.uint16
        np.testing.assert_array_equal(cached.read(row), plain.read(row))
    assert isinstance(cached.read_many(np.arange(30)), list)


def test_what_changes_is_built_anew(tmp_path, monkeypatch):
    folder_of(tmp_path / "data", each=5)
    on_disk(open_images(tmp_path / "data"), tmp_path / "cache")
    save(tmp_path / "data" / "cat" / "002.png", noise(8, 8, 3, seed=99))
    changed = on_disk(open_images(tmp_path / "data"), tmp_path / "cache")
    np.testing.assert_array_equal(changed.read(2), noise(8, 8, 3, seed=99))
    reads = count_reads(monkeypatch)
    on_disk(open_images(tmp_path / "data"), tmp_path / "cache", side=4)
    assert set(reads) == set(range(10))


@pytest.mark.parametrize(
    "harm", ["shorten", "lose a table", "spoil a table", "lose the pixels", "another format", "spoil the end"]
)
@pytest.mark.usefixtures("small_shards")
def test_a_spoilt_cache_is_not_trusted(tmp_path, harm, monkeypatch):
    source = open_images(folder_of(tmp_path / "data", each=40))
    on_disk(source, tmp_path / "cache")
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    pixels, table, end = folder / "00001.bin", folder / "00002.parquet", folder / "cache.json"
    if harm == "shorten":
        pixels.write_bytes(pixels.read_bytes()[:-1])
    elif harm == "lose a table":
        table.unlink()
    elif harm == "spoil a table":
        table.write_bytes(table.read_bytes()[: table.stat().st_size // 2])
    elif harm == "lose the pixels":
        pixels.unlink()
    elif harm == "another format":
        end.write_text(end.read_text().replace('"format": 1', '"format": 0'))
    else:
        end.write_text("{")
    reads = count_reads(monkeypatch)
    again = on_disk(source, tmp_path / "cache")
    assert set(reads) == set(range(80))
    assert_same(again, source)


def builders(what, data, folder):
    """Run builders and return what was printed about them, a row a line."""
    command = [sys.executable, "-c", BUILDERS, what, str(data), str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return [[int(word) for word in line.split()] for line in done.stdout.splitlines()]


@pytest.mark.usefixtures("small_shards")
def test_killed_builders_leave_nothing_that_is_trusted_wrongly(tmp_path, monkeypatch):
    source = open_images(folder_of(tmp_path / "data", each=200))
    killed = builders("killed", tmp_path / "data", tmp_path / "cache")
    assert [status for status, _ in killed] == [signal.SIGKILL] * 5
    finished = sum(shards for _, shards in killed)
    assert 5 <= finished < 20
    assert not list(tmp_path.glob("cache/*/cache.json"))
    reads = count_reads(monkeypatch)
    cached = on_disk(source, tmp_path / "cache")
    assert 0 < len(set(reads)) < 400  # finished shards are not decoded again
    assert_same(cached, source)
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    assert not list(folder.glob(".*"))


def test_two_builders_at_once_make_one_cache(tmp_path, monkeypatch):
    folder_of(tmp_path / "data", each=200)
    assert builders("together", tmp_path / "data", tmp_path / "cache") == [[0, 0]]
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == ["", ".lock"]
    source = open_images(tmp_path / "data")
    reads = count_reads(monkeypatch)
    cached = on_disk(source, tmp_path / "cache")
    assert not reads
    assert_same(cached, source)


def test_an_array_is_cached_by_its_pixels(tmp_path):
    images = noise(6, 20, 20, 3)
    first = on_disk(ArraySource(images), tmp_path, side=10)
    assert first.read(0).shape == (10, 10, 3)
    on_disk(ArraySource(images.copy()), tmp_path, side=10)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1
    images[5] ^= 255
    on_disk(ArraySource(images), tmp_path, side=10)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2


def test_clear_errors(tmp_path, monkeypatch):
    source = open_images(folder_of(tmp_path / "data"))
    with pytest.raises(DataError, match="cache must be 'memory' or 'off' for a torch data set, got 'disk'"):
        on_disk(DatasetSource([noise(4, 4), noise(4, 4)]), tmp_path / "cache")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot be used for a cache"):
        on_disk(source, tmp_path / "file")
    full = os.statvfs("/")  # any answer; only the number of free bytes is looked at
    monkeypatch.setattr(
        cache_module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10, "total": full.f_bsize})
    )
    with pytest.raises(RunError, match="the free space must be 1 kB for the decoded images, got 10 bytes; free some"):
        on_disk(source, tmp_path / "cache")


def test_a_full_disk_is_one_sentence_and_leaves_nothing_trusted(tmp_path, monkeypatch):
    source = open_images(folder_of(tmp_path / "data"))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match=r"cannot be written .No space left on device.; free some space"):
            on_disk(source, tmp_path / "cache")
    assert not list(tmp_path.glob("cache/*/cache.json"))
    assert_same(on_disk(source, tmp_path / "cache"), source)


def test_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("NEARFAR_CACHE", str(tmp_path / "a"))
    assert cache_module.default_folder() == tmp_path / "a"
    monkeypatch.delenv("NEARFAR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_module.default_folder() == tmp_path / "nearfar" / "decoded"
