"""Makes an index of any back end for a test, in the test's own folder."""

from __future__ import annotations

import itertools
from pathlib import Path

from nearfar.indexing import BACKENDS, create

ROOT = Path()
"""Set by the fixture in conftest.py."""

NUMBERS = itertools.count()

LASTING = ("lance", "milvus", "pgvector")
"""Back ends whose every write lasts."""


def new(dim, *, backend, **options):
    """An empty index; those that last stand in a folder of their own."""
    if BACKENDS.get(backend).lasting:
        options.setdefault("path", ROOT / f"index-{next(NUMBERS)}")
    return create(dim, backend=backend, **options)
