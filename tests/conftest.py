"""Settings for all tests."""

from __future__ import annotations

import os

os.environ.setdefault("TQDM_DISABLE", "1")
