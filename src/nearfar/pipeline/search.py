"""Searching: by whatever the run's modality opens, or by the id of an item."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nearfar.data.source import Source
from nearfar.errors import ConfigError, DataError, require
from nearfar.files import write_atomic
from nearfar.indexing import Id, open_index, read_where
from nearfar.modalities import Modality, choose
from nearfar.pipeline.embedder import embedder
from nearfar.pipeline.features import Subject, open_subject
from nearfar.searching import Results, search_ids, search_source

__all__ = ["search"]


def search(
    index: str | Path,
    query: Any,
    *,
    k: int = 10,
    where: Mapping[str, Any] | str | None = None,
    within: float | None = None,
    encoder: str | Path | None = None,
    images: Any = None,
    sheet: str | Path | None = None,
) -> Results:
    """Find the nearest items of an index.

    Args:
        index: an index folder.
        query: the id of an item in the index, or what is searched for: an image file, a folder of images, a table of
            rows, a text, as the run's modality opens it.
        k: how many neighbours.
        where: only items that pass this filter on their metadata, for example ``{"price": {"<": 10}}``, or as text
            ``price < 10 and brand = 'x'`` (``nearfar.indexing.expressions``).
        within: only items at most this far, in the metric of the index.
        encoder: the run that made the embeddings; needed unless the query is an id.
        images: the data that were indexed, for the sheet.
        sheet: write a PNG with queries and neighbours as pictures; needs ``images``.

    Returns:
        The hits: ``results.to_json()``, ``results.table()``, or ``results.hits`` themselves.

    Raises:
        RunError: when there is no index, or the encoder is not the one that made it.
        DataError: when the query is neither a known id nor anything that can be opened.
    """
    opened = open_index(index)
    filtered: dict[str, Any] = {"where": read_where(where) if isinstance(where, str) else where, "within": within}
    if sheet is not None and images is None:
        raise ConfigError("search: images must be given for a sheet, got none; add --images with what was embedded")
    subject = None if encoder is None else open_subject(encoder, data=query)
    asked: Source | None = None
    if isinstance(query, str) and query not in opened and query.isdecimal() and int(query) in opened:
        query = int(query)
    if isinstance(query, str | int) and query in opened:
        results = search_ids(opened, [query], k, **filtered)
    elif subject is None:
        modality = choose("auto", query)
        _check_there(query, modality)
        what = modality.query.partition(",")[0]
        raise ConfigError(f"search: run must be given for {what}, got none; add --run with what embedded the index")
    else:
        asked = _asked(query, subject)
        about: dict[str, Any] = {"fingerprint": subject.fingerprint, "who": str(query)}
        results = search_source(opened, asked, embedder(subject), k, **about, **filtered)
    if sheet is not None:
        _write_sheet(Path(sheet), results, asked, images, subject)
    return results


def _asked(query: Any, subject: Subject) -> Source:
    try:
        return subject.modality.open_query(query, subject.inputs)
    except DataError:
        _check_there(query, subject.modality)
        raise


def _check_there(query: Any, modality: Modality) -> None:
    if isinstance(query, str | Path) and not Path(query).exists():
        raise DataError(f"{query}: must be {modality.query} or an id in the index, got none of these")


def _write_sheet(path: Path, results: Results, queries: Source | None, images: Any, subject: Subject | None) -> None:
    from nearfar.report import Neighbour, Query, neighbours_sheet

    modality = choose("auto", images) if subject is None else subject.modality
    options = {} if subject is None else subject.inputs.reading("search", {})
    indexed = modality.open_splits(images, options)[""]
    inputs = modality.fit(indexed, options) if subject is None else subject.inputs
    asked = indexed if queries is None else queries
    place, place_asked = _places(indexed), _places(asked)
    for known, names in ((place, [hit.id for hit in results.hits]), (place_asked, list(results.queries))):
        missing = next((name for name in names if name not in known), None)
        got, fix = f"none with the id {missing!r}", "give the images that were embedded and indexed"
        require(missing is None, str(images), "images", "those of the index", got, fix, error=DataError)
    rows = []
    for name, hits in list(results.by_query())[:20]:
        neighbours = [
            Neighbour(
                image=inputs.thumbnail(indexed.read(place[hit.id])),
                distance=hit.distance,
                label="" if hit.label is None else str(hit.label),
                id=str(hit.id),
            )
            for hit in hits
        ]
        shown = inputs.thumbnail(asked.read(place_asked[name]))
        rows.append(Query(image=shown, neighbours=neighbours, id=str(name)))
    buffer = io.BytesIO()
    neighbours_sheet(rows).save(buffer, format="PNG")
    write_atomic(path, buffer.getvalue())


def _places(source: Source) -> dict[Id, int]:
    return {name: row for row, name in enumerate(source.ids)}
