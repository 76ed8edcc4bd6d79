"""Small services in this process and as processes of their own."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from nearfar.indexing import Records, create
from nearfar.serving import Encoder, Limits, Store
from nearfar.serving.app import create_app
from nearfar.serving.media import encoded
from nearfar.serving.pictures import MEDIA_TYPES, open_picture
from nearfar.serving.service import Service

DIM = 12


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


def records(ids: list[Any], seed: int = 0, labels: list[Any] | None = None) -> Records:
    """Return items as a store takes them."""
    count = len(ids)
    return Records(ids, vectors(count, seed), labels or [None] * count, [{}] * count, [None] * count)


def write_index(path: Path, count: int = 20, **settings: Any) -> Path:
    """Save an index of items "item 0", "item 1", ... with the labels "even" and "odd"."""
    index = create(DIM, **settings)
    names = [f"item {row}" for row in range(count)]
    index.add(names, vectors(count), [("even", "odd")[row % 2] for row in range(count)])
    index.save(path)
    return path


def embed(items: Any) -> np.ndarray:
    """Return the mean colours of the four quarters of each picture."""
    rows = []
    for small in items:
        item = np.kron(small, np.ones((2, 2, 1)))  # pictures of one pixel have quarters as well
        h, w = item.shape[0] // 2, item.shape[1] // 2
        parts = [item[y : y + h, x : x + w].mean(axis=(0, 1)) for y in (0, h) for x in (0, w)]
        rows.append(np.concatenate(parts) / 255)
    return np.array(rows, np.float32)


def encoder(limits: Limits | None = None, fingerprint: str = "0123") -> Encoder:
    pixels = (limits or Limits()).pixels

    def read(content: bytes) -> Any:
        return open_picture(content, pixels=pixels, channels=3)

    def small(content: bytes) -> bytes:
        return encoded(read(content), 32).data

    return Encoder("image", "quarters", DIM, fingerprint, read, embed, MEDIA_TYPES, small)


def picture(seed: int = 0, size: tuple[int, int] = (16, 16), kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind)
    return buffer.getvalue()


@contextlib.contextmanager
def client(
    path: Path,
    *,
    key: str | None = None,
    limits: Limits | None = None,
    with_encoder: bool = True,
    writable: bool = True,
    media: Any = None,
    backend: str | None = None,
    raising: bool = True,
) -> Iterator[TestClient]:
    """Serve an index folder in this process."""
    from nearfar.indexing import open_index

    limits = limits or Limits(rate=0)
    store = Store(open_index(path, backend=backend), path)
    service = Service(store, encoder=encoder(limits) if with_encoder else None, media=media, limits=limits)
    app = create_app(service, key=key, writable=writable)
    try:
        with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=raising) as one:
            yield one
    finally:
        store.close()


@contextlib.contextmanager
def process(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run ``nearfar ARGUMENTS --port 0`` and yield the process and its address once it listens."""
    command = [sys.executable, "-c", "from nearfar.cli import main; main()", *map(str, arguments), "--port", "0"]
    environment = {key: value for key, value in os.environ.items() if key != "NEARFAR_API_KEY"}
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert running.stderr is not None
        said = ""
        for line in running.stderr:
            said += line
            found = re.search(r" on (http://\S+);", line)
            if found:
                yield running, found[1]
                return
        raise AssertionError(said)
    finally:
        running.kill()
        running.wait()
        assert running.stderr is not None
        running.stderr.close()
