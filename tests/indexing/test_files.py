from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from nearfar.errors import RunError
from nearfar.indexing import create, open_index
from tests.indexing.samples import names, vectors


@pytest.fixture
def folder(tmp_path):
    index = create(6)
    index.add(names(20), vectors(20), ["x"] * 20)
    index.save(tmp_path / "index")
    return tmp_path / "index"


def change_card(folder, **changes):
    card = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**card, **changes}))


def data_file(folder, start):
    return next(file for file in folder.iterdir() if file.name.startswith(start))


def test_a_missing_or_foreign_folder_is_one_sentence(tmp_path):
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(RunError, match="holds no finished index"):
            open_index(path)
    (tmp_path / "index.json").write_text('{"kind": "something"}')
    with pytest.raises(RunError, match="the description of a nearfar index"):
        open_index(tmp_path)
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        open_index(tmp_path)


def test_a_later_version_is_refused_by_open_and_save(folder):
    change_card(folder, format=99, nearfar="9.9")
    with pytest.raises(RunError, match=r"format must be <= 2, got 99 \(written by nearfar 9.9\); install a newer"):
        open_index(folder)
    with pytest.raises(RunError, match="install a newer"):
        create(6).save(folder)


@pytest.mark.parametrize("start", ["vectors-", "rows-"])
def test_truncation_corruption_and_loss_are_said(folder, start):
    file = data_file(folder, start)
    content = file.read_bytes()
    file.write_bytes(content[:-10])
    with pytest.raises(RunError, match=rf"is a damaged index \({start}.* bytes instead of {len(content)}\)"):
        open_index(folder)
    file.write_bytes(content[:-10] + bytes(10 * [255]))
    with pytest.raises(RunError, match="another checksum"):
        open_index(folder)
    file.unlink()
    with pytest.raises(RunError, match="damaged"):
        open_index(folder)


@pytest.mark.parametrize("change", [{"dim": 7}, {"count": 19}, {"metric": "l7"}, {"files": {}}, {"files": 3}])
def test_a_card_that_does_not_fit_is_said(folder, change):
    change_card(folder, **change)
    with pytest.raises(RunError, match="is a damaged index"):
        open_index(folder)


def test_no_file_outside_the_folder_is_opened(folder, tmp_path):
    (tmp_path / "secret.npy").write_bytes(data_file(folder, "vectors-").read_bytes())
    card = json.loads((folder / "index.json").read_text())
    card["files"]["vectors"]["name"] = "../secret.npy"
    (folder / "index.json").write_text(json.dumps(card))
    with pytest.raises(RunError, match="is no name of a data file"):
        open_index(folder)


def test_pickles_are_not_read(folder):
    card = json.loads((folder / "index.json").read_text())
    file = data_file(folder, "vectors-")
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    import zlib

    card["files"]["vectors"] |= {"bytes": file.stat().st_size, "crc32": zlib.crc32(file.read_bytes())}
    (folder / "index.json").write_text(json.dumps(card))
    with pytest.raises(RunError, match=r"damaged.*allow_pickle"):
        open_index(folder)


def test_an_uninstalled_back_end_is_said(folder):
    change_card(folder, backend="lanse")
    with pytest.raises(RunError, match="back end that is not installed"):
        open_index(folder)


def test_save_refuses_a_folder_of_something_else(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(RunError, match=r"empty or an index, got one with \['holiday.jpg'\]"):
        create(6).save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["holiday.jpg"]
    with pytest.raises(RunError, match="cannot be made a folder"):
        create(6).save(tmp_path / "holiday.jpg")


def test_saving_again_replaces_and_leaves_nothing_behind(folder):
    index = open_index(folder)
    index.remove(names(5))
    index.save(folder)
    assert open_index(folder).count == 15
    assert len(list(folder.iterdir())) == 3


KILLED_SAVES = """
import os, sys
from nearfar.indexing import open_index

folder = sys.argv[1]
KINDS = ("fsync", "replace", "unlink")
originals = {name: getattr(os, name) for name in KINDS}

def save_and_die(stop):
    index = open_index(folder)
    index.remove([index.ids[0]])
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
    index.save(folder)
    os._exit(0)

for stop in range(1, 40):
    child = os.fork()
    if not child:
        save_and_die(stop)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code, open_index(folder).count, flush=True)
    if code == 0:
        break
"""


def test_killed_at_any_step_the_old_or_the_new_index_stands(folder):
    command = [sys.executable, "-W", "ignore", "-c", KILLED_SAVES, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    codes, counts = zip(*(map(int, line.split()) for line in done.stdout.splitlines()), strict=True)
    assert codes[:-1] == (-9,) * (len(codes) - 1)
    assert codes[-1] == 0
    lost = [before - after for before, after in zip((20, *counts), counts, strict=False)]
    assert set(lost) == {0, 1}  # every save took one away or did nothing at all
    assert lost[0] == 0
    assert lost[-1] == 1
    assert len(list(folder.iterdir())) == 3  # and the last one swept up after those that were killed


def test_a_full_disk_leaves_the_old_index(folder, monkeypatch):
    index = open_index(folder)
    index.remove(names(5))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(RunError, match="No space left on device"):
            index.save(folder)
    assert open_index(folder).count == 20
    assert len(list(folder.iterdir())) == 3


def test_importing_needs_neither_torch_nor_faiss():
    code = (
        "import sys, nearfar.indexing, nearfar.searching;"
        "print([m for m in ('torch', 'faiss', 'torchvision', 'timm', 'lightning') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
