"""Searching: by an image file, a folder of images, or the id of an item."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.data import open_images
from nearfar.data.source import Source
from nearfar.errors import ConfigError, DataError, require
from nearfar.files import write_atomic
from nearfar.indexing import open_index
from nearfar.modalities import IMAGE
from nearfar.pipeline.features import Subject, open_subject
from nearfar.searching import Results, search_ids, search_images

__all__ = ["search"]


def search(
    index: str | Path,
    query: Any,
    *,
    k: int = 10,
    encoder: str | Path | None = None,
    images: Any = None,
    sheet: str | Path | None = None,
) -> Results:
    """Find the nearest items of an index.

    Args:
        index: an index folder.
        query: an image file, a folder of images, or the id of an item in the index.
        k: how many neighbours.
        encoder: the run that made the embeddings; needed unless the query is an id.
        images: the images that were indexed, for the sheet.
        sheet: write a PNG with queries and neighbours as pictures; needs ``images``.

    Returns:
        The hits: ``results.to_json()``, ``results.table()``, or ``results.hits`` themselves.

    Raises:
        RunError: when there is no index, or the encoder is not the one that made it.
        DataError: when the query is neither an image, a folder, nor a known id.
    """
    opened = open_index(index)
    if sheet is not None and images is None:
        raise ConfigError("search: images must be given for a sheet, got none; add --images with what was embedded")
    if isinstance(query, str) and query in opened:
        results = search_ids(opened, [query], k)
        asked_from = images
    else:
        _check_query(query)
        if encoder is None:
            raise ConfigError(
                "search: run must be given for an image, got none; add --run with what embedded the index"
            )
        subject = open_subject(encoder)
        results = search_images(
            opened, query, _embedder(subject), k, channels=subject.spec.in_channels, fingerprint=subject.fingerprint
        )
        asked_from = query
    if sheet is not None:
        _write_sheet(Path(sheet), results, asked_from, images)
    return results


def _check_query(query: Any) -> None:
    if isinstance(query, str | Path) and not Path(query).exists():
        raise DataError(f"{query}: must be an image file, a folder of images or an id in the index, got none of these")


def _embedder(subject: Subject) -> Any:
    view = IMAGE.evaluation_view(subject.spec.image_size, mean=subject.spec.mean, std=subject.spec.std)

    def embed(items: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        views = IMAGE.make_views(list(items), [view], np.random.default_rng(0))
        assert isinstance(views[0], torch.Tensor)
        assert subject.encoder is not None
        with torch.inference_mode():
            h = subject.encoder(views[0])
        vectors: NDArray[np.float32] = h.float().numpy()
        return vectors

    return embed


def _write_sheet(path: Path, results: Results, queries: Any, images: Any) -> None:
    from nearfar.report import Neighbour, Query, neighbours_sheet

    indexed, asked = open_images(images), open_images(queries)
    place, place_asked = _places(indexed), _places(asked)
    for known, names in ((place, [hit.id for hit in results.hits]), (place_asked, list(results.queries))):
        missing = next((name for name in names if name not in known), None)
        got, fix = f"none with the id {missing!r}", "give the images that were embedded and indexed"
        require(missing is None, str(images), "images", "those of the index", got, fix, error=DataError)
    rows = []
    for name, hits in list(results.by_query())[:20]:
        neighbours = [
            Neighbour(
                image=indexed.read(place[hit.id]),
                distance=hit.distance,
                label="" if hit.label is None else str(hit.label),
                id=hit.id,
            )
            for hit in hits
        ]
        rows.append(Query(image=asked.read(place_asked[name]), neighbours=neighbours, id=name))
    buffer = io.BytesIO()
    neighbours_sheet(rows).save(buffer, format="PNG")
    write_atomic(path, buffer.getvalue())


def _places(source: Source) -> dict[str, int]:
    return {name: row for row, name in enumerate(source.ids)}
