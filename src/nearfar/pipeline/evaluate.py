"""Evaluating: every number with its protocol."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import nn

from nearfar.config import check
from nearfar.data import Source, hold_out_rows
from nearfar.data.embeddings import read_embeddings
from nearfar.errors import ConfigError, DataError, RunError, nearest, require
from nearfar.evaluation import PROTOCOLS, Labelled, Protocol, Report, encode_labels
from nearfar.evaluation import evaluate as score
from nearfar.files import write_atomic
from nearfar.pipeline.data import open_test_data
from nearfar.pipeline.features import Subject, features, open_subject, raw, untrained
from nearfar.pipeline.pairs import PAIRED, paired_protocols, score_pairs
from nearfar.pipeline.split import training_and_test

__all__ = ["evaluate"]

DEFAULTS = ("knn", "linear", "fewshot", "retrieval", "verification", "geometry")


def evaluate(
    encoder: str | Path | None = None,
    data: Any = None,
    *,
    embeddings: str | Path | None = None,
    test_embeddings: str | Path | None = None,
    baseline: Literal["raw", "pixels", "random"] | None = None,
    protocol: Sequence[str] = DEFAULTS,
    options: Mapping[str, Any] | None = None,
    train_split: str | None = None,
    test_split: str | None = None,
    limit: int | None = None,
    modality: str = "auto",
    input_options: Mapping[str, Any] | None = None,
    channels: int | None = None,
    image_size: int | None = None,
    out: str | Path | None = None,
    threads: int | None = None,
    seed: int = 0,
    module: nn.Module | None = None,
) -> Report:
    """Score an encoder, a baseline, or embeddings that anybody made.

    What may be learnt from is the ``train`` split, what is scored is the ``test`` (or ``val``) split; where there are
    none, a fifth of the items is held out, evenly over the classes and drawn by the seed; items of one group, such as a
    patient's, stay together.

    Args:
        encoder: a run folder, or the name of a stock encoder.
        data: labelled items, as for `nearfar.pretrain`.
        embeddings: a Parquet file of embeddings with labels, in place of an encoder and data.
        test_embeddings: another one to score; without it a fifth of ``embeddings`` is held out.
        baseline: score the ``raw`` items (``pixels`` is another name for it) or a ``random`` (untrained) encoder
            instead, with the encoder's view of the items.
        protocol: names of protocols: knn, linear, fewshot, retrieval, verification, geometry, auc; of pairs (texts,
            images with captions) sts and pairs, and zero-shot, which learn from nothing and are scored on the ``test``
            split, or on everything where there is none.
        options: settings of the protocols, such as ``{"k": 20}``; each goes to the protocols that have it.
        train_split: the split to learn from.
        test_split: the split to score.
        limit: learn from that many items only.
        modality: of the data, for a stock encoder; a run knows its own.
        input_options: how the data are read, where they differ from the run's: another name of the label column.
        channels: of images; by default what the encoder was trained with.
        image_size: side of the images in pixels, for a stock encoder; 224 when absent, a run knows its own.
        out: write the report there, as JSON.
        threads: threads that read items.
        seed: of the held-out part and of all draws.
        module: a freshly built encoder of your own, for a run that trained one.

    Returns:
        The report; ``report.text()`` prints it, ``report["knn"].value`` is one number.

    Raises:
        ConfigError: on an unknown protocol or setting.
        DataError: when there are no labels.
        RunError: when there is no such encoder, or ``out`` cannot be written.
    """
    if out is not None and not Path(out).parent.is_dir():
        raise RunError(f"{out}: must be in an existing folder, got none of that name; make it, or choose another --out")
    paired, taken = paired_protocols(protocol, options or {}, seed)
    protocols = _protocols([name for name in protocol if name not in PAIRED], options or {}, seed, taken)
    if embeddings is not None:
        alone = encoder is None and data is None
        require(alone, "evaluate", "embeddings", "given alone", "an encoder or data as well", error=ConfigError)
        known, names = not paired, ", ".join(one.name for one in paired)
        fix = "give the run and the data instead"
        require(known, "evaluate", "protocol", "one of embeddings with labels", names, fix, error=ConfigError)
        train, test = _from_files(Path(embeddings), test_embeddings, seed)
        report = score(train, test, protocols, subject=str(embeddings))
    else:
        given = encoder is not None and data is not None
        require(given, "evaluate", "encoder and data", "given", "one of them missing", error=ConfigError)
        assert encoder is not None
        given_options = {**(input_options or {}), "channels": channels, "image_size": image_size}
        options = {key: value for key, value in given_options.items() if value is not None}
        found = open_subject(encoder, data=data, modality=modality, options=options, module=module)
        opened = _baseline(found, baseline)
        reading = opened.inputs.reading(str(encoder), opened.modality.check_options(options))
        reports = []
        if protocols:
            parts = training_and_test(
                opened.modality, data, reading, train=train_split, test=test_split, limit=limit, seed=seed
            )
            reports.append(score(*_from_items(opened, parts, threads), protocols, subject=opened.name))
        if paired:
            source = open_test_data(opened.modality, data, reading, split=test_split)
            reports.append(score_pairs(opened, source, paired, threads))
        results = tuple(result for one in reports for result in one.results)
        report = dataclasses.replace(reports[0], results=results)
    if out is not None:
        write_atomic(Path(out), report.to_json())
    return report


def _protocols(names: Sequence[str], options: Mapping[str, Any], seed: int, taken: set[str]) -> list[Protocol]:
    """Build the protocols; every setting must belong to at least one of them, or be taken by another kind already."""
    built: list[Protocol] = []
    used: set[str] = set(taken)
    for name in names:
        if name not in PROTOCOLS:
            fix = nearest(name, [*PROTOCOLS, *PAIRED])
            raise ConfigError(f"evaluate: protocol must be known, got {name!r}; {fix}")
        fields = _fields(PROTOCOLS[name])
        mine = {key: value for key, value in {"seed": seed, **options}.items() if key in fields}
        used |= set(mine)
        values = {key: check(f"protocol {name}", key, fields[key], value) for key, value in mine.items()}
        built.append(PROTOCOLS[name](**values))
    for key in options:
        if key not in used:
            known = {field for name in names for field in _fields(PROTOCOLS[name])}
            raise ConfigError(f"evaluate: unknown setting {key!r}; {nearest(key, known)}")
    return built


def _fields(protocol: type[Protocol]) -> dict[str, Any]:
    hints = typing.get_type_hints(protocol)
    return {field.name: hints[field.name] for field in dataclasses.fields(protocol)}  # type: ignore[arg-type]


def _baseline(opened: Subject, baseline: str | None) -> Subject:
    if baseline in ("raw", "pixels"):
        return raw(opened.inputs)
    return untrained(opened.spec, inputs=opened.inputs) if baseline == "random" else opened


def _from_items(subject: Subject, sources: tuple[Source, Source], threads: int | None) -> tuple[Labelled, Labelled]:
    sets = []
    for name, source in zip(("train", "test"), sources, strict=True):
        who, fix = f"evaluate, {name} {subject.modality.items}", subject.modality.labels_fix
        require(source.labels is not None, who, "labels", "given", "none", fix, error=DataError)
        assert source.labels is not None
        rows, vectors = features(subject, source, threads=threads, description=f"{subject.name}: {name}")
        sets.append(Labelled(vectors, source.labels[rows], split=name, view=subject.view))
    return sets[0], sets[1]


def _from_files(train: Path, test: str | Path | None, seed: int) -> tuple[Labelled, Labelled]:
    first = read_embeddings(train)
    parts = [first, read_embeddings(Path(test))] if test is not None else [first]
    for path, part in zip((train, test), parts, strict=False):
        require(part.labels is not None, str(path), "labels", "a column 'label'", "none", error=DataError)
    labels, _ = encode_labels(*[list(part.labels) for part in parts if part.labels is not None])
    if len(parts) == 2:
        sets = [(part.vectors, number) for part, number in zip(parts, labels, strict=True)]
    else:
        kept, held = hold_out_rows(labels[0], len(first.vectors), share=0.2, seed=seed)
        sets = [(first.vectors[rows], labels[0][rows]) for rows in (kept, held)]
    train_set, test_set = (
        Labelled(vectors, number, split=name, view="as embedded")
        for (vectors, number), name in zip(sets, ("train", "test"), strict=True)
    )
    return train_set, test_set
