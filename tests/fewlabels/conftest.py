"""A tiny pretrained run and labelled pictures, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.fewlabels.here import write_data
from tests.samples import pictures, train


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Models here are so small that a second thread only waits for the first."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty-eight pictures of four classes to learn from, sixteen to score."""
    return write_data(tmp_path_factory.mktemp("few") / "data.npz")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run with a head of three layers; to be read only."""
    images, _ = pictures(48)
    out = tmp_path_factory.mktemp("few") / "run"
    return train(images, out, method="simclr-v2", views="gray", view_options={"scale": (0.5, 1.0)}, epochs=1).path


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of three numbers, two of which tell the class."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(60, 3))
    lines = ["a,b,c,label", *(f"{a:.4f},{b:.4f},{c:.4f},{'up' if a + b > 0 else 'down'}" for a, b, c in x)]
    path = tmp_path_factory.mktemp("few") / "table.csv"
    path.write_text("\n".join(lines))
    return path
