from __future__ import annotations

import pytest

from tests.indexing import places


@pytest.fixture(autouse=True)
def _own_place(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "ROOT", tmp_path / "indexes")
