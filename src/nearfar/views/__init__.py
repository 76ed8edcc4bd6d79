"""Views of images: what a view is (`ImageView`), what is drawn for a batch (`draw`, `Plan`), how it is made (`apply`).

Ready-made lists of views stand in `ready` and in the registry `VIEWS`. Imports torch, numpy and, inside the back ends
only, numba or triton; never torchvision, and nothing of `nearfar.data`.
"""

from nearfar.views.apply import apply, make_views
from nearfar.views.image import ImageView
from nearfar.views.plan import Plan, draw
from nearfar.views.ready import VIEWS

__all__ = ["VIEWS", "ImageView", "Plan", "apply", "draw", "make_views"]
