"""Images with captions on two cores: fashion products, found by their captions and named by their type.

Run with: uv run python -m benchmarks.modalities.image_text DATA

DATA holds the folder fashion-products. A tenth of the products is never trained on; products of one caption, and of one
picture, stay on one side. Images are read at 32 pixels.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import nearfar
from benchmarks.record import Timer, table, write
from nearfar.data import Source, take
from nearfar.data.captions import open_captions
from nearfar.pipeline.features import Subject, open_subject, untrained
from nearfar.pipeline.pairs import paired_protocols, score_pairs
from nearfar.pipeline.settings import PretrainConfig
from nearfar.recipes.text import clip_small

KS = (1, 5, 10)
TEST = 1_000


def manifest(data: Path, folder: Path) -> tuple[Path, np.ndarray]:
    """Write a manifest of the pictures that are there; return it, and which rows are the test's."""
    root = data / "fashion-products"
    with (root / "styles.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (root / f"images/{row['id']}.jpg").is_file()]
    group: dict[str, int] = {}
    numbers = []
    for row in rows:  # rows of one picture or one caption get one number
        content = hashlib.blake2b((root / f"images/{row['id']}.jpg").read_bytes(), digest_size=16).hexdigest()
        keys = (content, row["productDisplayName"].strip().lower())
        known = {group[key] for key in keys if key in group}
        number = min(known, default=len(numbers))
        for key, value in list(group.items()) if len(known) > 1 else []:
            group[key] = number if value in known else value
        group.update(dict.fromkeys(keys, number))
        numbers.append(keys)
    parts = np.array([group[keys[0]] for keys in numbers])
    order = np.random.default_rng(0).permutation(np.unique(parts))
    sizes = np.cumsum([int((parts == number).sum()) for number in order])
    held = np.isin(parts, order[: int(np.searchsorted(sizes, TEST)) + 1])
    path = folder / "manifest.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "caption", "label"])
        for row in rows:
            writer.writerow([root / f"images/{row['id']}.jpg", row["productDisplayName"], row["articleType"]])
    return path, held


def score(subject: Subject, test: Source) -> list[float]:
    """Return recall@k both ways, then zero-shot top-1, top-5 and mean over classes, in %."""
    protocols, _ = paired_protocols(("pairs", "zero-shot"), {"ks": KS}, 0)
    report = score_pairs(subject, test, protocols, None)
    ways = [f"{way}, recall@{k}" for way in ("image to text", "text to image") for k in KS]
    names = [*ways, "zero-shot, top-1", "zero-shot, top-5", "zero-shot, mean over classes"]
    return [100 * report[name].value for name in names]


def mean_sd(values: Sequence[Sequence[float]]) -> list[str]:
    found = np.asarray(values)
    spread = found.std(axis=0, ddof=1) if len(found) > 1 else np.zeros(found.shape[1])
    return [f"{mean:.1f} ± {sd:.1f}" for mean, sd in zip(found.mean(axis=0), spread, strict=True)]


def run(folder: Path, seeds: int, *, quick: bool = False) -> None:
    """Measure with that many seeds, and write the results; with ``quick`` one epoch, printed alone."""
    main([str(folder), "--seeds", *map(str, range(seeds)), *(["--quick"] if quick else [])])


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--quick", action="store_true", help="one epoch, prints, writes nothing")
    arguments = parser.parse_args(given)
    seeds: list[int] = arguments.seeds
    short: dict[str, Any] = {"epochs": 1} if arguments.quick else {}
    short |= {"epochs": arguments.epochs} if arguments.epochs else {}
    with tempfile.TemporaryDirectory() as name, Timer() as timer:
        path, held = manifest(arguments.data, Path(name))
        whole = open_captions(path)[""]
        places = {str(row): at for at, row in enumerate(whole.ids)}
        assert len(places) == len(held)
        train, test = take(whole, np.flatnonzero(~held)), take(whole, np.flatnonzero(held))
        jobs: dict[str, PretrainConfig] = {
            "CLIP": clip_small(),
            "SigLIP": dataclasses.replace(clip_small(), method_options={"loss": "siglip"}),
        }
        rows, fresh = [], None
        for title, config in jobs.items():
            scores, seconds = [], []
            for seed in seeds:
                with Timer() as one:
                    run = nearfar.pretrain(
                        train, out=Path(name) / f"{title}-{seed}", modality="image-text",
                        config=dataclasses.replace(config, seed=seed, **short),
                    )  # fmt: skip
                subject = open_subject(run.path)
                scores.append(score(subject, test))
                seconds.append(one.seconds)
                fresh = fresh or untrained(subject.spec, inputs=subject.inputs)
            rows.append([title, *mean_sd(scores), float(np.mean(seconds))])
            print(rows[-1], flush=True)
        assert fresh is not None
        rows.insert(0, ["the untrained encoder", *(f"{value:.1f}" for value in score(fresh, test)), None])
        classes = np.bincount(test.labels[test.labels >= 0], minlength=len(test.class_names))
    print(rows)
    if arguments.quick:
        return
    columns = [f"{way}@{k}" for way in ("image to text, recall", "text to image, recall") for k in KS]
    config = jobs["CLIP"]
    write(
        "modality_image_text",
        title="Images with captions: fashion products that were never seen",
        tables=[
            table("Found by the other side, in %", ["encoder", *columns], [row[:7] for row in rows]),
            table(
                "Named by type without labels, in %",
                ["encoder", "top-1", "top-5", "mean over types", "s of training"],
                [[row[0], *row[7:]] for row in rows],
            ),
        ],
        notes=[
            f"{len(train):,} products to train on, {len(test):,} to test; products of one caption or one picture on "
            "one side; a product whose caption is the same counts as found",
            f"images at {config.image_size} pixels; {short.get('epochs', config.epochs)} epochs, batch "
            f"{config.batch_size}; mean ± sd over seeds {seeds}; the last epoch",
            f"{int((classes > 0).sum())} of {len(classes)} types stand in the test; always the most frequent one gives "
            f"{100 * classes.max() / classes.sum():.1f} %; prompt: the type's name alone",
            f"took {timer.seconds:.0f} s",
        ],
        command="uv run python -m benchmarks.modalities.image_text DATA",
    )


if __name__ == "__main__":
    main()
