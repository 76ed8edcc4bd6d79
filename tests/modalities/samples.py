"""A tiny labelled data set of every modality, made in the test: two classes that any encoder tells apart.

Each function writes its data into a folder and returns a `Sample`; a new modality needs one function and one entry.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.data.sounds import speakers
from tests.samples import write_folder

__all__ = ["SAMPLES", "Sample"]

COUNT = 48


@dataclasses.dataclass(frozen=True)
class Sample:
    """Data to train on and settings that make it quick.

    Attributes:
        data: what `nearfar.pretrain` is given.
        query: what is searched for by content.
        settings: of the encoder and the views.
        modality: that ``auto`` must find.
        methods: that train on it; two sides that no encoder takes in one pass are for methods of their own.
    """

    data: Any
    query: Any
    modality: str
    settings: dict[str, Any]
    methods: tuple[str, ...] = ("simclr", "byol", "vicreg", "supcon")


def image(folder: Path) -> Sample:
    """48 pictures of 8 pixels in folders of four classes."""
    data = write_folder(folder / "pictures", COUNT)
    query = next((data / "class0").iterdir())
    return Sample(data, query, "image", {"encoder": "small", "encoder_options": {"width": 4}})


def table(folder: Path) -> Sample:
    """48 rows of five numbers and a category, with gaps; patients of two rows."""
    rng = np.random.default_rng(0)
    path = folder / "table.csv"
    rows = []
    for row in range(COUNT):
        label = row // 2 % 2
        numbers = [f"{value:.3f}" for value in rng.normal(2.0 * label, 0.5, 5)]
        if row % 7 == 0:
            numbers[2] = ""
        rows.append([*numbers, "ab"[int(rng.random() < 0.2 + 0.6 * label)], f"p{row // 2}", "well" if label else "ill"])
    header = ["a", "b", "c", "d", "e", "kind", "patient", "diagnosis"]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    query = folder / "query.csv"
    with query.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows[:2]])
    return Sample(path, query, "table", {"encoder": "table-mlp", "encoder_options": {"width": 16, "depth": 2}})


def audio(folder: Path) -> Sample:
    """48 sounds, each of two tones, by three speakers: a manifest."""
    data = speakers(folder / "sounds", each=8)
    names = sorted(path.name for path in data.iterdir())
    path = folder / "sounds.csv"
    rows = [[f"sounds/{name}", name[0], name.split("_")[1]] for name in names]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "speaker"], *rows])
    return Sample(path, data / names[0], "audio", {"encoder": "sound", "encoder_options": {"width": 4}})


def text(folder: Path) -> Sample:
    """48 sentences about two kinds of animals."""
    animals, places = ("cat", "dog"), ("at home", "outside", "in the park", "by the sea", "on a roof", "at night")
    texts = [(f"the {n} {v} {p}", n) for n in animals for v in ("sleeps", "eats", "runs", "waits") for p in places]
    path = folder / "texts.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *texts])
    settings = {
        "encoder": "text-small",
        "encoder_options": {"width": 16, "depth": 1, "heads": 2},
        "input_options": {"length": 16, "vocabulary": 300},
    }
    return Sample(path, texts[0][0], "text", settings)


def image_text(folder: Path) -> Sample:
    """48 pictures of 8 pixels with captions, of four classes."""
    data = write_folder(folder / "pictures", COUNT)
    files = sorted(data.rglob("*.png"))
    path = folder / "captions.csv"
    rows = [
        (str(file.relative_to(folder)), f"number {row} of {file.parent.name}", file.parent.name)
        for row, file in enumerate(files)
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "caption", "label"), *rows])
    text_options = {"width": 16, "depth": 1, "heads": 2}
    options = {"image_options": {"width": 4}, "text_options": text_options, "output_dim": 16}
    settings = {"encoder_options": options, "input_options": {"length": 16, "vocabulary": 300}}
    return Sample(path, str(files[0]), "image-text", settings, methods=("clip",))


def series(folder: Path) -> Sample:
    """48 series of 16 moments and two channels, a slow and a fast wave, with gaps."""
    rng = np.random.default_rng(0)
    labels = np.arange(COUNT) % 2
    time = np.arange(16)
    phase = rng.uniform(0, 6, (COUNT, 1, 1))
    speed = np.where(labels, 1.6, 0.4)[:, None, None] * np.array([1.0, 0.5])
    values = np.sin(phase + time[:, None] * speed) + rng.normal(0, 0.1, (COUNT, 16, 2))
    values[rng.random(values.shape) < 0.05] = np.nan
    np.savez(folder / "series.npz", x=values, labels=labels)
    np.savez(folder / "query.npz", x=values[:2])
    options = {"width": 8, "depth": 2, "dim": 16}
    settings = {"encoder": "series-conv", "encoder_options": options}
    return Sample(folder / "series.npz", folder / "query.npz", "series", settings)


SAMPLES: dict[str, Callable[[Path], Sample]] = {
    "audio": audio,
    "image": image,
    "image-text": image_text,
    "series": series,
    "table": table,
    "text": text,
}
"""By modality."""
