"""The routes, as a client sees them."""

from __future__ import annotations

import numpy as np
import pytest

from nearfar.indexing import open_index
from nearfar.serving import Limits, SourceMedia
from tests.serving.service import client, embed, picture, vectors, write_index


@pytest.fixture
def path(tmp_path):
    return write_index(tmp_path / "index", fingerprint="0123")


def test_search_by_vector_is_what_the_index_finds(path):
    queries = vectors(5, seed=1)
    found = open_index(path).search(queries, 4)
    with client(path) as http:
        reply = http.post("/v1/search/vector", json={"vectors": queries.tolist(), "k": 4}).json()
    assert reply["metric"] == "cosine"
    assert [[hit["id"] for hit in one["hits"]] for one in reply["results"]] == found.ids
    assert [[hit["label"] for hit in one["hits"]] for one in reply["results"]] == found.labels
    distances = np.array([[hit["distance"] for hit in one["hits"]] for one in reply["results"]], np.float32)
    np.testing.assert_array_equal(distances, found.distances)


def test_search_by_id_leaves_the_item_out(path):
    found = open_index(path).search(vectors(20)[[7]], 20)
    with client(path) as http:
        reply = http.post("/v1/search/id", json={"ids": ["item 7"], "k": 1000 - 1}).json()
    assert [hit["id"] for hit in reply["results"][0]["hits"]] == [name for name in found.ids[0] if name != "item 7"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_search_by_image_embeds_the_body(path, kind):
    from nearfar.data.picture import read_picture

    content = picture(3, kind=kind)
    found = open_index(path).search(embed([read_picture(content)]), 3)
    with client(path) as http:
        reply = http.post("/v1/search/image?k=3", content=content, headers={"content-type": f"image/{kind.lower()}"})
    assert [hit["id"] for hit in reply.json()["results"][0]["hits"]] == found.ids[0]


def test_items_are_added_looked_up_and_removed(path):
    odd = ["", "a/../b", "ünïcødé 🙂", "'; DROP TABLE x", "x" * 10_000, "\n"]
    rows = vectors(len(odd), seed=2).tolist()
    items = [
        {"id": name, "vector": row, "label": name, "metadata": {"length": len(name), "odd": True}}
        for name, row in zip(odd, rows, strict=True)
    ]
    with client(path) as http:
        assert http.post("/v1/items", json={"items": items}).json() == {"added": odd, "count": 26}
        assert http.post("/v1/items/get", json={"ids": odd}).json() == {"items": items}
        assert http.post("/v1/items/remove", json={"ids": ["a/../b", "item 3"]}).json() == {"removed": 2, "count": 24}
        assert http.post("/v1/items/get", json={"ids": ["item 3"]}).status_code == 404
    left = open_index(path)
    assert left.count == 24
    assert "x" * 10_000 in left
    assert "item 3" not in left


def test_an_image_is_added_and_found_again(path):
    with client(path) as http:
        reply = http.post("/v1/items/image", params={"id": "new/1.png", "label": "even"}, content=picture(4))
        assert reply.json() == {"added": ["new/1.png"], "count": 21}
        found = http.post("/v1/search/image?k=1", content=picture(4)).json()["results"][0]["hits"][0]
        shown = http.get("/v1/items/thumbnail", params={"id": "new/1.png"})
    assert shown.content.startswith(b"\x89PNG")
    assert found["id"] == "new/1.png"
    assert found["label"] == "even"
    assert abs(found["distance"]) < 1e-6


def test_status_numbers_and_pages(path):
    with client(path, with_encoder=False) as http:
        assert http.get("/healthz").json() == {"status": "alive"}
        assert http.get("/readyz").json() == {"status": "ready"}
        info = http.get("/v1/info").json()
        assert (info["count"], info["dim"], info["metric"], info["encoder"]) == (20, 12, "cosine", None)
        http.post("/v1/search/vector", json={"vectors": vectors(1).tolist()})
        assert http.get("/nowhere").status_code == 404
        numbers = http.get("/metrics").text
        assert 'nearfar_requests_total{method="POST",route="/v1/search/vector",status="200"} 1.0' in numbers
        assert 'nearfar_requests_total{method="GET",route="other",status="404"} 1.0' in numbers
        assert 'nearfar_batch_items_count{work="search"} 1.0' in numbers
        assert "nearfar_index_vectors 20.0" in numbers
        paths = set(http.get("/openapi.json").json()["paths"])
        assert {"/v1/search/vector", "/v1/search/id", "/v1/items", "/v1/items/remove"} <= paths
        assert "/v1/search/image" not in paths


def test_the_description_page_loads_nothing_from_elsewhere(path):
    import re

    with client(path) as http:
        page = http.get("/docs")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        texts = [page.text, *(http.get(one).text for one in loaded if one.startswith("/"))]
    assert {"/docs/docs.js", "/docs/docs.css"} < set(loaded)
    assert not [text for text in texts if re.search(r"(https?:)?//[a-z0-9]", text.replace("// ", ""))]


def test_a_read_only_service_changes_nothing(path):
    with client(path, writable=False) as http:
        assert http.post("/v1/items/remove", json={"ids": ["item 3"]}).status_code == 404
        assert http.get("/v1/info").json()["count"] == 20


def test_thumbnails_come_by_id_and_never_by_path(path, tmp_path):
    from nearfar.data import open_images

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(picture(1))
    with client(path, media=SourceMedia(open_images(tmp_path / "photos"))) as http:
        shown = http.get("/v1/items/thumbnail", params={"id": "a.png"})
        assert shown.headers["content-type"] == "image/png"
        assert shown.content.startswith(b"\x89PNG")
        for name in ("../index/index.json", str(tmp_path / "photos" / "a.png"), "./a.png", "b.png", "a.png\0"):
            assert http.get("/v1/items/thumbnail", params={"id": name}).status_code == 404


def test_another_encoder_is_refused(path):
    from nearfar.errors import RunError
    from nearfar.serving import Store
    from nearfar.serving.service import Service
    from tests.serving.service import encoder

    with client(path) as http:
        body = {"vectors": vectors(1).tolist(), "fingerprint": "beef"}
        reply = http.post("/v1/search/vector", json=body)
    assert reply.status_code == 409
    assert "fingerprint 0123" in reply.json()["error"]
    with pytest.raises(RunError, match="encoder"):
        Service(Store(open_index(path)), encoder=encoder(fingerprint="beef"))


def test_the_key_is_asked_for_everything_with_data(path):
    key = "k" * 20
    with client(path, key=key) as http:
        assert http.get("/v1/info").status_code == 401
        assert http.get("/v1/info", headers={"x-api-key": key + "x"}).status_code == 401
        assert http.get("/metrics").status_code == 401
        assert http.get("/v1/info", headers={"x-api-key": key}).status_code == 200
        assert http.get("/v1/info", headers={"x-api-key": key, "host": "search.example"}).status_code == 200
        assert [http.get(one).status_code for one in ("/healthz", "/readyz", "/docs", "/openapi.json")] == [200] * 4
        assert http.get("/openapi.json").json()["security"] == [{"key": []}]


def test_without_a_key_only_this_machine_is_answered(path):
    with client(path) as http:
        for host in ("localhost", "localhost:8000", "127.0.0.1:9", "[::1]:8000"):
            assert http.get("/v1/info", headers={"host": host}).status_code == 200, host
        for host in ("evil.example", "localhost.evil.example", "10.0.0.1", ""):
            assert http.get("/v1/info", headers={"host": host}).status_code == 403, host
        assert http.get("/v1/info", headers={"origin": "http://127.0.0.1"}).status_code == 200
        assert http.get("/v1/info", headers={"origin": "http://evil.example"}).status_code == 403
        assert http.get("/v1/info", headers={"origin": "null"}).status_code == 403


def test_a_client_that_asks_too_often_is_told_to_wait(path):
    with client(path, limits=Limits(rate=0.5)) as http:
        codes = [http.get("/v1/info").status_code for _ in range(7)]
        assert codes == [200] * 5 + [429] * 2
        assert int(http.get("/v1/info").headers["retry-after"]) >= 1
        assert http.get("/healthz").status_code == 200


def test_filters_limits_and_metadata(path):
    with client(path) as http:
        rows = [
            {"id": f"m {row}", "vector": v, "metadata": {"price": row}} for row, v in enumerate(vectors(9).tolist())
        ]
        http.post("/v1/items", json={"items": rows})
        query = vectors(1).tolist()
        body = {"vectors": query, "k": 20, "where": {"price": {">=": 2, "<": 5}}, "metadata": True}
        hits = http.post("/v1/search/vector", json=body).json()["results"][0]["hits"]
        assert sorted(hit["metadata"]["price"] for hit in hits) == [2, 3, 4]
        near = http.post("/v1/search/vector", json={"vectors": query, "k": 20, "within": 0.5}).json()["results"][0][
            "hits"
        ]
        assert 0 < len(near) < 20
        assert all(hit["distance"] <= 0.5 for hit in near)
        reply = http.post("/v1/search/image", params={"where": "price < 3", "k": 9}, content=picture())
        assert {hit["id"] for hit in reply.json()["results"][0]["hits"]} == {"m 0", "m 1", "m 2"}
        for wrong in ({"price": {"~": 3}}, {"price": {}}, {"x'; DROP TABLE y": {"$gt": 1}}):
            assert http.post("/v1/search/vector", json={"vectors": query, "where": wrong}).status_code == 422
        assert http.post("/v1/search/image?where=price <", content=picture()).status_code == 422
        again = {"id": "m 1", "vector": vectors(1, seed=4)[0].tolist(), "label": "odd", "metadata": None}
        assert http.post("/v1/items", json={"items": [again]}).status_code == 409
        assert http.post("/v1/items", json={"items": [again], "replace": True}).json()["count"] == 29
        assert http.post("/v1/items/get", json={"ids": ["m 1"]}).json()["items"] == [{**again, "metadata": {}}]


def test_ids_may_be_whole_numbers(tmp_path):
    from nearfar.indexing import create

    index = create(12)
    index.add([5, 7, 2**60], vectors(3))
    index.save(tmp_path / "whole")
    with client(tmp_path / "whole") as http:
        found = http.post("/v1/search/id", json={"ids": [2**60], "k": 1}).json()["results"][0]
        assert found["query"] == 2**60
        assert found["hits"][0]["id"] in (5, 7)
        assert http.post("/v1/items/remove", json={"ids": [7]}).json()["count"] == 2
        assert http.post("/v1/items/remove", json={"ids": ["5"]}).status_code == 404


def test_matching_answers_with_a_label_or_unknown(path):
    from nearfar.evaluation.cutpoints import CutPoint
    from nearfar.evaluation.distance_calibration import Calibration

    x = vectors(20)
    body = {"vectors": [x[4].tolist(), (-x[4]).tolist()]}
    with client(path) as http:
        refused = http.post("/v1/match/vector", json=body)
        assert refused.status_code == 409
        assert "calibrate it" in refused.json()["error"]
        near, far = http.post("/v1/match/vector", json={**body, "within": 0.1}).json()["matches"]
    assert (near["label"], near["known"], near["id"], near["confidence"]) == ("even", True, "item 4", None)
    assert (far["label"], far["known"], far["votes"]) == (None, False, 0)
    point = CutPoint(
        **dict.fromkeys(CutPoint._fields, 0.0) | {"target": "precision=0.99", "cut": 0.1, "rates": {}, "checked": {}}
    )
    index = open_index(path)
    index.calibration = Calibration(
        "cosine", "0123", "matches", (point,), (0.0, 1.0), (0.9, 0.1), "made up"
    ).to_mapping()
    index.save()
    with client(path) as http:
        reply = http.post("/v1/match/vector", json=body).json()
        assert reply["cut"] == 0.1
        assert reply["matches"][0]["confidence"] == pytest.approx(0.9, abs=1e-5)
        assert http.post("/v1/match/vector", json={**body, "target": "recall=0.5"}).status_code == 422
        image = http.post("/v1/match/image?vote=majority&k=3", content=picture()).json()["matches"][0]
        assert image["query"] == "image"
