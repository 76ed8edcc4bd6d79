"""An explorer in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nearfar.exploring import Collection
from nearfar.exploring.explore import kept_thumbnails
from nearfar.exploring.layout import layout
from nearfar.exploring.routes import PUBLIC, explore_routes
from nearfar.exploring.view import Plane, View
from nearfar.serving import Encoder, Limits, SourceMedia, Store
from nearfar.serving.app import create_app
from nearfar.serving.pictures import MEDIA_TYPES, open_picture
from nearfar.serving.service import Service
from tests.exploring.samples import DIM, vectors


def encoder() -> Encoder:
    """Return an encoder that sees a red picture as a dog and any other as a cat."""

    def embed(items: Any) -> np.ndarray:
        rows = np.zeros((len(items), DIM), np.float32)
        rows[:, 0] = [1.0 if item[..., 0].mean() > item[..., 2].mean() else -1.0 for item in items]
        return rows

    def read(content: bytes) -> Any:
        return open_picture(content, pixels=1_000_000, channels=3)

    return Encoder("image", "red or blue", DIM, "0123", read, embed, MEDIA_TYPES)


def view_of(paths: list[Path], *, pictures: Path | None = None, store: Store | None = None) -> View:
    from nearfar.data import open_images

    collections = [Collection.of_parquet(path) for path in paths]
    planes = []
    for number, one in enumerate(collections):
        xy = layout(one.vectors, one.metric, method="pca", cache=False)
        order = [one.row[name] for name in collections[0].ids if name in one.row]
        search = one.index.search if number or store is None else store.search
        planes.append(Plane(one.name, "principal components", one, xy[order] if number else xy, search))
    media = None if pictures is None else SourceMedia(open_images(pictures))
    return View(planes, media, kept_thumbnails(Store(collections[0].index)), upload="image")


@contextlib.contextmanager
def explorer(paths: list[Path], *, pictures: Path | None = None, key: str | None = None) -> Iterator[Any]:
    view = view_of(paths, pictures=pictures)
    service = Service(Store(view.collection.index), encoder=encoder(), media=view.media, limits=Limits(rate=0))
    yield create_app(service, key=key, writable=False, more=[explore_routes(service, view)], public=PUBLIC)


__all__ = ["encoder", "explorer", "vectors", "view_of"]
