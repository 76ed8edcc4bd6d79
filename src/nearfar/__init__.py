"""nearfar: contrastive and self-supervised learning, from raw data to an encoder and an index.

The verbs of the command line are functions here::

    import nearfar

    run = nearfar.pretrain("photos/", out="runs/first", epochs=20)
    report = nearfar.evaluate(run.path, "photos/")

Importing this package imports neither torch nor Lightning; a name brings what it needs when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nearfar._version import __version__
from nearfar.errors import NearfarError

if TYPE_CHECKING:
    from nearfar.comparing.compare import compare
    from nearfar.data import open_images
    from nearfar.demonstration import demo
    from nearfar.encoders import load_encoder, load_weights
    from nearfar.exploring.explore import explore
    from nearfar.fewlabels.distill import distill
    from nearfar.fewlabels.finetune import finetune
    from nearfar.fewlabels.semi import semi
    from nearfar.pipeline.calibrate import calibrate
    from nearfar.pipeline.curate import cluster, dedupe, label_errors, outliers, select
    from nearfar.pipeline.embed import embed
    from nearfar.pipeline.evaluate import evaluate
    from nearfar.pipeline.evaluate_index import evaluate_index
    from nearfar.pipeline.export import export
    from nearfar.pipeline.index import index
    from nearfar.pipeline.match import match
    from nearfar.pipeline.pretrain import pretrain
    from nearfar.pipeline.schema import schema
    from nearfar.pipeline.search import search
    from nearfar.pipeline.settings import PretrainConfig
    from nearfar.pipeline.show_views import show_views
    from nearfar.serving.serve import serve

_LAZY = {
    "PretrainConfig": "nearfar.pipeline.settings",
    "calibrate": "nearfar.pipeline.calibrate",
    "cluster": "nearfar.pipeline.curate",
    "compare": "nearfar.comparing.compare",
    "dedupe": "nearfar.pipeline.curate",
    "demo": "nearfar.demonstration",
    "distill": "nearfar.fewlabels.distill",
    "embed": "nearfar.pipeline.embed",
    "evaluate": "nearfar.pipeline.evaluate",
    "evaluate_index": "nearfar.pipeline.evaluate_index",
    "explore": "nearfar.exploring.explore",
    "export": "nearfar.pipeline.export",
    "finetune": "nearfar.fewlabels.finetune",
    "index": "nearfar.pipeline.index",
    "label_errors": "nearfar.pipeline.curate",
    "load_encoder": "nearfar.encoders",
    "load_weights": "nearfar.encoders",
    "match": "nearfar.pipeline.match",
    "open_images": "nearfar.data",
    "outliers": "nearfar.pipeline.curate",
    "pretrain": "nearfar.pipeline.pretrain",
    "schema": "nearfar.pipeline.schema",
    "search": "nearfar.pipeline.search",
    "select": "nearfar.pipeline.curate",
    "semi": "nearfar.fewlabels.semi",
    "serve": "nearfar.serving.serve",
    "show_views": "nearfar.pipeline.show_views",
}

__all__ = [
    "NearfarError",
    "PretrainConfig",
    "__version__",
    "calibrate",
    "cluster",
    "compare",
    "dedupe",
    "demo",
    "distill",
    "embed",
    "evaluate",
    "evaluate_index",
    "explore",
    "export",
    "finetune",
    "index",
    "label_errors",
    "load_encoder",
    "load_weights",
    "match",
    "open_images",
    "outliers",
    "pretrain",
    "schema",
    "search",
    "select",
    "semi",
    "serve",
    "show_views",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'nearfar' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
