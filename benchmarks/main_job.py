"""The main job on a folder of labelled images: pretrained encoders beside pixels, untrained and from-scratch ones."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import nearfar
from benchmarks.record import Timer, peak_memory_mib
from nearfar.data import Source, decode_all, open_splits, take
from nearfar.evaluation import KNN, FewShot, Labelled, Linear, Report, draw_labels, evaluate
from nearfar.pipeline.data import limit_source
from nearfar.pipeline.features import Subject, features, open_subject, raw, untrained
from nearfar.pipeline.settings import PretrainConfig

SHOTS = (1, 10, 100)
SCRATCH_STEPS = 300
GRID = (1e-3, 1e-2, 1e-1)
"""Of C: fewer values than the protocol's own, to save time."""


def load(data: Path, limit: int) -> tuple[Source, Source]:
    """Return ``limit`` training images, drawn evenly over the classes by seed 0, and all test images."""
    parts = open_splits(data)
    return decode_all(limit_source(parts["train"], limit, seed=0)), decode_all(parts["test"])


def embedded(subject: Subject, train: Source, test: Source) -> tuple[Labelled, Labelled]:
    """Embed both parts."""
    sets = []
    for name, source in (("train", train), ("test", test)):
        rows, vectors = features(subject, source, description=f"{subject.name}, {name}")
        sets.append(Labelled(vectors, source.labels[rows], split=name, view=subject.view))
    return sets[0], sets[1]


def score(subject: Subject, train: Source, test: Source, seed: int) -> Report:
    """Score one subject: kNN and linear with all labels, both with few."""
    protocols = [KNN(), Linear(grid=GRID, seed=seed), FewShot(per_class=SHOTS, draws=3, seed=seed)]
    return evaluate(*embedded(subject, train, test), protocols, subject=subject.name)


def from_scratch(like: Subject, config: PretrainConfig, train: Source, test: Source, seed: int) -> dict[str, float]:
    """Train encoder and classifier on few labels alone, on the recipe's views, and return the test accuracies.

    The rows are those of the first draw of `FewShot` with the same seed. AdamW, 1e-3 with a cosine, 300 steps.
    """
    accuracies = {}
    views = like.inputs.views(config.views)[:1]
    for shots in SHOTS:
        torch.manual_seed(seed)
        rows = draw_labels(train.labels, shots, draw=0, seed=seed)
        fresh = untrained(like.spec, seed=seed)
        encoder = fresh.encoder.train().to(memory_format=torch.channels_last)
        model = nn.Sequential(encoder, nn.Linear(like.spec.dim, int(train.labels.max()) + 1))
        _fit(model, take(train, rows), views, like, config, seed)
        encoder.eval()
        _, vectors = features(fresh, test, description=f"from scratch, {shots} per class")
        with torch.inference_mode():
            answers = model[1](torch.from_numpy(vectors)).argmax(dim=1).numpy()
        accuracies[f"linear, {shots} per class"] = float((answers == test.labels).mean())
    return accuracies


def _fit(model: nn.Module, train: Source, views: Sequence, like: Subject, config: PretrainConfig, seed: int) -> None:
    import dataclasses

    view = dataclasses.replace(views[0], **config.view_options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, SCRATCH_STEPS)
    rng = np.random.default_rng(seed)
    for _ in range(SCRATCH_STEPS):
        rows = rng.permutation(len(train))[: config.batch_size]
        images = like.inputs.make_views([train.read(int(row)) for row in rows], [view], rng)[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(images)
        loss = F.cross_entropy(logits.float(), torch.from_numpy(train.labels[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def pretrained(config: PretrainConfig, train: Source, seed: int) -> tuple[Subject, float]:
    """Pretrain and return the encoder and the seconds it took, Lightning's set-up included."""
    import dataclasses

    folder = Path(tempfile.mkdtemp())
    with Timer() as timer:
        run = nearfar.pretrain(train, out=folder / "run", config=dataclasses.replace(config, seed=seed))
    return open_subject(run.path), timer.seconds


def compare(
    train: Source, test: Source, configs: dict[str, PretrainConfig], seeds: Sequence[int], *, scratch: bool = True
) -> tuple[list[str], list[list[str]], list[str]]:
    """Return the columns, the rows and the notes of the table."""
    names = ["knn", "linear", *(f"{kind}, {n} per class" for n in SHOTS for kind in ("knn", "linear"))]
    values: dict[str, list[dict[str, float]]] = {}
    seconds: dict[str, list[float]] = {}
    sentences: list[str] = []
    for seed in seeds:
        subject = None
        for method, config in configs.items():
            subject, took = pretrained(config, train, seed)
            report = score(subject, train, test, seed)
            values.setdefault(method, []).append({name: report[name].value for name in names})
            seconds.setdefault(method, []).append(took)
            sentences = [f"{result.protocol}: {result.sentence}" for result in report.results]
        assert subject is not None
        for name, baseline in (("raw pixels", raw(subject.inputs)), ("untrained", untrained(subject.spec, seed=seed))):
            report = score(baseline, train, test, seed)
            values.setdefault(name, []).append({key: report[key].value for key in names})
        if scratch:
            config = next(iter(configs.values()))
            values.setdefault("from scratch", []).append(from_scratch(subject, config, train, test, seed))
    rows = [
        [
            name,
            *(_cell([run.get(key) for run in runs]) for key in names),
            _cell(seconds.get(name, [None]), percent=False),
        ]
        for name, runs in values.items()
    ]
    notes = [
        *sentences,
        f"mean ± standard deviation over seeds {list(seeds)}; a seed draws weights, views, order and labels",
        f"from scratch: the same encoder with a linear classifier, {SCRATCH_STEPS} steps on the few labels of the "
        "first draw, on the recipe's views",
        f"peak memory of the whole process: {peak_memory_mib():.0f} MiB",
    ]
    return ["", *names, "pretraining, s"], rows, notes


def _cell(values: Sequence[float | None], *, percent: bool = True) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    scale = 100 if percent else 1
    mean = np.mean(known) * scale
    spread = f" ± {np.std(known, ddof=1) * scale:.1f}" if len(known) > 1 else ""
    return f"{mean:.1f}{spread}"
