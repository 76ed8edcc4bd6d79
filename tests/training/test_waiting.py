"""The share of waiting for data: shown, and explained when it is too large."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfar.data import ArraySource, DecodedSource, Loader
from nearfar.modalities.image import ImageInputs
from nearfar.pipeline import waiting
from nearfar.pipeline.settings import PretrainConfig
from nearfar.training import callbacks
from nearfar.training.callbacks import Bar
from nearfar.views import ImageView
from tests.samples import pictures, train

Capture = pytest.CaptureFixture[str]


class Slow:
    """Pictures that take their time, as if from afar."""

    class_names = None

    def __init__(self, count: int, seconds: float) -> None:
        self.inner, self.seconds = ArraySource(*pictures(count)), seconds
        self.ids, self.labels = self.inner.ids, self.inner.labels

    def __len__(self) -> int:
        return len(self.inner)

    def read(self, index: int) -> NDArray[Any]:
        time.sleep(self.seconds)
        return self.inner.read(index)

    def fingerprint(self) -> None:
        return None


def test_a_run_that_waits_says_so_once_and_what_to_change(tmp_path: Path, capsys: Capture) -> None:
    run = train(Slow(48, 0.03), tmp_path / "run", cache="off", epochs=3, image_size=8)
    said = capsys.readouterr().err
    shares = [row["waited_share"] for row in run.metrics() if "waited_share" in row]
    assert len(shares) == 3
    assert min(shares[1:]) > 0.5
    assert said.count("the step waited for data in") == 1
    sentence = next(line for line in said.splitlines() if "the step waited" in line)
    assert "use --cache memory or --cache disk" in sentence
    last = next(line for line in said.splitlines() if line.startswith("epoch 3/3"))
    share = int(last.rpartition("waits ")[2].rstrip("%"))
    assert share == pytest.approx(100 * shares[-1], abs=5)


class Clock:
    """Seconds that pass when the test says so."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class FakeLoader:
    """Only what the bar asks."""

    waited = 0.0
    waited_share = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(callbacks, "time", clock)
    return clock


def epochs(
    clock: Clock, capsys: Capture, waits: list[float], *, seconds: float = 10.0, first: float = 0.0
) -> list[str]:
    """Run the bar through epochs that wait so long, the first step of all ``first`` seconds more."""
    loader = FakeLoader()
    bar = Bar(epochs=len(waits), loader=loader, remedy="more --threads")  # type: ignore[arg-type]
    said = []
    for number, waited in enumerate(waits):
        if number == 0:
            clock.now += first
            bar._since = clock.now, first
        clock.now += seconds
        loader.waited = waited + (first if number == 0 else 0.0)
        bar._judge(number + 1)
        said.append(capsys.readouterr().err.strip())
    return said


def test_one_sentence_while_it_lasts_and_another_when_it_comes_back(clock: Clock, capsys: Capture) -> None:
    said = epochs(clock, capsys, [2.0, 2.0, 0.1, 3.0])
    assert said == [
        "epoch 1: the step waited for data in 20% of the time; use more --threads",
        "",
        "",
        "epoch 4: the step waited for data in 30% of the time; use more --threads",
    ]


def test_a_twentieth_is_borne(clock: Clock, capsys: Capture) -> None:
    assert epochs(clock, capsys, [0.5, 0.5, 0.5, 0.5]) == [""] * 4
    assert epochs(clock, capsys, [0.6, 0.6])[1].startswith("epoch 2: the step waited for data in 6%")


def test_the_first_step_of_all_may_wait_for_compilers(clock: Clock, capsys: Capture) -> None:
    assert epochs(clock, capsys, [0.1, 0.1], first=20.0) == ["", ""]


def test_a_second_in_all_is_borne(clock: Clock, capsys: Capture) -> None:
    said = epochs(clock, capsys, [0.09] * 12, seconds=0.1)
    assert [text != "" for text in said] == [number == 11 for number in range(12)]


def test_a_loader_that_is_fast_enough_is_not_mentioned(tmp_path: Path, capsys: Capture) -> None:
    train(ArraySource(*pictures(48)), tmp_path / "run", epochs=2)
    said = capsys.readouterr().err
    assert "the step waited" not in said
    assert "waits " in said


def test_what_is_in_use_already_is_not_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "cpu_count", lambda: 8)
    config = PretrainConfig(threads=2, devices=1)
    inputs = ImageInputs(image_size=8, channels=1)
    images = DecodedSource(ArraySource(*pictures(8)), (), "memory")
    files = DecodedSource(images.source, (), "files")
    plain, jittered = ImageView(size=32), ImageView(size=224, jitter=0.8, hue=0.1, interpolation="bicubic")
    assert waiting.remedy(config, inputs, images, [plain]) == "more --threads (2 of 8 cores are in use)"
    advice = waiting.remedy(config, inputs, files, [jittered])
    parts = ["--cache memory", "--threads", "--view-options.color matrix", "bilinear", "a smaller --image-size"]
    places = [advice.index(part) for part in parts]
    assert places == sorted(places)
    gray = dataclasses.replace(jittered, hue=0.0, brightness=0.4)  # one factor a step: no cheaper way
    assert "matrix" not in waiting.remedy(config, inputs, files, [gray])
    busy = dataclasses.replace(config, threads=8)
    matrix = dataclasses.replace(jittered, size=32, color="matrix", interpolation="bilinear")
    assert waiting.remedy(busy, inputs, images, [matrix]).startswith("a larger encoder")


def test_the_loader_tells_how_long_it_was_waited_for() -> None:
    loader = Loader(Slow(8, 0.02), lambda items, rng: [np.stack(list(items))], batch_size=4, threads=0)  # type: ignore[list-item]
    began = time.perf_counter()
    for _ in loader:
        time.sleep(0.2)
    share, whole = loader.waited_share, time.perf_counter() - began
    assert 8 * 0.02 <= loader.waited <= whole - 2 * 0.2
    assert share == pytest.approx(loader.waited / whole, abs=0.02)
