"""A real run behind the service: pictures and sounds by their bytes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import nearfar
from nearfar.encoders import build, save_encoder
from nearfar.errors import ConfigError
from nearfar.serving import Limits
from nearfar.serving.app import create_app
from nearfar.serving.run_encoder import encoder_of, media_of, open_run
from nearfar.serving.service import Service
from nearfar.serving.store import Store
from tests.samples import write_folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with pictures, a run, embeddings and an index."""
    root = tmp_path_factory.mktemp("served")
    write_folder(root / "data", 16)
    encoder, spec = build("small", in_channels=1, image_size=8, options={"width": 4})
    (root / "run").mkdir()
    save_encoder(root / "run", encoder.eval(), spec)
    nearfar.embed(root / "run", root / "data", out=root / "emb.parquet", threads=1)
    nearfar.index(root / "emb.parquet", out=root / "index")
    return root


def test_a_picture_that_was_embedded_finds_itself(made):
    from fastapi.testclient import TestClient

    from nearfar.indexing import open_index

    subject = open_run(made / "run")
    index = open_index(made / "index")
    service = Service(
        Store(index),
        encoder=encoder_of(subject, Limits()),
        media=media_of(made / "data", subject),
        limits=Limits(rate=0),
    )
    with TestClient(create_app(service), base_url="http://localhost") as http:
        for name in list(index.ids)[:5]:
            content = (made / "data" / str(name)).read_bytes()
            hit = http.post("/v1/search/image?k=1", content=content).json()["results"][0]["hits"][0]
            assert hit["id"] == name
            assert abs(hit["distance"]) < 1e-5
            assert http.get("/v1/items/thumbnail", params={"id": name}).status_code == 200
        info = http.get("/v1/info").json()
        assert (info["kind"], info["fingerprint"]) == ("image", subject.fingerprint)


def test_sounds_are_read_from_bytes(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    from nearfar.errors import DataError
    from nearfar.serving.run_encoder import _sounds

    wave = (0.5 * np.sin(np.arange(4_000) * 0.2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 8_000, subtype="FLOAT")
    read = _sounds({"rate": 8_000, "longest": 0.25})
    np.testing.assert_allclose(read((tmp_path / "a.wav").read_bytes()), wave[:2_000], atol=1e-6)
    for content in (b"nothing", b"", (tmp_path / "a.wav").read_bytes()[:30]):
        with pytest.raises(DataError, match="sound: cannot be read"):
            read(content)


def test_items_that_are_no_file_are_said():
    from nearfar.serving.run_encoder import _reader

    with pytest.raises(ConfigError, match="must be one of images, sounds or texts, got one of table"):
        _reader(SimpleNamespace(modality="table", options={}), Limits())
