"""Indexes: vectors under ids, found again by distance; one seam, one file per back end.

``create`` makes an empty index, ``open_index`` opens a saved one; what they return is an ``Index``, whichever the back
end. Every back end gives the same distances in the same order, so a threshold found on one holds on every other.

    metric         distance
    cosine         1 - cos; a vector of zeros is at distance 1 from everything
    euclidean      ‖q - x‖
    sqeuclidean    ‖q - x‖²
    dot            -q·x (so that smaller is nearer here too)

This package may import numpy, pyarrow and, inside the back end that needs it, faiss; never torch at import, never
lightning, torchvision or timm, and nothing of nearfar above layer 2.
"""

from nearfar.indexing.base import Index
from nearfar.indexing.expressions import read_where
from nearfar.indexing.filters import parse_filter
from nearfar.indexing.metrics import METRICS, Metric, normalised, pair_distances
from nearfar.indexing.open import BACKENDS, create, open_index, open_unfinished
from nearfar.indexing.records import Id, Label, Metadata, Neighbours, Records

__all__ = [
    "BACKENDS",
    "METRICS",
    "Id",
    "Index",
    "Label",
    "Metadata",
    "Metric",
    "Neighbours",
    "Records",
    "create",
    "normalised",
    "open_index",
    "open_unfinished",
    "pair_distances",
    "parse_filter",
    "read_where",
]
