"""A comparison of two tiny methods on a few of scikit-learn's digits, made once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nearfar.comparing import outputs, work
from nearfar.training.module import TrainingModule
from tests.comparing.here import Here, again


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Models here are so small that a second thread only waits for the first."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve digits of each class to learn from, eight to score."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    train, test = (
        np.sort(np.concatenate([np.flatnonzero(labels == digit)[part] for digit in range(10)]))
        for part in (slice(0, 12), slice(12, 20))
    )
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    arrays = {"train_images": images[train], "train_labels": labels[train]}
    np.savez(path, **arrays, test_images=images[test], test_labels=labels[test])
    return path


@pytest.fixture(scope="package")
def finished(one_thread: None, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole comparison; to be read only."""
    out = tmp_path_factory.mktemp("compared") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "run_child", Here())
        again(data, out)
    return out


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """The whole comparison, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    """Play the processes, count steps, and leave out the page, which takes longest."""
    found = Here()
    step = TrainingModule.training_step

    def counting(self: TrainingModule, *args: Any) -> Any:
        found.steps += 1
        return step(self, *args)

    monkeypatch.setattr(work, "run_child", found)
    monkeypatch.setattr(outputs, "compare_page", lambda path, **_: path)
    monkeypatch.setattr(TrainingModule, "training_step", counting)
    return found
