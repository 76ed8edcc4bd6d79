"""What the tests of comparisons share: settings of a tiny one, and processes that are played by this one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nearfar
from nearfar.comparing import Comparison
from nearfar.comparing.child import JOBS
from nearfar.comparing.process import ChildError
from nearfar.errors import NearfarError

__all__ = ["BASELINES", "SETTINGS", "Here", "Stop", "again"]

BASELINES = ["raw pixels", "untrained", "from scratch"]

SETTINGS: dict[str, Any] = {
    "methods": ["simclr", "supcon"],
    "budget": "1epochs",
    "seeds": 2,
    "batch_size": 32,
    "encoder_options": {"width": 4},
    "precision": "32-true",
    "accelerator": "cpu",
    "threads": 1,
}
"""Two methods, two seeds, one epoch of three steps."""


class Stop(BaseException):
    """Raised in place of a kill, where the moment has to be exact."""


class Here:
    """Does in this process what a child would do, and notes which jobs and training steps there were."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.steps = 0

    def __call__(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Do a job, handed over as to another process."""
        self.jobs.append(f"{job['kind']}: {job['name']}")
        try:
            return JOBS[job["kind"]](json.loads(json.dumps(job)))
        except NearfarError as error:
            raise ChildError(str(error), type(error).__name__) from None

    def forget(self) -> None:
        """Begin to count anew."""
        self.jobs, self.steps = [], 0


def again(data: Any, out: Path, **changes: Any) -> Comparison:
    """Compare with the tiny settings, changed."""
    return nearfar.compare(data, out=out, **{**SETTINGS, **changes})
