"""Pictures made here, and how far two sets of views lie apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from nearfar.views import ImageView


def scene(height, width, channels=3, dtype=np.uint8, seed=0):
    """A picture with smooth colours, hard edges and a little noise, as photographs have them."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((1, channels, 5, 5), dtype=np.float32))
    x = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=True)[0].permute(1, 2, 0).numpy()
    x = x + 0.5 * (rng.random((1, width, channels)) < 0.1) + 0.05 * rng.standard_normal((height, width, channels))
    most = np.iinfo(dtype).max
    return np.round(np.clip(x, 0, 1) * most).astype(dtype)


def scenes(sizes: Sequence[tuple[int, int]], channels=3, dtype=np.uint8):
    return [scene(h, w, channels, dtype, seed) for seed, (h, w) in enumerate(sizes)]


def assert_close(view: ImageView, got, expected, *, mean=1.0, most=3.0):
    """Views agree within 1/255 on average and 3/255 at most, in the units of pixels."""
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype == torch.float32
    if got.numel() == 0:
        return
    std = torch.tensor(view.normalisation(got.shape[1])[1])[:, None, None]
    apart = (got - expected).abs() * std * 255
    assert torch.isfinite(apart).all()
    assert apart.mean() <= mean, float(apart.mean())
    assert apart.max() <= most, float(apart.max())
