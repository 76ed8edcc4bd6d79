"""Settings for all tests."""

from __future__ import annotations

import os

os.environ.setdefault("TQDM_DISABLE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # two workers with two spinning threads each take a core from each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
