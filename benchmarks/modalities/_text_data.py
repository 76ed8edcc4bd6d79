"""Texts for the benchmarks: sentences, captions of the same pictures, scored pairs, customers' questions."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nearfar.data import Source
from nearfar.data.texts import TextColumns, TextSource, open_text_splits, open_texts


class Texts(NamedTuple):
    """What to train on, without any sentence of the test set."""

    sentences: list[str]
    captions: list[tuple[str, ...]]
    test: TextSource
    dropped: int


def plain(text: str) -> str:
    """Return a text as it is compared: lower case, without its last full stop."""
    return " ".join(text.lower().split()).rstrip(" .")


def load(data: Path) -> Texts:
    """Read multi30k's English captions, five a picture, wikisplit's sentences, and STS-B's English test pairs."""
    test = open_texts(data / "stsb-multi/data/stsb-en-test.csv", columns=TextColumns(("1", "2"), None, "3"))
    assert isinstance(test, TextSource)
    held = {plain(text) for row in test.texts for text in row}
    files = [data / f"multi30k/data/task2/raw/train.{number}.en.gz" for number in range(1, 6)]
    columns = [gzip.decompress(file.read_bytes()).decode().splitlines() for file in files]
    captions = [row for row in zip(*columns, strict=True) if all(text.strip() for text in row)]
    wiki = []
    for name in ("tune", "validation"):
        with (data / f"wikisplit/{name}.tsv").open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                wiki += [part.strip().replace(" ''", ' "') for part in row[1].split("<::::>")]
    whole = len(captions) + len(wiki)
    captions = [row for row in captions if not held & {plain(text) for text in row}]
    wiki = [text for text in wiki if text and plain(text) not in held]
    rng = np.random.default_rng(0)
    one = [row[int(rng.integers(len(row)))] for row in captions]  # one caption a picture: no two say the same
    return Texts([*one, *wiki], captions, test, whole - len(captions) - len(wiki))


def draw(rows: list[Any], count: int, seed: int) -> list[Any]:
    """Return ``count`` rows, drawn by a seed."""
    return [rows[place] for place in np.random.default_rng(seed).permutation(len(rows))[:count]]


def banking(data: Path) -> tuple[Source, Source]:
    """Return banking77's training and test questions with one numbering of the intents."""
    parts = open_text_splits(data / "banking77/banking_data")
    return parts["train"], parts["test"]
