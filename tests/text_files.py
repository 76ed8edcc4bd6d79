"""Small files of texts, and of images with captions, for the snippets of the docs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

NOUNS = ("cat", "dog", "bird", "fish", "child", "man", "woman", "horse")
VERBS = ("sleeps", "eats", "runs", "sings", "plays", "waits")
PLACES = ("at home", "in the park", "by the sea", "on the roof", "outside", "in the rain", "at night")
COLORS = {"red": (220, 30, 30), "green": (30, 200, 30)}


def write_texts(folder: Path) -> None:
    """Write sentences.txt, texts.txt, pairs.csv, questions.csv and sts-test.csv."""
    texts = [f"a {n} {v} {p}" for n in NOUNS for v in VERBS for p in PLACES]
    for name in ("sentences.txt", "texts.txt"):
        (folder / name).write_text("\n".join(texts) + "\n")
    lines = [f"a {n} {v} {p},the {n} {v} {p} today" for n in NOUNS for v in VERBS for p in PLACES]
    (folder / "pairs.csv").write_text("\n".join(["sentence1,sentence2", *lines]) + "\n")
    lines = [f"what does the {n} do {p},{n}" for n in NOUNS for p in PLACES]
    (folder / "questions.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    lines = [f"a {n} {v},a {n} {w},{5 if v == w else 2}" for n in NOUNS for v in VERBS for w in VERBS]
    (folder / "sts-test.csv").write_text("\n".join(["sentence1,sentence2,score", *lines]) + "\n")


def write_captions(folder: Path, count: int = 300) -> None:
    """Write products.csv and manifest.csv with their images, captions.txt and photo.jpg."""
    rng = np.random.default_rng(0)
    lines = ["path,caption,label"]
    (folder / "shop").mkdir()
    for number in range(count):
        name = list(COLORS)[number % 2]
        pixels = np.clip(np.array(COLORS[name]) + rng.integers(-20, 21, (12, 12, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"shop/{number}.png")
        lines.append(f"shop/{number}.png,a {name} dress number {number},{name}")
    for name in ("products.csv", "manifest.csv"):
        (folder / name).write_text("\n".join(lines) + "\n")
    (folder / "captions.txt").write_text("a red dress\na green dress\n")
    Image.fromarray(pixels).save(folder / "photo.jpg")
