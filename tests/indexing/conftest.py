from __future__ import annotations

import pytest

from tests.indexing import places


@pytest.fixture(autouse=True)
def _own_place(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "ROOT", tmp_path / "indexes")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Databases take their time: the whole contract is run on them with two of the metrics, and on all with -m slow."""
    for item in items:
        values = getattr(getattr(item, "callspec", None), "params", {})
        if values.get("backend") in ("milvus", "pgvector") and values.get("metric") in ("sqeuclidean", "dot"):
            item.add_marker(pytest.mark.slow)
