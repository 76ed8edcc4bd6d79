"""Several writers, full disks, damaged tables: said in one sentence, and nothing is lost or half there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from nearfar.errors import ConfigError, InputError, NearfarError, RunError
from nearfar.indexing import create, open_index
from tests.indexing import places
from tests.indexing.places import LASTING, new
from tests.indexing.samples import names, vectors

lasting = pytest.mark.parametrize("backend", LASTING)


def one_sentence(caught):
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 900
    return text


@pytest.mark.parametrize("backend", ["lance", "pgvector"])
def test_two_writers_take_turns_and_see_each_other(backend):
    first = new(6, backend=backend)
    second = open_index(first.path)
    failures = []

    def write(index, start):
        for step in range(12):
            index.add(names(3, start=start + 3 * step), vectors(3, seed=start + step))
            try:
                index.add([f"shared {step}"], vectors(1))
            except InputError:
                failures.append(step)

    threads = [threading.Thread(target=write, args=pair) for pair in ((first, 0), (second, 1000))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(failures) == list(range(12))  # the same id from both: one of them was refused
    for index in (first, second):
        assert index.count == 2 * 36 + 12
        assert set(names(36)) | set(names(36, start=1000)) < set(index.ids)
    second.remove(["item 0"])
    assert "item 0" not in first
    assert first.search(vectors(1, seed=0)[:1], 84).ids == second.search(vectors(1, seed=0)[:1], 84).ids
    second.upsert(["item 1"], vectors(1, seed=77))
    assert first.search(vectors(1, seed=77), 1).ids == [["item 1"]]
    second.calibration = {"cut": 1}
    assert open_index(first.path).calibration == {"cut": 1}


def test_the_embedded_milvus_belongs_to_one_process():
    index = new(6, backend="milvus")
    index.add(names(3), vectors(3))
    code = (
        "import sys; from nearfar.indexing import open_index; from nearfar.errors import RunError\n"
        "try: open_index(sys.argv[1])\n"
        "except RunError as error: print(error)"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(index.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "no other process has it open" in done.stdout
    index.close()
    with open_index(index.path) as again:
        assert again.count == 3


FULL = """
import resource, signal, sys
import numpy as np
import nearfar.indexing.measure
from nearfar.errors import RunError
from nearfar.indexing import create, open_index

path, backend = sys.argv[1:]
index = open_index(path)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
try:
    index.add([f"more {row}" for row in range(5000)], np.ones((5000, 6)))
    index.save()
    print("written")
except RunError as error:
    print("refused", len(str(error).splitlines()), index.lasting)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
if index.lasting:
    print("holds", index.count, "more 0" in index)
"""


@pytest.mark.parametrize("backend", ["exact", "faiss", "lance"])
def test_a_full_disk_is_said_and_leaves_what_was_there(backend, tmp_path):
    index = new(6, backend=backend)
    index.add(names(50), vectors(50))
    if not index.lasting:
        index.save(tmp_path / "index")
    path = index.path
    index.close()
    command = [sys.executable, "-W", "ignore", "-c", FULL, str(path), backend]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "refused 1" in done.stdout, (done.stdout, done.stderr[-2000:])
    if backend == "lance":
        assert "holds 50 False" in done.stdout
    with open_index(path) as again:
        assert list(again.ids) == names(50)
        again.add(["room again"], vectors(1))
        again.save()
    with open_index(path) as again:
        assert again.count == 51


FULL_MILVUS = """
import os, resource, signal, sys
import numpy as np
from nearfar.errors import RunError
from nearfar.indexing import open_index

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
index = open_index(sys.argv[1])
refusals = []
for step in range(2):
    try:
        index.add([f"more {step} {row}" for row in range(900)], np.ones((900, 64)))
    except RunError as error:
        refusals.append(len(str(error).splitlines()))
print("refused", refusals, "holds", index.count)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
calls = [lambda: index.remove(["item 3"]), lambda: index.add(["room again"], np.ones((1, 64)))]
for call in calls if sys.argv[2] == "remove" else calls[::-1]:
    call()
print("holds", index.count, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("first", ["add", "remove"])
def test_a_full_disk_loses_nothing_that_the_embedded_milvus_took_in_afterwards(first):
    index = new(64, backend="milvus")
    index.add(names(20), vectors(20, dim=64))
    index.close()
    command = [sys.executable, "-W", "ignore", "-c", FULL_MILVUS, str(index.path), first]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["refused [1, 1] holds 20", "holds 20"], done.stderr[-2000:]
    with open_index(index.path) as again:
        assert list(again.ids) == [*(name for name in names(20) if name != "item 3"), "room again"]
        np.testing.assert_array_equal(again.get(["item 7"]).vectors, vectors(20, dim=64)[7:8])


def test_a_server_that_refuses_is_said_and_rolls_back():
    index = new(6, backend="pgvector")
    index.add(names(5), vectors(5))
    name = index.options["table"]
    index._execute(
        f"CREATE FUNCTION {name}_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.number > 7 THEN RAISE EXCEPTION 'could not extend file: No space left on device' "
        "USING ERRCODE = '53100'; END IF; RETURN NEW; END $$"
    )
    index._execute(f"CREATE TRIGGER full_disk BEFORE INSERT ON {{t}} FOR EACH ROW EXECUTE FUNCTION {name}_full()")
    for call in (index.add, index.upsert):
        with pytest.raises(RunError, match="No space left on device") as caught:
            call(names(20, start=5), vectors(20))
        one_sentence(caught)
    assert index.count == 5
    index._execute("DROP TRIGGER full_disk ON {t}")
    index.add(names(20, start=5), vectors(20))
    assert index.count == 25


def test_a_server_that_is_gone_is_said(tmp_path):
    with pytest.raises(RunError, match="cannot be reached") as caught:
        create(6, backend="pgvector", path=tmp_path / "a", server="postgresql://127.0.0.1:9/none?connect_timeout=2")
    one_sentence(caught)
    assert not (tmp_path / "a").exists()
    with pytest.raises(ConfigError, match="without a password, got one with it; set PGPASSWORD"):
        create(6, backend="pgvector", path=tmp_path / "a", server="postgresql://me:secret@127.0.0.1/none")
    with pytest.raises(ConfigError, match="connection string") as caught:
        create(6, backend="pgvector", path=tmp_path / "a", server="not = 'a server")
    with pytest.raises(ConfigError, match="server must be given"):
        create(6, backend="pgvector", path=tmp_path / "a")
    for bad in ("Robert'); DROP TABLE x", "a b", "x" * 80):
        with pytest.raises(ConfigError, match="lower-case letters, digits and _"):
            create(6, backend="pgvector", path=tmp_path / "a", server=places.postgres(), table=bad)


def test_a_connection_that_broke_is_made_again():
    index = new(6, backend="pgvector")
    index.add(names(5), vectors(5))
    index._connection.close()
    assert index.count == 5
    index._connection.close()
    index.add(["more"], vectors(1))
    assert index.count == 6


@lasting
def test_a_damaged_description_is_said(backend):
    index = new(6, backend=backend)
    index.add(names(5), vectors(5))
    path = index.path
    index.close()
    card = (path / "index.json").read_text()
    said = json.loads(card)
    changes = [
        card[:-20],
        "[]",
        json.dumps({**said, "format": 99}),
        json.dumps({**said, "metric": "l7"}),
        json.dumps({**said, "dim": "six"}),
        json.dumps({**said, "dim": 7}),
        json.dumps({**said, "options": 3}),
        json.dumps({**said, "backend": "lanse"}),
        json.dumps({name: value for name, value in said.items() if name != "server"}),
    ]
    for changed in changes:
        (path / "index.json").write_text(changed)
        with pytest.raises(NearfarError) as caught:
            open_index(path).search(vectors(1), 1)
        one_sentence(caught)
    (path / "index.json").write_text(card)
    with open_index(path) as again:
        assert again.count == 5


def used(path):
    """Open, count, search and read an index; return the sentence it was refused with, if it was."""
    try:
        with open_index(path) as index:
            assert index.count in (0, 500)
            index.search(vectors(1), 5)
            next(index.iterate(1000, thumbnails=True), None)
    except NearfarError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("backend", ["lance", "milvus"])
def test_a_damaged_table_is_said_and_does_not_crash(backend, tmp_path):
    index = new(6, backend=backend)
    index.add(names(500), vectors(500), ["x"] * 500, [{"n": row} for row in range(500)], [b"picture" * 30] * 500)
    if backend == "milvus":
        index._client.flush(index._name)
    path = index.path
    index.close()
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name not in ("LOCK", "index.lock"))
    rng, said = np.random.default_rng(0), 0
    for number, file in enumerate(files):
        for kind in ("cut", "noise", "gone"):
            copy = tmp_path / f"{number}-{kind}"
            shutil.copytree(path, copy)
            target = copy / file.relative_to(path)
            content = target.read_bytes()
            if kind == "gone":
                target.unlink()
            elif kind == "cut":
                target.write_bytes(content[: len(content) // 2])
            else:
                target.write_bytes(rng.bytes(len(content)))
            sentence = used(copy)
            assert "\n" not in sentence
            said += sentence != ""
    assert said > 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@lasting
def test_a_folder_that_may_not_be_written_is_said(backend, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="cannot be made a folder"):
        new(6, backend=backend, path=tmp_path / "index")


@lasting
def test_a_taken_folder_is_refused(backend, tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(RunError, match=r"folder must be empty, got one with \['holiday.jpg'\]"):
        new(6, backend=backend, path=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["holiday.jpg"]


@lasting
def test_every_write_is_there_for_the_next_who_opens(backend):
    index = new(6, backend=backend, fingerprint="mine")
    index.add(names(20), vectors(20), metadata=[{"n": row} for row in range(20)])
    index.upsert(["item 3"], vectors(1, seed=9))
    index.remove(["item 4"])
    index.calibration = {"cut": 0.5}
    path = index.path
    index.close()
    with open_index(path) as again:
        assert again.count == 19
        assert (again.fingerprint, again.calibration) == ("mine", {"cut": 0.5})
        assert again.ids[-1] == "item 3"
        np.testing.assert_array_equal(again.get(["item 3"]).vectors, vectors(1, seed=9))
        again.destroy()
