"""What the page asks for, and the page in one file."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import time

import numpy as np
import pytest
from fastapi.testclient import TestClient

from nearfar.errors import DataError, RunError
from nearfar.exploring import file as files
from nearfar.exploring.file import html
from tests.exploring.page import explorer, view_of
from tests.exploring.samples import COUNT, WRONG, png, vectors, write_embeddings, write_pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("explore")
    write_embeddings(root / "first.parquet")
    write_embeddings(root / "second.parquet", seed=1, order=np.random.default_rng(0).permutation(COUNT), label=False)
    write_pictures(root / "photos")
    return root


@pytest.fixture(scope="module")
def http(folder):
    paths = [folder / "first.parquet", folder / "second.parquet"]
    with explorer(paths, pictures=folder / "photos") as app, TestClient(app, base_url="http://localhost") as one:
        yield one


def test_the_page_and_what_it_draws_from(http):
    page = http.get("/")
    assert page.url.path == "/explore"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert re.findall(r'(?:src|href)="([^"#]+)"', page.text) == [
        "data:,", "/explore/explore.css", "/explore/explore.js",
    ]  # fmt: skip
    texts = [page.text, http.get("/explore/explore.js").text, http.get("/explore/explore.css").text]
    assert not [found for text in texts for found in re.findall(r"https?://\S+", text)]
    data = http.get("/explore/data").json()
    assert (data["count"], data["dim"], data["pictures"], data["upload"]) == (COUNT, 8, True, "image")
    assert [one["name"] for one in data["columns"]] == ["label", "weight", "home", "cluster"]
    xy = np.frombuffer(http.get("/explore/map/0").content, "<f4")
    assert xy.shape == (2 * COUNT,)
    codes = np.frombuffer(http.get("/explore/column/0").content, "<i2")
    assert [data["columns"][0]["names"][code] for code in codes[:4]] == ["cat", "dog", "cat", "dog"]
    assert http.get("/explore/map/2").status_code == http.get("/explore/column/9").status_code == 404


def test_neighbours_on_both_sides_go_by_the_first_ones_rows(http):
    for plane, seed in ((0, 0), (1, 1)):
        x = vectors(seed).astype(np.float64)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        far = 1 - x @ x[20]
        far[20] = np.inf
        hits = http.post("/explore/neighbours", json={"row": 20, "k": 5, "map": plane}).json()["hits"]
        assert [hit["row"] for hit in hits] == np.argsort(far)[:5].tolist()


def test_items_pictures_and_finding(http):
    rows = http.post("/explore/rows", json={"rows": [2, 0]}).json()["rows"]
    assert [one["id"] for one in rows] == ["pets/2.png", "pets/0.png"]
    assert rows[0]["values"]["weight"] == pytest.approx(2 / 7)
    assert http.get("/explore/thumbnail/3").headers["content-type"] == "image/jpeg"
    assert http.get("/explore/content/3").status_code == 200
    assert http.get(f"/explore/thumbnail/{COUNT}").status_code == 404
    assert http.get("/explore/thumbnail/-1").status_code == 404
    assert http.post("/explore/find", json={"text": "PETS/11"}).json()["rows"] == [11, *range(110, 120)]
    assert http.post("/explore/find", json={"text": "pets/7.png"}).json()["rows"] == [7]


def test_an_upload_finds_its_like(http):
    hits = http.post("/explore/upload?k=9", content=png((250, 0, 0))).json()["hits"]
    assert len(hits) == 9
    assert all(hit["row"] % 2 == 1 for hit in hits)
    assert http.post("/explore/upload", content=b"nothing").status_code == 415


def test_duplicates_doubts_and_export(http):
    for _ in range(200):
        found = http.get("/explore/duplicates?cut=0.00001").json()
        if found["ready"]:
            break
        time.sleep(0.05)
    assert (found["total"], found["items"], found["groups"][0]["rows"]) == (1, 2, [3, 5])
    doubts = http.get("/explore/doubts").json()
    assert [(one["row"], one["suggested"]) for one in doubts["items"]] == [(WRONG, "dog")]
    text = http.post("/explore/csv", json={"rows": [0, 7]}).text
    assert list(csv.reader(io.StringIO(text)))[:2] == [
        ["id", "label", "weight", "home", "cluster"],
        ["pets/0.png", "cat", "0.0", "old <b>town</b>", view_cluster(text)],
    ]


def view_cluster(text):
    return list(csv.reader(io.StringIO(text)))[1][-1]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("rows", {"rows": [COUNT]}),
        ("rows", {"rows": [-1]}),
        ("rows", {"rows": list(range(100)) * 11}),
        ("neighbours", {"row": COUNT}),
        ("neighbours", {"row": 1, "map": 2}),
        ("neighbours", {"row": 1, "k": 0}),
        ("find", {"text": ""}),
        ("csv", {"rows": [2**40]}),
        ("csv", {"rows": [COUNT]}),
    ],
)
def test_bad_questions(http, path, body):
    reply = http.post(f"/explore/{path}", json=body)
    assert reply.status_code == 422
    assert set(reply.json()) == {"error"}
    assert http.get("/explore/duplicates?cut=nan").status_code == 422
    assert http.get("/explore/duplicates?cut=-1").status_code == 422


def test_with_a_key_the_page_is_open_and_its_data_are_not(folder):
    with explorer([folder / "first.parquet"], key="k" * 20) as app, TestClient(app) as http:
        assert http.get("/explore").status_code == http.get("/explore/explore.js").status_code == 200
        assert http.get("/explore/data").status_code == http.get("/explore/thumbnail/0").status_code == 401
        assert http.get("/explore/data", headers={"x-api-key": "k" * 20}).status_code == 200


def test_one_file_holds_everything_and_nothing_can_break_out_of_it(folder):
    text = html(view_of([folder / "first.parquet", folder / "second.parquet"], pictures=folder / "photos"))
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)
    assert "https://" not in text
    assert text.count("</script>") == 2
    raw = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    data = json.loads(raw)
    assert data["ids"][WRONG] == f"pets/{WRONG}.png"
    assert data["values"]["home"][0] == "old <b>town</b>"
    near = np.frombuffer(base64.b64decode(data["near"][1]["rows"]), "<i4").reshape(COUNT, -1)
    x = vectors(1).astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    far = 1 - x @ x.T
    np.fill_diagonal(far, np.inf)
    np.testing.assert_array_equal(near[:, :5], np.argsort(far, axis=1)[:, :5])
    assert data["doubts"]["items"][0]["row"] == WRONG
    assert data["sheets"][0].startswith("data:image/")


def test_too_many_for_a_file_and_items_that_differ_are_said(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(files, "MOST", 100)
    with pytest.raises(DataError, match="at most 100 for one file, got 120"):
        html(view_of([folder / "first.parquet"]))
    other = write_embeddings(tmp_path / "other.parquet", order=range(10, COUNT))
    with pytest.raises(DataError, match=r"of the items of first.parquet, got nothing of 'pets/0.png'"):
        view_of([folder / "first.parquet", other])


def test_the_verb_writes_a_file_once(folder, tmp_path, monkeypatch):
    import nearfar

    monkeypatch.setenv("NEARFAR_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "map.html"
    settings = {"html": out, "method": "pca", "data": folder / "photos"}
    assert nearfar.explore(folder / "first.parquet", **settings) == out
    before = out.read_bytes()
    with pytest.raises(RunError, match="already exists"):
        nearfar.explore(folder / "first.parquet", **settings)
    nearfar.explore(folder / "first.parquet", overwrite=True, **settings)
    assert out.read_bytes() == before
