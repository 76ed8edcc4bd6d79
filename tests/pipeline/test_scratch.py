from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nearfar.data import ArraySource
from nearfar.encoders import EncoderSpec, build
from nearfar.errors import DataError, RunError
from nearfar.pipeline import scratch
from nearfar.pipeline.features import features
from nearfar.pipeline.scratch import Trained, train_from_scratch
from nearfar.pipeline.settings import PretrainConfig
from tests.samples import pictures


@cache
def spec() -> EncoderSpec:
    return build("small", in_channels=1, image_size=8, options={"width": 4})[1]


def config(**changes: Any) -> PretrainConfig:
    return PretrainConfig(
        **{"batch_size": 16, "threads": 1, "precision": "32-true", "accelerator": "cpu", "views": "digits", **changes}
    )


def train(count: int = 48, steps: int = 6, **changes: Any) -> Trained:
    checkpoint = changes.pop("checkpoint", None)
    return train_from_scratch(
        spec(), ArraySource(*pictures(count)), config(**changes), steps=steps, checkpoint=checkpoint
    )


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    assert trained.subject.encoder is not None
    return {**trained.subject.encoder.state_dict(), "classifier": trained.classifier.weight.detach()}


def equal(one: Trained, two: Trained) -> bool:
    return all(torch.equal(value, weights(two)[name]) for name, value in weights(one).items())


def test_the_seed_alone_decides() -> None:
    torch.manual_seed(1)
    first = train(threads=1)
    torch.manual_seed(2)
    torch.rand(5)
    assert equal(first, train(threads=2))
    assert not equal(first, train(seed=1))


def test_the_callers_random_numbers_go_on() -> None:
    spec()  # builds an encoder once
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    train(steps=1)
    assert torch.equal(torch.rand(2), expected)


def test_classes_that_can_be_told_apart_are_learnt() -> None:
    trained = train(64, steps=60)
    images, labels = pictures(64)
    _, vectors = features(trained.subject, ArraySource(images), threads=1)
    assert (trained.predict(vectors) == labels).mean() > 0.9
    assert trained.losses[-1] < 0.8 * trained.losses[0]
    assert len(trained.losses) == len(trained.seconds) == 15  # 60 steps of 16 items out of 64


def test_steps_end_within_an_epoch() -> None:
    assert len(train(steps=7).losses) == 3  # 3 + 3 + 1


def test_items_without_a_label_change_nothing() -> None:
    images, labels = pictures(48)
    known = train_from_scratch(spec(), ArraySource(images, labels), config(), steps=4)
    more = np.concatenate([images, images[:10]])
    partly = np.concatenate([labels, np.full(10, -1)])
    assert equal(known, train_from_scratch(spec(), ArraySource(more, partly), config(), steps=4))


def test_a_batch_larger_than_the_data_takes_all_of_it() -> None:
    assert len(train(8, steps=3, batch_size=64).losses) == 3


def test_a_stopped_training_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(steps=9)
    monkeypatch.setattr(scratch, "CHECKPOINT_SECONDS", 0.0)
    step, count = scratch._Loop._step, 0

    def stopping(self: Any, *args: Any) -> torch.Tensor:
        nonlocal count
        count += 1
        if count == 5:  # within the second epoch
            raise KeyboardInterrupt
        return step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(scratch._Loop, "_step", stopping)
        with pytest.raises(KeyboardInterrupt):
            train(steps=9, checkpoint=tmp_path / "state.ckpt")
    torch.manual_seed(99)
    count = -1000
    again = train(steps=9, checkpoint=tmp_path / "state.ckpt")
    assert equal(whole, again)
    assert again.losses == whole.losses


def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "state.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(RunError, match=r"state.ckpt: is not a checkpoint that can be used \(.*\); delete it"):
        train(steps=1, checkpoint=tmp_path / "state.ckpt")


def test_labels_are_needed() -> None:
    images, _ = pictures(16)
    with pytest.raises(DataError, match="from scratch: labels must be given, got none; put images into one folder"):
        train_from_scratch(spec(), ArraySource(images), config(), steps=1)
    with pytest.raises(DataError, match="the number of classes must be >= 2, got 1"):
        train_from_scratch(spec(), ArraySource(images, np.zeros(16, np.int64)), config(), steps=1)


def test_a_loss_that_is_not_finite_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "warmup_cosine", lambda *_, **__: math.nan)
    with pytest.raises(RunError, match="from scratch: the loss must be finite, got nan in epoch"):
        train(steps=9)
