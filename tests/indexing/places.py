"""Makes an index of any back end for a test, in the test's own folder."""

from __future__ import annotations

import functools
import itertools
import os
import tempfile
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
    if backend == "pgvector":
        options.setdefault("server", postgres())
    return create(dim, backend=backend, **options)


@functools.cache
def postgres():
    """Start a real PostgreSQL with pgvector on a socket, once for all tests, and return how to reach it."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="nearfar-"))  # of its lock; it warns without
    import pgserver

    folder = tempfile.mkdtemp(prefix="nearfar-postgres-")
    server = pgserver.get_server(folder, cleanup_mode="delete")
    return server.get_uri()
