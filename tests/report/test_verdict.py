"""Sentences about numbers follow from the numbers."""

from __future__ import annotations

import pytest

from nearfar.report import Measured, verdict


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (0.60, "pretraining does not help: raw is better (accuracy 60.0% and 70.0%, sd at most 3.0%)."),
        (0.68, "pretraining and raw are as good as each other (accuracy 68.0% and 70.0%, sd at most 3.0%)."),
        (0.80, "pretraining is ahead of the next, raw (accuracy 80.0% and 70.0%, sd at most 3.0%)."),
    ],
)
def test_ahead_behind_or_within_the_noise(own: float, said: str) -> None:
    numbers = {"raw": Measured(0.7, 0.03), "untrained": Measured(0.5, 0.2), "pretrained": Measured(own, 0.01)}
    found = verdict(numbers, "pretrained", lead="With one label", what="accuracy", margin="sd")
    assert found == f"With one label, {said}"


def test_an_unknown_margin_is_not_told() -> None:
    numbers = {"a": Measured(0.5), "b": Measured(0.6)}
    assert verdict(numbers, "b", lead="L", what="recall", margin="sd") == (
        "L, pretraining is ahead of the next, a (recall 60.0% and 50.0%)."
    )
