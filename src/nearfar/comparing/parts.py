"""The data of a comparison: the same two parts for every run, in whichever process."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nearfar.comparing.settings import CompareConfig
from nearfar.data import ArraySource, Source, open_images
from nearfar.errors import ConfigError, DataError, require
from nearfar.files import atomic_path
from nearfar.modalities import Inputs, choose
from nearfar.pipeline.data import content_digest
from nearfar.pipeline.split import training_and_test

__all__ = ["Parts", "as_array", "open_parts", "write_array"]

SHOTS = (1, 10, 100)


class Parts(NamedTuple):
    """What may be learnt from and what is scored.

    Attributes:
        train: labelled items; pretraining without labels sees the same.
        test: items that no run sees before it is scored.
        inputs: what is known about the items, from ``train`` alone.
        shots: the numbers of labels per class.
        digests: of the two parts' names, labels and a sample of their content.
    """

    train: Source
    test: Source
    inputs: Inputs
    shots: tuple[int, ...]
    digests: tuple[str, str]


def open_parts(data: Any, config: CompareConfig) -> Parts:
    """Open and split the data: what is held out, and what is left by the limit, is drawn by seed 0 for all runs.

    Raises:
        DataError: when there are no labels to score with, or nothing can be read.
        ConfigError: when a batch does not fit.
    """
    modality = choose(config.modality, data)
    options = modality.check_options(config.reading)
    train, test = training_and_test(
        modality, data, options, train=config.train_split, test=config.test_split, limit=config.limit
    )
    for name, part in (("training", train), ("test", test)):
        labels = part.labels
        known = labels is not None and bool((labels >= 0).any())
        must = "given: a comparison needs them for scoring"
        who = f"labels of the {name} {modality.items}"
        require(known, "compare", who, must, "none", modality.labels_fix, error=DataError)
    fits, fix = config.batch_size <= len(train), f"lower --batch-size to {len(train)} or less"
    must = f"<= {len(train)}, the number of training {modality.items}"
    require(fits, "compare", "batch-size", must, config.batch_size, fix, error=ConfigError)
    return Parts(
        train,
        test,
        modality.fit_for(config.encoder, train, options),
        config.per_class or _shots(train),
        (content_digest(train), content_digest(test)),
    )


def as_array(data: Any) -> ArraySource:
    """Read images that are in memory into one array.

    Raises:
        DataError: when they are no images, differ in size, or have no labels.
    """
    found = choose("auto", data)
    must, fix = "images", "save them as a file and give its path: every run has a process of its own"
    require(found.name == "image", "compare", "data in memory", must, found.items, fix, error=DataError)
    source = open_images(data)
    fix = "save them as files, one folder per class, and give the folder"
    require(source.labels is not None, "compare", "images in memory", "labelled", "no labels", fix, error=DataError)
    images = [np.asarray(source.read(row)) for row in range(len(source))]
    shapes = {(image.shape, image.dtype) for image in images}
    require(
        len(shapes) == 1, "compare", "images in memory", "of one size", f"{len(shapes)} sizes", fix, error=DataError
    )
    return ArraySource(np.stack(images), source.labels)


def write_array(source: ArraySource, path: Path) -> None:
    """Write images and labels where every run's process can read them."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, images=source.images, labels=np.asarray(source.labels))


def _shots(train: Source) -> tuple[int, ...]:
    assert train.labels is not None
    smallest = int(np.unique(train.labels[train.labels >= 0], return_counts=True)[1].min())
    return tuple(n for n in SHOTS if n <= smallest)
