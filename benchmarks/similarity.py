"""Retrieval of product photographs of types never trained on, and Omniglot's 20-way one-shot runs.

Run with: uv run python -m benchmarks.similarity FASHION OMNIGLOT, the unpacked folders: FASHION holds images/ and
styles_all.csv, OMNIGLOT holds images_background_small1.zip and all_runs.zip.

Product types are sorted by their number of photographs and every second one is kept for testing, so test types are
unseen; of byte-identical photographs one is kept. The score is leave-one-out retrieval among the test photographs.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import nearfar
from benchmarks.record import Timer, table, write
from nearfar.data import ArraySource
from nearfar.evaluation import Labelled, Report, Retrieval, Verification, evaluate, wilson
from nearfar.pipeline.features import Subject, features, open_subject, raw, untrained
from nearfar.pipeline.settings import PretrainConfig

SIDE = 32
LEAST = 10
"""Photographs of a type at least."""

MEASURES = ("recall@1", "recall@5", "recall@10", "r-precision", "map@r", "mrr", "roc-auc", "eer")

EPOCHS, DRAWN = 8, 12
"""Passes over photographs and over drawings, at one view each; methods of two views take half as many."""

BASE = PretrainConfig(encoder="small", image_size=SIDE, batch_size=128, lr=2e-3, probe=False, log_every=50)
LABELLED = dataclasses.replace(BASE, method="metric", views="metric", sampler="balanced", epochs=EPOCHS)
TRIPLET = {"loss": "triplet", "miner": "semihard"}

FASHION: dict[str, PretrainConfig] = {
    "SimCLR (no labels, its two views)": dataclasses.replace(
        BASE, method="simclr", method_options={"temperature": 0.2}, epochs=EPOCHS // 2
    ),
    "SupCon": dataclasses.replace(LABELLED, method="supcon"),
    "triplet, semi-hard": dataclasses.replace(LABELLED, method_options=TRIPLET),
    "multi-similarity": LABELLED,
}
VARIANTS: dict[str, PretrainConfig] = {
    "multi-similarity, SimCLR's two views": dataclasses.replace(LABELLED, views="auto", epochs=EPOCHS // 2),
}
PLAIN = {"hflip": 0.0}
ONE_SHOT: dict[str, PretrainConfig] = {
    "SimCLR (no labels, two views)": dataclasses.replace(
        BASE, method="simclr", views="gray", view_options=PLAIN, epochs=DRAWN // 2
    ),
    "triplet, semi-hard": dataclasses.replace(LABELLED, method_options=TRIPLET, view_options=PLAIN, epochs=DRAWN),
    "multi-similarity": dataclasses.replace(LABELLED, view_options=PLAIN, epochs=DRAWN),
}


def products(folder: Path) -> tuple[ArraySource, ArraySource]:
    """Return the photographs of the training types and of the test types, at 32 pixels."""
    with (folder / "styles_all.csv").open(newline="", encoding="utf-8") as file:
        kinds = {row["id"]: row["articleType"] for row in csv.DictReader(file)}
    seen: set[str] = set()
    images: dict[str, list[NDArray[np.uint8]]] = {}
    for path in sorted((folder / "images").glob("*.jpg"), key=lambda p: int(p.stem)):
        raw = path.read_bytes()
        digest = hashlib.sha256(raw).hexdigest()
        if digest in seen or path.stem not in kinds:
            continue
        seen.add(digest)
        picture = Image.open(io.BytesIO(raw)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
        images.setdefault(kinds[path.stem], []).append(np.asarray(picture))
    ranked = sorted((name for name in images if len(images[name]) >= LEAST), key=lambda n: (-len(images[n]), n))
    return _array(images, ranked[0::2]), _array(images, ranked[1::2])


def _array(images: dict[str, list[NDArray[np.uint8]]], names: list[str]) -> ArraySource:
    stacked = np.concatenate([np.stack(images[name]) for name in names])
    labels = np.repeat(np.arange(len(names)), [len(images[name]) for name in names])
    return ArraySource(stacked, labels=labels, class_names=names)


def drawing(raw: bytes) -> NDArray[np.uint8]:
    """Return a drawing as (32, 32, 1), ink white."""
    picture = Image.open(io.BytesIO(raw)).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return 255 - np.asarray(picture)[:, :, None]


def characters(folder: Path) -> ArraySource:
    """Return the background drawings, a class a character."""
    images: dict[str, list[NDArray[np.uint8]]] = {}
    with zipfile.ZipFile(folder / "images_background_small1.zip") as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".png"):
                images.setdefault(str(Path(name).parent), []).append(drawing(archive.read(name)))
    return _array(images, sorted(images))


def runs(folder: Path) -> list[tuple[ArraySource, ArraySource]]:
    """Return the one-shot runs: 20 drawings of known characters, and 20 to tell, whose label is the right row."""
    found = []
    with zipfile.ZipFile(folder / "all_runs.zip") as archive:
        for number in range(1, 21):
            text = archive.read(f"run{number:02}/class_labels.txt").decode()
            pairs = [line.split() for line in text.splitlines() if line.strip()]
            known = sorted({right for _, right in pairs})
            shots = ArraySource(np.stack([drawing(archive.read(name)) for name in known]))
            asked = np.stack([drawing(archive.read(name)) for name, _ in pairs])
            found.append((shots, ArraySource(asked, labels=[known.index(right) for _, right in pairs])))
    return found


def retrieved(subject: Subject, test: ArraySource) -> Report:
    """Score one subject by leave-one-out retrieval and by pairs."""
    _, vectors = features(subject, test)
    assert test.labels is not None
    labelled = Labelled(vectors, test.labels, split="test", view=subject.view)
    return evaluate(labelled, labelled, [Retrieval(), Verification(resamples=0)], subject=subject.name)


def told(subject: Subject, all_runs: list[tuple[ArraySource, ArraySource]]) -> tuple[int, int]:
    """Return how many of the one-shot drawings get the right character by the nearest cosine, and of how many."""
    right = count = 0
    for shots, asked in all_runs:
        parts = [features(subject, part)[1] for part in (shots, asked)]
        unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in parts]
        answers = (unit[1] @ unit[0].T).argmax(axis=1)
        right += int((answers == asked.labels).sum())
        count += len(answers)
    return right, count


def trained(name: str, config: PretrainConfig, train: ArraySource, place: Path) -> tuple[Subject, float]:
    """Train one configuration and return its encoder and the seconds it took."""
    with Timer() as timer:
        run = nearfar.pretrain(train, out=place / str(len(list(place.iterdir()))), config=config)
    return open_subject(run.path), timer.seconds


def main() -> None:
    """Measure all and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fashion", type=Path)
    parser.add_argument("omniglot", type=Path)
    parser.add_argument("--no-variants", action="store_true")
    arguments = parser.parse_args()
    train, test = products(arguments.fashion)
    configs = FASHION if arguments.no_variants else {**FASHION, **VARIANTS}
    rows: list[list[object]] = []
    shots: list[list[object]] = []
    half = 0.0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, config in configs.items():
            subject, seconds = trained(name, config, train, place)
            if not rows:
                for baseline in (raw(subject.inputs), untrained(subject.spec, inputs=subject.inputs)):
                    rows.append([baseline.name, *_cells(retrieved(baseline, test)), None])
            report = retrieved(subject, test)
            half = max(half, _half(report))
            rows.append([name, *_cells(report), seconds])
        background, all_runs = characters(arguments.omniglot), runs(arguments.omniglot)
        for name, config in ONE_SHOT.items():
            subject, seconds = trained(f"omniglot {name}", config, background, place)
            if not shots:
                for baseline in (raw(subject.inputs), untrained(subject.spec, inputs=subject.inputs)):
                    shots.append([baseline.name, *_share(*told(baseline, all_runs)), None])
            shots.append([name, *_share(*told(subject, all_runs)), seconds])
    write(
        "similarity",
        title="Similarity: product photographs of unseen types, and one-shot drawings",
        tables=[
            table("Retrieval among photographs of unseen types, %", ["encoder", *MEASURES, "training s"], rows),
            table(
                "Omniglot, 20-way one-shot, 20 runs, % right",
                ["encoder", "right", "95 % interval", "training s"],
                shots,
            ),
        ],
        notes=[
            f"products: {len(train):,} photographs of {len(train.class_names)} types to train on, {len(test):,} of "
            f"{len(test.class_names)} other types to test on, {SIDE} pixels a side; types of fewer than {LEAST} "
            "photographs left out",
            f"encoder small, representations h compared by cosine; {EPOCHS} epochs at one view (drawings: {DRAWN}), "
            "half as many at two, batch 128, AdamW 2e-3, the last epoch is reported; one view is a crop of 16 to 100 % "
            "and a mirror; SimCLR on shuffled batches, all others on equally many photographs of each of 16 types "
            "(drawings: 4 of each of 32 characters), unless the row says so",
            "these settings were chosen after a first trial on the same types, see docs/log.md",
            f"one seed (0): differences below {half:.1f} points of recall@1 mean nothing (half of the widest 95 % "
            "bootstrap interval over queries)",
            f"drawings: {len(background):,} of {len(background.class_names)} characters of 5 alphabets to train on; "
            "the 20 runs are of other alphabets; an answer is the nearest of 20 by cosine; Wilson's interval",
        ],
        command="uv run python -m benchmarks.similarity FASHION OMNIGLOT",
    )


def _cells(report: Report) -> list[float]:
    return [round(100 * report[name].value, 2) for name in MEASURES]


def _half(report: Report) -> float:
    score = report["recall@1"]
    return 0.0 if score.low is None or score.high is None else 100 * (score.high - score.low) / 2


def _share(right: int, count: int) -> list[object]:
    low, high = wilson(right, count)
    return [round(100 * right / count, 2), f"{100 * low:.1f} to {100 * high:.1f}"]


if __name__ == "__main__":
    main()
