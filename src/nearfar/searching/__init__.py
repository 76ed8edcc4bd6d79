"""Questions to an index: by vector, by an id it holds, by an image file or a folder of images; and how far to trust it.

The encoder comes in as a callable ``embed(items) -> vectors``, so nothing here knows how items are encoded. This
package may import ``nearfar.indexing``, ``nearfar.evaluation``, ``nearfar.data`` and rich; never lightning, torchvision
or timm, and no training.
"""

from nearfar.searching.evidence import Queries, match_answers, pair_answers
from nearfar.searching.match import Match, Matches, match_hits, match_vectors
from nearfar.searching.query import (
    Embed,
    check_fingerprint,
    search_ids,
    search_images,
    search_source,
    search_vectors,
    without_itself,
)
from nearfar.searching.results import Hit, Results
from nearfar.searching.scoring import score_index
from nearfar.searching.stored import keep_calibration, kept_calibration

__all__ = [
    "Embed",
    "Hit",
    "Match",
    "Matches",
    "Queries",
    "Results",
    "check_fingerprint",
    "keep_calibration",
    "kept_calibration",
    "match_answers",
    "match_hits",
    "match_vectors",
    "pair_answers",
    "score_index",
    "search_ids",
    "search_images",
    "search_source",
    "search_vectors",
    "without_itself",
]
