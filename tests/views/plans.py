"""Plans whose numbers are set by hand, one step at a time."""

from __future__ import annotations

import dataclasses

import numpy as np

from nearfar.views import ImageView, Plan, draw


def whole(view: ImageView, images, **fields) -> Plan:
    """A plan that shows the whole of each picture and does nothing but what ``fields`` set for all pictures."""
    n = len(images)
    sizes = np.array([image.shape[:2] for image in images], dtype=np.int64).reshape(-1, 2)
    plan = draw(view, sizes, np.random.default_rng(0), channels=images[0].shape[2] if n else 3)
    box = np.hstack([np.zeros_like(sizes), sizes])
    still = {
        "box": box.astype(float), "window": box, "hflip": np.zeros(n, bool), "vflip": np.zeros(n, bool),
        "angle": np.zeros(n), "shift": np.zeros((n, 2)), "zoom": np.ones(n),
        "order": np.full((n, 4), -1), "factors": np.ones((n, 4)), "gray": np.zeros(n, bool), "sigma": np.zeros(n),
        "solarize": np.zeros(n, bool), "erase": np.zeros((n, 4), np.int64),
    }  # fmt: skip
    for name, value in fields.items():
        still[name] = np.tile(np.asarray(value), (n,) + (1,) * np.ndim(value))
    return dataclasses.replace(plan, **still)
