"""Questions to an index: by vector, by an id it holds, by an image file or a folder of images.

The encoder comes in as a callable ``embed(items) -> vectors``, so nothing here knows how items are encoded. This
package may import ``nearfar.indexing``, ``nearfar.data`` and rich; never lightning, torchvision or timm, and no
training.
"""

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

__all__ = [
    "Embed",
    "Hit",
    "Results",
    "check_fingerprint",
    "search_ids",
    "search_images",
    "search_source",
    "search_vectors",
    "without_itself",
]
