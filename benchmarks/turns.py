"""Contenders measured in turns, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["in_turns"]


def in_turns(
    makers: Mapping[str, Callable[[], Any]], rounds: int, clock: Callable[[], float], least: float
) -> dict[str, float]:
    """Return the median seconds of a call; the contenders take turns, each for at least ``least`` seconds a turn."""
    seconds: dict[str, list[float]] = {name: [] for name in makers}
    for make in makers.values():
        make()
    for _ in range(rounds):
        for name, make in makers.items():
            calls, begin = 0, clock()
            while calls == 0 or clock() - begin < least:
                make()
                calls += 1
            seconds[name].append((clock() - begin) / calls)
    return {name: statistics.median(values) for name, values in seconds.items()}
