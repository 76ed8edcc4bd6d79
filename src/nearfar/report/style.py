"""Colours and figures: one look for all plots, readable in light and dark and without colour vision.

The ten colours were searched for the largest smallest distance in OKLab as seen with normal, deuteranope and protanope
eyes; still no plot tells things apart by colour alone: lines have dashes and markers, points have shapes and labels.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.errors import require
from nearfar.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["DARK", "LIGHT", "Theme", "css_variables", "figure_png", "figure_svg", "new_figure", "plain", "write_figure"]


@dataclass(frozen=True)
class Theme:
    """Colours as #rrggbb: text, secondary text, grid lines, background, and one a series or class."""

    ink: str
    soft: str
    grid: str
    paper: str
    series: tuple[str, ...]


_LIGHT_SERIES = (
    "#2877d3",
    "#ea5500",
    "#009c6a",
    "#6b3896",
    "#dda926",
    "#0c5a51",
    "#5db7ff",
    "#a30211",
    "#fa7dbd",
    "#5c6f8b",
)
_DARK_SERIES = (
    "#6da9ff",
    "#fea419",
    "#4bd08d",
    "#946aeb",
    "#ffdd0d",
    "#849300",
    "#d0f3fe",
    "#c94a74",
    "#d9bee2",
    "#80a3b1",
)
LIGHT = Theme("#1a1d21", "#5b6471", "#dfe3e8", "#ffffff", _LIGHT_SERIES)
DARK = Theme("#e8eaed", "#a3acb8", "#333a43", "#171b20", _DARK_SERIES)
LONGEST = 48
"""Letters of a name or axis in a plot."""
MARKERS = ("o", "s", "^", "D", "v")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))


def css_variables(theme: Theme) -> Mapping[str, str]:
    """Return the colours under the names that plots in a page use: ``--ink`` ... ``--c9``."""
    named = {"--ink": theme.ink, "--soft": theme.soft, "--grid": theme.grid, "--paper": theme.paper}
    return named | {f"--c{n}": colour for n, colour in enumerate(theme.series)}


def plain(text: str) -> str:
    """Cut a text to a length that leaves room for the plot, and keep its dollar signs from starting a formula."""
    short = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return short.replace("$", r"\$")


def new_figure(
    *, x_label: str, y_label: str, width: float = 5.2, height: float = 3.2, grid: str = "y"
) -> tuple[Figure, Axes]:
    """Return an empty figure with one labelled pair of axes, in the light theme.

    Args:
        x_label: what the axis shows, with its unit in brackets.
        y_label: likewise.
        width: inches.
        height: inches.
        grid: the axis whose grid lines are drawn: ``"x"``, ``"y"`` or ``"both"``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor=LIGHT.paper)
    axes = figure.subplots()
    axes.set_facecolor("none")
    axes.set_xlabel(plain(x_label), color=LIGHT.soft)
    axes.set_ylabel(plain(y_label), color=LIGHT.soft)
    axes.tick_params(colors=LIGHT.soft, labelsize=9, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LIGHT.soft)
    axes.grid(axis=grid, color=LIGHT.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def figure_png(figure: Figure, *, dpi: int = 160) -> bytes:
    """Return a figure as the bytes of a PNG file, on its light background."""
    return _save(figure, "png", dpi=dpi)


def figure_svg(figure: Figure, prefix: str = "") -> str:
    """Return a figure as an ``<svg>`` element to stand inside a page.

    Its colours are CSS variables with the light theme as fall-back, its background is clear, its text is text.

    Args:
        figure: one made by `new_figure`.
        prefix: put before every id, so that several figures can stand in one page.
    """
    text = _save(figure, "svg").decode()
    text = text[text.index("<svg") :].strip()
    colours = {colour: f"var({name}, {colour})" for name, colour in css_variables(LIGHT).items()}

    def mend(tag: re.Match[str]) -> str:
        found = re.sub(r"#[0-9a-f]{6}\b", lambda m: colours.get(m[0], m[0]), tag[0])
        found = re.sub(r'\bid="', f'id="{prefix}', found)
        return re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", found)

    text = re.sub(r"<[^>]+>", mend, text)
    return re.sub(r'(<g id="[^"]*patch_1">\s*<path[^>]*style=")[^"]*', r"\1fill: none", text, count=1)


def write_figure(figure: Figure, path: Path, *, title: str) -> None:
    """Write a figure as a ``.png`` or as an ``.svg`` that follows the viewer's light or dark setting.

    Raises:
        InputError: on another ending.
        RunError: when the file cannot be written.
    """
    require(path.suffix in {".png", ".svg"}, "write_figure", "ending of the file", ".png or .svg", path.name)
    if path.suffix == ".png":
        return write_atomic(path, figure_png(figure))
    light, dark = (";".join(f"{k}:{v}" for k, v in css_variables(theme).items()) for theme in (LIGHT, DARK))
    style = f"svg{{{light};background:var(--paper)}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}"
    svg = figure_svg(figure)
    end = svg.index(">") + 1
    head = f"<title>{escape(title)}</title><style>{style}text{{font-family:system-ui,sans-serif!important}}</style>"
    return write_atomic(path, svg[:end] + head + svg[end:] + "\n")


def _save(figure: Figure, kind: str, *, dpi: int = 100) -> bytes:
    import matplotlib as mpl

    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type")) if kind == "svg" else {"Software": None}
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "nearfar"}), warnings.catch_warnings():
        # The browser has the glyphs that matplotlib's font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=nothing)
    return buffer.getvalue()
