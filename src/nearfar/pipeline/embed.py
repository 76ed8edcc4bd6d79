"""Embedding: from items to a Parquet file of vectors, in order, restartable."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from nearfar.data import take
from nearfar.data.embeddings import EmbeddingsInfo
from nearfar.data.embeddings_writer import EmbeddingsWriter
from nearfar.data.source import Source
from nearfar.errors import RunError, require
from nearfar.pipeline.data import open_part
from nearfar.pipeline.features import Subject, iterate_features, open_subject
from nearfar.progress import say

__all__ = ["embed"]


def embed(
    encoder: str | Path,
    data: Any,
    *,
    out: str | Path,
    split: str | None = None,
    modality: str = "auto",
    input_options: Mapping[str, Any] | None = None,
    channels: int | None = None,
    image_size: int | None = None,
    pretrained: bool = True,
    batch_size: int = 256,
    threads: int | None = None,
    overwrite: bool = False,
    module: nn.Module | None = None,
) -> Path:
    """Write the representations of all items, in their order, with ids and labels.

    When it is stopped, even by a kill, the same call goes on where it was. Items that cannot be read are left out and
    said. The file appears under its name only when it is complete.

    Args:
        encoder: a run folder, or the name of a stock encoder: ``small``, any timm model.
        data: as for `nearfar.pretrain`.
        out: the Parquet file: columns ``id``, ``embedding`` and, where there are any, ``label``.
        split: embed one split only.
        modality: of the data, for a stock encoder; a run knows its own.
        input_options: how the data are read, where they differ from the run's.
        channels: of images; by default what the encoder was trained with.
        image_size: of images, the side in pixels for a stock encoder; 224 when absent, a run knows its own.
        pretrained: load published weights into a stock encoder that has any.
        batch_size: items at once; no effect on the numbers beyond rounding.
        threads: threads that read items.
        overwrite: replace the file, and forget an unfinished one.
        module: a freshly built encoder of your own, for a run that trained one.

    Returns:
        The path of the file.

    Raises:
        RunError: when the file exists, or there is no such encoder.
        DataError: when the data cannot be used.
    """
    path = Path(out)
    if path.exists() and not overwrite:
        raise RunError(f"{path}: already exists; choose another --out, or add --overwrite")
    given = {**(input_options or {}), "channels": channels, "image_size": image_size}
    options = {key: value for key, value in given.items() if value is not None}
    subject = open_subject(encoder, data=data, modality=modality, options=options, pretrained=pretrained, module=module)
    reading = subject.inputs.reading(str(encoder), subject.modality.check_options(options))
    source = open_part(subject.modality, data, reading, split)
    of = str(data) if isinstance(data, str | Path) else type(data).__name__
    info = EmbeddingsInfo(
        dim=subject.spec.dim,
        fingerprint=subject.fingerprint,
        view=subject.view,
        source=f"{subject.name} on {of}{f', split {split}' if split else ''}",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with EmbeddingsWriter(path, info, overwrite=overwrite) as writer:
        rest = _rest(source, writer.done_ids, path)
        if writer.done:
            say(f"{path}: goes on after {writer.done} embeddings")
        if rest is not None:
            _write(writer, subject, rest, batch_size=batch_size, threads=threads)
    return path


def _rest(source: Source, done: list[str], path: Path) -> Source | None:
    """Return the items after the last one that is already written, or ``None`` when that was the last.

    Raises:
        RunError: when what is written is not of these items in their order.
    """
    if not done:
        return source
    ids = list(source.ids)
    place = {name: row for row, name in enumerate(ids)}
    rows = [place.get(name, -1) for name in done]
    ok = rows[0] >= 0 and all(before < after for before, after in itertools.pairwise(rows))
    must, fix = "of the same items in the same order", "add --overwrite to start again"
    require(ok, str(path), "unfinished embeddings", must, "others", fix, error=RunError)
    start = rows[-1] + 1
    return take(source, range(start, len(source))) if start < len(source) else None


def _write(writer: EmbeddingsWriter, subject: Subject, source: Source, *, batch_size: int, threads: int | None) -> None:
    names = source.class_names
    for rows, vectors in iterate_features(subject, source, batch_size=batch_size, threads=threads):
        labels: list[str | int | None] | None = None
        if source.labels is not None:
            numbers = [int(source.labels[row]) for row in rows]
            labels = [None if n < 0 else names[n] if names else n for n in numbers]
        writer.write([source.ids[int(row)] for row in rows], vectors, labels)
