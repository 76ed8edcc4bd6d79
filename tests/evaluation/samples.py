"""Clustered embeddings made from a seed."""

from __future__ import annotations

import numpy as np


def clusters(count, *, classes=4, dim=8, spread=1.0, seed=0):
    centres = np.random.default_rng([7, classes, dim]).normal(size=(classes, dim))
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    x = centres[labels] + spread * rng.normal(size=(count, dim))
    return x.astype(np.float32), labels.astype(np.int64)
