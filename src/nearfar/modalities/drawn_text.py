"""Texts as small pictures, for sheets of views and lists of neighbours."""

from __future__ import annotations

import textwrap

import numpy as np
from numpy.typing import NDArray

__all__ = ["text_picture"]

_SIDE, _EDGE, _FONT, _LINE, _CHARACTERS = 160, 6, 12, 15, 24
_INK, _PAPER = 30, 250


def text_picture(text: str) -> NDArray[np.uint8]:
    """Draw the beginning of a text in black on white.

    Returns:
        (160, 160, 1) uint8; what does not fit is left out, with an ellipsis.
    """
    from PIL import Image, ImageDraw, ImageFont

    lines = textwrap.wrap(" ".join(text.split()), _CHARACTERS) or [""]
    most = (_SIDE - 2 * _EDGE) // _LINE
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][: _CHARACTERS - 1] + "…"]
    picture = Image.new("L", (_SIDE, _SIDE), _PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(_FONT)
    for number, line in enumerate(lines):
        pen.text((_EDGE, _EDGE + number * _LINE), line, fill=_INK, font=font)
    drawn: NDArray[np.uint8] = np.asarray(picture)[:, :, None]
    return drawn
