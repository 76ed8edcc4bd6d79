"""The one evaluation: every subject is scored by the same protocols on the same items."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from nearfar.comparing.parts import Parts
from nearfar.data import Source
from nearfar.evaluation import KNN, FewShot, Geometry, Labelled, Linear, Protocol, evaluate
from nearfar.pipeline.features import Subject, features
from nearfar.pipeline.settings import PretrainConfig

__all__ = ["DRAWS", "GRID", "Scorer"]

GRID = (1e-3, 1e-2, 1e-1, 1.0)
"""Of the linear probe's C: fewer values than the protocol's own, since many encoders are scored."""

DRAWS = 3
"""Draws of few labels a seed."""


class Scorer:
    """Scores subjects; the images are read when the first one asks for them."""

    def __init__(self, parts: Parts, shared: PretrainConfig) -> None:
        self.parts, self.shared = parts, shared
        self._embedded: dict[str, tuple[Labelled, Labelled]] = {}

    @cached_property
    def _sources(self) -> tuple[Source, Source]:
        threads, keep = self.shared.threads, self.parts.inputs.keep
        return keep(self.parts.train, threads=threads, whole=True), keep(self.parts.test, threads=threads, whole=True)

    def score(self, subject: Subject, seed: int, *, keep: bool = False) -> dict[str, Any]:
        """Return the scores, the width and the fingerprint of a subject, as JSON has them.

        Args:
            subject: what is scored.
            seed: of the draws.
            keep: remember its embeddings for other seeds.
        """
        sets = self._embedded.get(subject.fingerprint) or self._embed(subject)
        if keep:
            self._embedded[subject.fingerprint] = sets
        report = evaluate(*sets, self._protocols(seed), subject=subject.name)
        return {
            "fingerprint": subject.fingerprint,
            "dim": sets[0].embeddings.shape[1],
            "report": json.loads(report.to_json()),
        }

    def _protocols(self, seed: int) -> list[Protocol]:
        few = FewShot(per_class=self.parts.shots, draws=DRAWS, seed=seed)
        return [KNN(), Linear(grid=GRID, seed=seed), few, Geometry(seed=seed)]

    def _embed(self, subject: Subject) -> tuple[Labelled, Labelled]:
        sets = []
        for split, source in zip(("train", "test"), self._sources, strict=True):
            rows, vectors = features(
                subject,
                source,
                threads=self.shared.threads,
                accelerator=self.shared.accelerator,
                description=f"{subject.name}, {split}",
            )
            assert source.labels is not None
            sets.append(Labelled(vectors, source.labels[rows], split=split, view=subject.view))
        return sets[0], sets[1]
