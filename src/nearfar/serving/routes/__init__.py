"""The routes, one file a subject: `search` and `match`, what is kept (`items`), how it is going (`status`)."""

from nearfar.serving.routes.items import item_routes
from nearfar.serving.routes.match import match_routes
from nearfar.serving.routes.search import search_routes
from nearfar.serving.routes.status import status_routes

__all__ = ["item_routes", "match_routes", "search_routes", "status_routes"]
