"""Looking at embeddings: a page with a map of up to a million items, from a service or in one file.

`nearfar.explore` puts it together: `Collection` (ids, vectors, columns), `layout` (two coordinates an item), `Graph`
(each item's nearest neighbours, from which duplicates and doubtful labels follow), the routes under ``/explore`` and
the page. The page's scripts stand in ``assets`` and load nothing from elsewhere.

This package may import everything that `nearfar.serving` may, and that package itself.
"""

from nearfar.exploring.collection import Collection
from nearfar.exploring.columns import Column
from nearfar.exploring.graph import Graph

__all__ = ["Collection", "Column", "Graph"]
