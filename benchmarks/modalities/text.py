"""Texts on two cores: similarity of sentences, intents from few labels, and sentence-transformers side by side.

Run with: uv run python -m benchmarks.modalities.text DATA [--part sts|banking|side]; sts and banking if not said.

DATA holds the folders multi30k, wikisplit, stsb-multi and banking77. No test sentence of STS-B is trained on; the
settings were chosen on its development set. The last epoch is reported.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import nearfar
from benchmarks.modalities._text_baselines import tfidf, tfidf_svd, word_vectors
from benchmarks.modalities._text_data import Texts, banking, draw, load
from benchmarks.record import Timer, table, write
from nearfar.data import Source, take
from nearfar.data.texts import TextSource
from nearfar.evaluation import FewShot, Labelled, draw_labels, evaluate
from nearfar.evaluation.similarity import cosines, spearman
from nearfar.pipeline.features import Subject, features, open_subject, untrained
from nearfar.pipeline.settings import PretrainConfig
from nearfar.recipes.text import simcse_pairs, simcse_small

SENTENCES = 12_800
PAIRS = 12_800
SHOTS = (1, 5, 10)
SCRATCH_STEPS = 150
PAIRED = "SimCSE, pairs of captions"
LAST_EPOCH = "the last epoch; times on a machine that did other work as well"


def mean_sd(values: Sequence[float], scale: float = 100.0) -> str:
    numbers = scale * np.asarray(values)
    return f"{numbers.mean():.1f} ± {numbers.std(ddof=1):.1f}" if len(numbers) > 1 else f"{numbers[0]:.1f}"


def trained(config: PretrainConfig, rows: Source | list[Any], seed: int) -> tuple[Subject, float]:
    """Pretrain once; return the encoder and the seconds it took."""
    with tempfile.TemporaryDirectory() as folder:
        with Timer() as timer:
            run = nearfar.pretrain(rows, out=Path(folder) / "run", config=dataclasses.replace(config, seed=seed))
        return open_subject(run.path), timer.seconds


def embedder(subject: Subject) -> Callable[[Sequence[str]], np.ndarray]:
    def embed(texts: Sequence[str]) -> np.ndarray:
        return features(subject, TextSource([(text,) for text in texts]), description="embed")[1]

    return embed


def sts(embed: Callable[[Sequence[str]], np.ndarray], test: TextSource) -> float:
    first, second = (embed([row[side] for row in test.texts]) for side in (0, 1))
    return spearman(cosines(first, second), test.scores)


def sts_rows(texts: Texts, seeds: Sequence[int], quick: bool) -> tuple[list[list[Any]], dict[str, list[Subject]]]:
    sentences = draw(texts.sentences, SENTENCES, 0)
    captions = draw(texts.captions, PAIRS, 0)
    flat = [*sentences, *(text for row in captions for text in row)]
    rows = [
        ["TF-IDF, on the same sentences", mean_sd([sts(tfidf(sentences), texts.test)]), None],
        ["TF-IDF and SVD, on the same sentences", mean_sd([sts(tfidf_svd(sentences), texts.test)]), None],
        ["mean word vectors, on the same sentences", mean_sd([sts(word_vectors(sentences), texts.test)]), None],
        ["TF-IDF, on sentences and captions", mean_sd([sts(tfidf(flat), texts.test)]), None],
        ["TF-IDF and SVD, on sentences and captions", mean_sd([sts(tfidf_svd(flat), texts.test)]), None],
        ["mean word vectors, on sentences and captions", mean_sd([sts(word_vectors(flat), texts.test)]), None],
    ]
    print(rows, flush=True)
    if quick:
        sentences, captions = sentences[:1024], captions[:1024]
    kept: dict[str, list[Subject]] = {}
    short: dict[str, Any] = {"epochs": 1} if quick else {}
    jobs = {
        "SimCSE, the sentence twice (dropout)": (simcse_small(), sentences, {"views": "dropout", "view_options": {}}),
        "SimCSE, words left out": (simcse_small(), sentences, {}),
        PAIRED: (simcse_pairs(), captions, {}),
    }
    for name, (config, data, changes) in jobs.items():
        found = [trained(dataclasses.replace(config, **changes, **short), data, seed) for seed in seeds]
        kept[name] = [subject for subject, _ in found]
        scores = [sts(embedder(subject), texts.test) for subject, _ in found]
        rows.append([name, mean_sd(scores), float(np.mean([seconds for _, seconds in found]))])
        print(rows[-1], flush=True)
    fresh = [untrained(one.spec, seed=seed, inputs=one.inputs) for seed, one in enumerate(kept[next(iter(kept))])]
    rows.insert(6, ["the untrained encoder", mean_sd([sts(embedder(one), texts.test) for one in fresh]), None])
    return rows, kept


def few_labels(embed: Callable[[Sequence[str]], np.ndarray], train: Source, test: Source, seed: int) -> list[float]:
    sets = [
        Labelled(embed([source.read(row)[0] for row in range(len(source))]), source.labels, split=split)
        for split, source in (("train", train), ("test", test))
    ]
    report = evaluate(*sets, [FewShot(per_class=SHOTS, draws=3, seed=seed)], subject="")
    return [report[f"linear, {shots} per class"].value for shots in SHOTS]


def from_scratch(like: Subject, train: Source, test: Source, seed: int) -> list[float]:
    """Train the same encoder with a classifier on the few labels alone, on texts with words left out."""
    found = []
    for shots in SHOTS:
        torch.manual_seed(seed)
        part = take(train, draw_labels(train.labels, shots, draw=0, seed=seed))
        fresh = untrained(like.spec, seed=seed, inputs=like.inputs)
        model = nn.Sequential(fresh.encoder.train(), nn.Linear(like.spec.dim, int(train.labels.max()) + 1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, SCRATCH_STEPS)
        rng, view = np.random.default_rng(seed), like.inputs.views("deletion")[:1]
        for _ in range(SCRATCH_STEPS):
            rows = rng.permutation(len(part))[:128]
            made = like.inputs.make_views([part.read(int(row)) for row in rows], view, rng)[0]
            optimizer.zero_grad()
            F.cross_entropy(model(made), torch.from_numpy(part.labels[rows])).backward()
            optimizer.step()
            schedule.step()
        fresh.encoder.eval()
        vectors = torch.from_numpy(embedder(fresh)([test.read(row)[0] for row in range(len(test))]))
        with torch.inference_mode():
            found.append(float((model[1](vectors).argmax(1).numpy() == test.labels).mean()))
    return found


def banking_rows(
    data: Path, captions: list[Subject], seeds: Sequence[int], quick: bool
) -> tuple[list[list[Any]], list[str]]:
    train, test = banking(data)
    questions = [train.read(row)[0] for row in range(len(train))]
    config = dataclasses.replace(simcse_small(), **({"epochs": 1} if quick else {}))
    own = [trained(config, questions, seed)[0] for seed in seeds]
    ways: dict[str, list[Callable[[Sequence[str]], np.ndarray]]] = {
        "TF-IDF": [tfidf(questions)] * len(seeds),
        "TF-IDF and SVD": [tfidf_svd(questions)] * len(seeds),
        "mean word vectors": [word_vectors(questions)] * len(seeds),
        "the untrained encoder": [
            embedder(untrained(one.spec, seed=s, inputs=one.inputs)) for s, one in enumerate(own)
        ],
        "SimCSE on the questions, words left out": [embedder(one) for one in own],
        "SimCSE on pairs of captions": [embedder(one) for one in captions],
    }
    rows: list[list[Any]] = []
    for name, embeds in ways.items():
        scores = np.array([few_labels(embed, train, test, seed) for seed, embed in zip(seeds, embeds, strict=True)])
        rows.append([name, *(mean_sd(column) for column in scores.T)])
        print(rows[-1], flush=True)
    scratch = np.array([from_scratch(one, train, test, seed) for seed, one in zip(seeds, own, strict=True)])
    rows.append(["the same encoder on the few labels alone", *(mean_sd(column) for column in scratch.T)])
    return rows, [f"{len(train):,} training questions without labels, {len(test):,} test questions, 77 intents"]


def run(folder: Path, seeds: int, *, quick: bool = False) -> None:
    """Measure with that many seeds, and write the results; with ``quick`` one epoch, printed alone."""
    main([str(folder), "--seeds", *map(str, range(seeds)), *(["--quick"] if quick else [])])


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", choices=("sts", "banking", "side"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="one epoch, prints, writes nothing")
    arguments = parser.parse_args(given)
    texts = load(arguments.data)
    if arguments.part == "side":
        from benchmarks.modalities._text_side import side_by_side

        side_by_side(texts, quick=arguments.quick)
        return
    kept: dict[str, list[Subject]] = {}
    if arguments.part != "banking":
        rows, kept = sts_rows(texts, arguments.seeds, arguments.quick)
        report_sts(rows, arguments, texts)
    if arguments.part != "sts":
        captions = kept[PAIRED] if kept else on_captions(texts, arguments.seeds, arguments.quick)
        bank, notes = banking_rows(arguments.data, captions, arguments.seeds, arguments.quick)
        report_banking(bank, arguments, notes)


def on_captions(texts: Texts, seeds: Sequence[int], quick: bool) -> list[Subject]:
    """Train the encoders of the last row of ``sts_rows`` alone."""
    config = dataclasses.replace(simcse_pairs(), **({"epochs": 1} if quick else {}))
    captions = draw(texts.captions, PAIRS, 0)[: 1024 if quick else None]
    return [trained(config, captions, seed)[0] for seed in seeds]


def report_sts(rows: list[list[Any]], arguments: argparse.Namespace, texts: Texts) -> None:
    """Print, and write unless it was quick."""
    print(rows, flush=True)
    if arguments.quick:
        return
    write(
        "modality_text",
        title="Texts: similarity of sentences",
        tables=[
            table("STS-B English test: Spearman's correlation x 100", ["vectors", "Spearman", "s of training"], rows)
        ],
        notes=[
            f"seeds {arguments.seeds} (of weights, order and labels), ± sd where there are several; {LAST_EPOCH}",
            f"training: {SENTENCES:,} sentences of multi30k and wikisplit, or the five captions of each of {PAIRS:,} "
            f"pictures; {texts.dropped} rows with a sentence of STS-B's test set were left out before",
            "STS-B is largely captions, and so is multi30k: that its captions help says little about other texts",
        ],
        command="uv run python -m benchmarks.modalities.text DATA --part sts",
    )


def report_banking(rows: list[list[Any]], arguments: argparse.Namespace, notes: list[str]) -> None:
    """Print, and write unless it was quick."""
    print(rows, flush=True)
    if arguments.quick:
        return
    write(
        "modality_text_intents",
        title="Texts: intents of customers' questions from few labels",
        tables=[
            table("banking77: test accuracy in %, linear probe", ["vectors", *(f"{n} per intent" for n in SHOTS)], rows)
        ],
        notes=[
            f"seeds {arguments.seeds} (of weights, order and labels), three draws of labels each, ± sd over seeds; "
            f"{LAST_EPOCH}",
            *notes,
            f"pairs of captions: the five captions of each of {PAIRS:,} pictures of multi30k",
        ],
        command="uv run python -m benchmarks.modalities.text DATA --part banking",
    )


if __name__ == "__main__":
    main()
