"""What strangers send: each gets one sentence and a status of its own, and nothing breaks."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from nearfar.serving import Limits
from tests.serving.service import client, picture, vectors, write_index

SMALL = Limits(body_mib=0.5, megapixels=1, rate=0, rows=5, k=50, hits=200)


@pytest.fixture(scope="module")
def http(tmp_path_factory):
    path = write_index(tmp_path_factory.mktemp("bad") / "index")
    with client(path, limits=SMALL) as one:
        yield one


def sentence(reply, status):
    assert reply.status_code == status, reply.text
    text = reply.json()["error"]
    assert set(reply.json()) == {"error"}
    assert "\n" not in text
    assert len(text) < 400
    return text


def bomb(width=10_000, height=10_000):
    """Return a PNG of a few kB whose header promises a hundred million pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def pages(count):
    frames = [Image.fromarray(np.zeros((100, 100), np.uint8))] * count
    buffer = io.BytesIO()
    frames[0].save(buffer, format="TIFF", save_all=True, append_images=frames[1:], compression="tiff_deflate")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 422, "got nothing"),
        (b"no picture at all", 415, "JPEG, PNG, WEBP, BMP, TIFF"),
        (picture()[:100], 422, "cannot be read"),
        (picture(kind="JPEG", size=(64, 64))[:2000], 422, "cannot be read"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, 415, "something else"),
        (bomb(), 413, "at most 1,000,000 pixels"),
        (bomb(60_000, 60_000), 413, "at most 1,000,000 pixels"),
        (pages(101), 413, "100 x 100 x 101"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "something else"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "something else"),
        (b"x" * 600_000, 413, "at most 524,288 bytes"),
    ],
)
def test_bad_pictures(http, content, status, words):
    assert words in sentence(http.post("/v1/search/image", content=content), status)
    assert words in sentence(http.post("/v1/items/image", params={"id": "x"}, content=content), status)
    assert http.get("/v1/info").json()["count"] == 20


def test_a_form_is_answered_with_how_it_is_done(http):
    reply = http.post("/v1/search/image", files={"file": picture()})
    assert "--data-binary" in sentence(reply, 415)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"vectors": [[1.0] * 11]}, "12 numbers, as the index's have, got 11"),
        ({"vectors": [[]]}, "got 0"),
        ({"vectors": []}, "vectors"),
        ({"vectors": [[1.0] * 12], "k": 0}, "k"),
        ({"vectors": [[1.0] * 12], "k": -1}, "k"),
        ({"vectors": [[1.0] * 12], "k": 51}, "<= 50"),
        ({"vectors": [[1.0] * 12], "k": 10**30}, "k"),
        ({"vectors": [[1.0] * 12] * 5, "k": 41}, "<= 200, got 205"),
        ({"vectors": [[1.0] * 12] * 6}, "at most 5 rows"),
        ({"vectors": [["a"] * 12]}, "vectors"),
        ({"vectors": [[1e300] * 12]}, "finite"),
        ({"vectors": [[1e-20] * 12]}, "zero or of norm"),
        ({"vectors": [[1.0] * 12], "kk": 3}, "kk"),
        ({}, "vectors"),
        ([], "body"),
        ("text", "body"),
        (None, "body"),
    ],
)
def test_bad_vectors(http, body, words):
    assert words in sentence(http.post("/v1/search/vector", json=body), 422)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none(http, text):
    numbers = ", ".join([text] * 12)
    content = f'{{"vectors": [[{numbers}]]}}'
    json = {"content-type": "application/json"}
    sentence(http.post("/v1/search/vector", content=content, headers=json), 422)
    content = f'{{"items": [{{"id": "x", "vector": [{numbers}]}}]}}'
    sentence(http.post("/v1/items", content=content, headers=json), 422)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 200_000, b'{"ids": ["\\ud800"]}', b'{"ids": ["a\\u0000"]}', b"null"]
)
def test_bad_json(http, content):
    reply = http.post("/v1/search/id", content=content, headers={"content-type": "application/json"})
    assert reply.status_code in (400, 422)
    assert set(reply.json()) == {"error"}


def test_bad_ids_and_items(http):
    def item(name="new", **changes):
        return {"items": [{"id": name, "vector": vectors(1)[0].tolist(), **changes}]}

    assert "is not in the index" in sentence(http.post("/v1/search/id", json={"ids": ["nobody"]}), 404)
    assert "at most 10000" in sentence(http.post("/v1/items", json=item("x" * 10_001)), 422)
    assert "at most 10000" in sentence(http.post("/v1/items/image?id=" + "x" * 10_001, content=picture()), 422)
    assert "already" in sentence(http.post("/v1/items", json=item("item 3")), 409)
    twice = {"items": item()["items"] * 2}
    assert "twice" in sentence(http.post("/v1/items", json=twice), 422)
    assert "12 numbers" in sentence(http.post("/v1/items", json=item(vector=[1.0])), 422)
    assert "text or all whole" in sentence(http.post("/v1/items", json=item(label=7)), 422)
    sentence(http.post("/v1/items", json=item(label=1.5)), 422)
    sentence(http.post("/v1/items", json=item(label=2**70)), 422)
    sentence(http.post("/v1/items/remove", json={"ids": ["item 3", "nobody"]}), 404)
    assert http.get("/v1/info").json()["count"] == 20


def test_a_bad_request_among_many_harms_only_itself(http):
    from concurrent.futures import ThreadPoolExecutor

    good = {"vectors": vectors(1, seed=5).tolist()}
    bad = {"vectors": [[1e300] * 12]}
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda row: http.post("/v1/search/vector", json=bad if row % 4 else good), range(32)))
    assert [reply.status_code for reply in replies] == [422 if row % 4 else 200 for row in range(32)]
