"""What is said about noise stays readable with many methods."""

from __future__ import annotations

import pytest

from nearfar.comparing.summary import Standing, measures, pairs
from nearfar.comparing.tables import MANY, verdicts

COLUMNS = measures([])
BASELINES = ("raw pixels", "untrained", "from scratch")


def standing(name: str, base: float) -> Standing:
    """Return a row whose two numbers move together over three seeds, but for a jitter of its own."""
    row = Standing(name, "", baseline=name in BASELINES)
    jitter = 0.001 * (len(name) % 3 - 1)
    for seed in range(3):
        value = base + 0.01 * seed + jitter * (seed == 1)
        row.scores.append({column.key: value for column in COLUMNS})
    return row


def rows(methods: int) -> list[Standing]:
    """Return the baselines and some methods: all a point apart, the first two of them alike and ahead."""
    names = ["m" * (n + 1) for n in range(methods)]
    ahead = [0.9, 0.9005, *(0.8 - 0.02 * n for n in range(methods))]
    return [standing(name, 0.5 + 0.05 * n) for n, name in enumerate(BASELINES)] + [
        standing(name, value) for name, value in zip(names, ahead, strict=False)
    ]


def test_few_differences_are_told_one_by_one() -> None:
    found = pairs(rows(5), COLUMNS)
    assert len(found) == 25 * len(COLUMNS)
    said = verdicts(found, COLUMNS)
    assert len(said) == len(COLUMNS)
    assert "within noise of each other are m and mm (-0.1 points" in said[0]


@pytest.mark.parametrize("brief", [False, True])
def test_of_many_differences_those_from_the_best_and_the_baselines_are_told(brief: bool) -> None:
    found = pairs(rows(9), COLUMNS)
    assert len(found) == 63 * len(COLUMNS)
    assert MANY < 63
    said = verdicts(found, COLUMNS, brief=brief)
    assert said[-1] == "Every difference, with its interval, stands in results.json."
    assert len(said) == len(COLUMNS) + 1
    noise = [pair for pair in found if pair.measure == COLUMNS[0] and pair.difference.within_noise]
    assert said[0] == (
        f"{COLUMNS[0]}: {len(noise)} of 63 differences are within noise. Within noise of mm, the best method: m. "
        "Within noise of raw pixels: none. Within noise of untrained: none. Within noise of from scratch: "
        f"{', '.join(pair.first for pair in noise if pair.second == 'from scratch') or 'none'}."
    )
