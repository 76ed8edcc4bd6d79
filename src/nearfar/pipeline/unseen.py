"""Classes that training never sees: held out before it, retrieved among each other after every epoch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nearfar.data import Loader, Source, Subset, take
from nearfar.data.batch import Batch
from nearfar.errors import DataError, require
from nearfar.evaluation import Labelled, Report, Retrieval, Verification, evaluate, retrieval_values
from nearfar.files import write_atomic
from nearfar.modalities import Inputs
from nearfar.pipeline.settings import PretrainConfig

__all__ = ["UnseenClasses", "hold_out_classes", "watch"]

MOST = 2_000
"""Items retrieved among each other after an epoch."""


def hold_out_classes(source: Source, share: float, *, seed: int) -> tuple[Subset, Subset]:
    """Split a source by class: no class is on both sides.

    Classes are drawn by the seed until they make up the share of the classes, at least two; items without a label stay
    on the first side.

    Args:
        source: labelled items.
        share: of the classes, in (0, 1).
        seed: of the draw.

    Returns:
        The part to train on, and the part of unseen classes.

    Raises:
        DataError: when there are fewer than four classes of two items.
    """
    require(0 < share < 1, "pretrain", "hold-out-classes", "in (0, 1)", share)
    labels = source.labels
    fix = "give labelled data, or leave --hold-out-classes out"
    require(labels is not None, "pretrain", "labels to hold classes out", "given", "none", fix, error=DataError)
    assert labels is not None
    names, sizes = np.unique(labels[labels >= 0], return_counts=True)
    fitting = names[sizes >= 2]
    must, got = ">= 4 of two items", len(fitting)
    require(len(fitting) >= 4, "pretrain", "classes", must, got, fix, error=DataError)
    count = min(max(2, round(share * len(fitting))), len(fitting) - 2)
    held = np.random.default_rng([seed, len(names), 5]).permutation(fitting)[:count]
    inside = np.isin(labels, held)
    return take(source, np.flatnonzero(~inside)), take(source, np.flatnonzero(inside))


def watch(inputs: Inputs, source: Source, config: PretrainConfig) -> UnseenClasses:
    """Return what scores an encoder on items of unseen classes, through their evaluation view."""
    kept = inputs.keep(source, cache=config.cache, threads=config.threads, whole=True)
    view = inputs.evaluation_view()

    def batches(part: Source) -> Loader:
        return Loader(
            part,
            lambda items, rng: inputs.make_views(items, [view], rng),
            batch_size=min(256, len(part)),
            shuffle=False,
            drop_last=False,
            on_broken="drop",
            threads=config.threads or 1,
        )

    return UnseenClasses(kept, batches, seed=config.seed)


class UnseenClasses:
    """Scores an encoder by retrieval among items of classes it never saw.

    Args:
        source: their items.
        batches: makes batches of the items' evaluation views, in order, for a source.
        seed: draws the items, evenly over the classes, where there are more than 2,000.
    """

    def __init__(self, source: Source, batches: Callable[[Source], Iterable[Batch]], *, seed: int) -> None:
        assert source.labels is not None
        rows = _evenly(source.labels, MOST, seed)
        self.source, self._batches = take(source, rows), batches
        self.whole = source

    def __call__(self, encoder: nn.Module) -> dict[str, float]:
        """Return ``unseen_recall@1`` and ``unseen_map@r``; the encoder's mode is left as it was."""
        vectors, labels = self._embed(encoder, self.source)
        names, values = retrieval_values(vectors, labels, (1,))
        if not len(values):
            return {}
        means = dict(zip(names, values.mean(axis=0).tolist(), strict=True))
        return {f"unseen_{name}": means[name] for name in ("recall@1", "map@r")}

    def report(self, encoder: nn.Module, subject: str) -> Report:
        """Score all items of unseen classes, with intervals."""
        vectors, labels = self._embed(encoder, self.whole)
        labelled = Labelled(vectors, labels, split="unseen classes", view="evaluation view")
        return evaluate(labelled, labelled, [Retrieval(), Verification()], subject=subject)

    def write(self, path: Path, encoder: nn.Module, subject: str) -> Report:
        """Write the report and the names of the classes as JSON."""
        report = self.report(encoder, subject)
        labels = self.whole.labels
        assert labels is not None
        names = self.whole.class_names
        classes = [names[n] if names else str(n) for n in np.unique(labels).tolist()]
        content = {"classes": classes, "report": json.loads(report.to_json())}
        write_atomic(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        return report

    def _embed(self, encoder: nn.Module, source: Source) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        mode = encoder.training
        device = next(encoder.parameters()).device
        parts, rows = [], []
        encoder.eval()
        try:
            for batch in self._batches(source):
                assert batch.ids is not None
                view = batch.views[0]
                placed = view.to(device) if isinstance(view, Tensor) else {k: v.to(device) for k, v in view.items()}
                with torch.inference_mode():
                    parts.append(encoder(placed).float().cpu().numpy())
                rows.append(batch.ids.numpy())
        finally:
            encoder.train(mode)
        assert source.labels is not None
        return np.concatenate(parts), source.labels[np.concatenate(rows)]


def _evenly(labels: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Return at most ``most`` rows, ascending, drawn evenly over the classes, two of each at least where they fit."""
    if len(labels) <= most:
        return np.arange(len(labels))
    order = np.random.default_rng([seed, len(labels), 6]).permutation(len(labels))
    place = np.zeros(len(labels), dtype=np.int64)
    for name in np.unique(labels):
        rows = np.flatnonzero(labels[order] == name)
        place[rows] = np.arange(len(rows)) // 2  # pairs, so that nobody is left without a partner
    return np.sort(order[np.argsort(place, kind="stable")[:most]])
