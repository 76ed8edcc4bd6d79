"""An index over HTTP: search by vector, id or content; add; remove; for people, programs and Prometheus.

`create_app` makes an ASGI application of a `Service`, `Server` runs it, and `nearfar.serve` does both for an index
folder and a run. A modality comes in as records: `Encoder` (bytes to item to vector) and `Media` (id to bytes), so
nothing here knows what an item is. Nothing of a request is ever a path; ids are looked up among those known.

This package may import FastAPI, uvicorn and prometheus-client (the extra ``serve``) and everything of nearfar below it;
never lightning. The modules that need the extra are imported only by those who serve.
"""

from nearfar.serving.encoding import Encoder
from nearfar.serving.media import Content, Media, SourceMedia
from nearfar.serving.settings import Limits
from nearfar.serving.store import Store

__all__ = ["Content", "Encoder", "Limits", "Media", "SourceMedia", "Store"]
