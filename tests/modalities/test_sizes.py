"""Which size images are taken at, where nobody says."""

from __future__ import annotations

import numpy as np
import pytest

from nearfar.data import ArraySource
from nearfar.modalities.image import IMAGE


@pytest.mark.parametrize(
    ("encoder", "side", "options", "taken"),
    [
        ("small", 100, {}, 64),
        ("small", 28, {}, 28),
        ("small", 100, {"image_size": 96}, 96),
        ("resnet18", 100, {}, 100),
        ("auto", 300, {}, 224),
    ],
)
def test_the_small_encoder_takes_large_images_at_64_pixels(
    encoder: str, side: int, options: dict[str, int], taken: int, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ArraySource(np.zeros((2, side, side, 3), np.uint8))
    assert IMAGE.fit_for(encoder, source, options).image_size == taken
    said = f"images of {side} pixels are taken at 64; --image-size {side}" in capsys.readouterr().err
    assert said == (taken == 64)
