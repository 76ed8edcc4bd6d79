"""Vectors made from a seed, and the distances again as a slow loop in float64."""

from __future__ import annotations

import math

import numpy as np


def vectors(count, dim=6, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def names(count, start=0):
    return [f"item {row}" for row in range(start, start + count)]


def distance(metric, q, x):
    q, x = [float(v) for v in q], [float(v) for v in x]
    dot = sum(a * b for a, b in zip(q, x, strict=True))
    square = sum((a - b) ** 2 for a, b in zip(q, x, strict=True))
    if metric == "dot":
        return -dot
    if metric == "sqeuclidean":
        return square
    if metric == "euclidean":
        return math.sqrt(square)
    norms = math.sqrt(sum(a * a for a in q)) * math.sqrt(sum(b * b for b in x))
    return 1 - dot / norms if norms else 1.0


def nearest(metric, queries, x, k):
    """Rows and distances; equal distances (as float32) in the order of the rows."""
    found = []
    for q in queries:
        order = sorted((np.float32(distance(metric, q, v)), row) for row, v in enumerate(x))[:k]
        found.append(([row for _, row in order], [d for d, _ in order]))
    return [rows for rows, _ in found], np.array([d for _, d in found], dtype=np.float32)
