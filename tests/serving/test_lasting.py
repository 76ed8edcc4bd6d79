"""Back ends whose writes last, behind the service: no journal, and every acknowledged write is there afterwards."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from urllib.parse import urlsplit

import numpy as np
import pytest

from nearfar.evaluation.cutpoints import CutPoint
from nearfar.evaluation.distance_calibration import Calibration
from nearfar.indexing import open_index
from tests.indexing import places
from tests.serving.service import DIM, client, picture, process, vectors

lasting = pytest.mark.parametrize("backend", places.LASTING)


@pytest.fixture
def path(tmp_path, backend):
    """An index of 20 items, written and closed before the service opens it."""
    with places.new(DIM, backend=backend, path=tmp_path / "index", fingerprint="0123") as index:
        names = [f"item {row}" for row in range(20)]
        index.add(names, vectors(20), [("even", "odd")[row % 2] for row in range(20)])
    return tmp_path / "index"


def item(name, seed, **known):
    return {"id": name, "vector": vectors(1, seed=seed)[0].tolist(), **known}


@lasting
def test_an_index_that_lasts_is_served(path):
    odd = ["a/../b", "ünïcødé 🙂", "'; DROP TABLE x; --", "x" * 10_000, "\n"]
    items = [item(name, 50 + row, label=name, metadata={"price": row}) for row, name in enumerate(odd)]
    body = {"vectors": [items[2]["vector"]], "k": 3}
    with client(path) as web:
        assert web.post("/v1/items", json={"items": items}).json() == {"added": odd, "count": 25}
        assert web.post("/v1/items", json={"items": items[:1]}).status_code == 409
        changed = item("item 3", 90, label="new")
        assert web.post("/v1/items", json={"items": [changed], "replace": True}).json()["count"] == 25
        assert web.post("/v1/items/image", params={"id": "shown"}, content=picture(4)).json()["count"] == 26
        first = web.post("/v1/search/vector", json=body).json()["results"][0]["hits"]
        assert (first[0]["id"], first[0]["label"], first[0]["distance"]) == (odd[2], odd[2], pytest.approx(0, abs=1e-6))
        few = web.post("/v1/search/vector", json={**body, "where": {"price": {">=": 3}}}).json()["results"][0]["hits"]
        assert {hit["id"] for hit in few} == {odd[3], odd[4]}
        assert web.post("/v1/match/vector", json=body).status_code == 409
        match = web.post("/v1/match/vector", json={"vectors": body["vectors"], "within": 0.01}).json()["matches"]
        assert (match[0]["label"], match[0]["id"]) == (odd[2], odd[2])
        assert web.post("/v1/items/remove", json={"ids": ["item 4", odd[0]]}).json() == {"removed": 2, "count": 24}
        assert web.post("/v1/items/remove", json={"ids": ["item 5", "nobody"]}).status_code == 404
        assert web.get("/v1/items/thumbnail", params={"id": "shown"}).content.startswith(b"\x89PNG")
    assert sorted(file.name for file in path.iterdir() if "journal" in file.name or "serving" in file.name) == []
    with client(path) as web:
        assert web.get("/v1/info").json()["count"] == 24
        assert web.post("/v1/search/vector", json=body).json()["results"][0]["hits"] == first
        assert web.post("/v1/items/get", json={"ids": odd[1:]}).json() == {"items": items[1:]}
        assert web.post("/v1/items/get", json={"ids": ["item 4"]}).status_code == 404
        again = web.post("/v1/items/get", json={"ids": ["item 3"]}).json()["items"][0]
        assert again["label"] == "new"
        np.testing.assert_array_equal(np.float32(again["vector"]), np.float32(changed["vector"]))


@lasting
def test_cut_points_of_an_index_that_lasts_are_served(path):
    unknown = dict.fromkeys(CutPoint._fields, 0.0)
    point = CutPoint(**unknown | {"target": "precision=0.99", "cut": 0.1, "rates": {}, "checked": {}})
    with open_index(path) as index:
        index.calibration = Calibration(
            "cosine", "0123", "matches", (point,), (0.0, 1.0), (0.9, 0.1), "made up"
        ).to_mapping()
    x = vectors(20)
    with client(path) as web:
        reply = web.post("/v1/match/vector", json={"vectors": [x[4].tolist(), (-x[4]).tolist()]}).json()
    assert reply["cut"] == 0.1
    assert [(one["known"], one["label"]) for one in reply["matches"]] == [(True, "even"), (False, None)]


def write(address, done, stop, upserts):
    """Add and replace items one by one until the service is gone; ``done`` holds what it acknowledged."""
    row = 0
    while not stop.is_set():
        name = f"{threading.get_ident()}/{row // 2 if upserts else row}"
        body = {"items": [item(name, row, label=str(row))], "replace": upserts}
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
        try:
            connection.request("POST", "/v1/items", json.dumps(body), {"Content-Type": "application/json"})
            if connection.getresponse().status != 200:
                return
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()
        done[name] = row
        row += 1


ENDS = [
    pytest.param(backend, end, marks=[] if (backend, end) == ("lance", signal.SIGTERM) else pytest.mark.slow)
    for backend in places.LASTING
    for end in (signal.SIGTERM, signal.SIGKILL)
]


@pytest.mark.parametrize(("backend", "end"), ENDS)
def test_no_acknowledged_write_is_lost(path, end):
    done: dict[str, int] = {}
    stop = threading.Event()
    with process("serve", path, "--rate", 0) as (running, address):
        threads = [threading.Thread(target=write, args=(address, done, stop, upserts)) for upserts in (False, True)]
        for one in threads:
            one.start()
        while len(done) < 30 and running.poll() is None and any(one.is_alive() for one in threads):
            time.sleep(0.01)
        running.send_signal(end)
        code = running.wait(timeout=60)
        stop.set()
        for one in threads:
            one.join()
    assert code == (0 if end == signal.SIGTERM else -signal.SIGKILL)
    assert len(done) >= 30
    with open_index(path) as index:
        assert [name for name in done if name not in index] == []
        found = index.get(list(done))
        late = [name for name, label in zip(done, found.labels, strict=True) if int(str(label)) < done[name]]
        assert late == []  # the last write may have been taken in and not been answered
        for vector, label in zip(found.vectors, found.labels, strict=True):
            np.testing.assert_array_equal(vector, vectors(1, seed=int(str(label)))[0])
        assert 20 + len(done) <= index.count <= 20 + len(done) + 2
