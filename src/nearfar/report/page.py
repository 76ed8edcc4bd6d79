"""A report in one HTML file: no network, no server, readable in light and dark, narrow, printed and spoken."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from nearfar._version import __version__
from nearfar.errors import require
from nearfar.files import write_atomic
from nearfar.report import fragments
from nearfar.report.point_map import PointMap, map_fragment
from nearfar.report.records import Query, ViewGrid
from nearfar.report.style import DARK, LIGHT, css_variables, figure_svg
from nearfar.report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Page", "Section"]


class Page:
    """Collects sections and writes them as one self-contained HTML file.

    All text is escaped. The page's own policy (Content-Security-Policy) lets the browser load nothing from anywhere and
    run only the one script that this package put in, so neither a class name nor a file name can smuggle anything in.

        page = Page("nearfar demo", "SimCLR on 1,797 digits")
        page.section("Numbers").table(table)
        page.write(Path("report.html"))

    Args:
        title: the heading and the browser's title.
        subtitle: one line under it.
        language: of the texts, as an HTML language tag.
    """

    def __init__(self, title: str, subtitle: str = "", *, language: str = "en") -> None:
        self.title = title
        self.subtitle = subtitle
        self.language = language
        self.sections: list[Section] = []
        self._highlights = ""

    def highlights(self, items: Sequence[tuple[str, str, str]]) -> None:
        """Put a few numbers in large letters under the heading: (number, what it is, a line of detail) each."""
        self._highlights = fragments.highlights(items)

    def section(self, title: str, lead: str = "") -> Section:
        """Begin a section and return it; ``lead`` is a sentence on what it shows."""
        section = Section(title, lead, f"s{len(self.sections) + 1}")
        self.sections.append(section)
        return section

    def html(self) -> str:
        """Return the whole page; the same content gives the same text."""
        style = _asset("page.css")
        for name, theme in (("light", LIGHT), ("dark", DARK)):
            variables = ";".join(f"{key}:{value}" for key, value in css_variables(theme).items())
            style = style.replace(f"/* {name} theme */", f"{variables};")
        script = _asset("map.js") if any(section.has_map for section in self.sections) else ""
        source = f"'sha256-{_digest(script)}'" if script else "'none'"
        policy = (
            f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {source}; "
            "base-uri 'none'; form-action 'none'"
        )
        links = "".join(f'<li><a href="#{one.anchor}">{escape(one.title)}</a></li>' for one in self.sections)
        contents = f'<nav aria-label="Contents"><ul>{links}</ul></nav>' if len(self.sections) > 1 else ""
        subtitle = f'<p class="subtitle">{escape(self.subtitle)}</p>' if self.subtitle else ""
        body = "\n".join(section.html() for section in self.sections)
        return (
            f'<!doctype html>\n<html lang="{escape(self.language)}">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f'<meta name="generator" content="nearfar {escape(__version__)}">\n'
            f'<title>{escape(self.title)}</title>\n<link rel="icon" href="data:,">\n<style>\n{style}</style>\n</head>\n'
            '<body>\n<a class="skip" href="#main">Skip to the content</a>\n'
            f"<header><h1>{escape(self.title)}</h1>{subtitle}{self._highlights}{contents}</header>\n"
            f'<main id="main">\n{body}\n</main>\n'
            f"<footer>Written by nearfar {escape(__version__)}. This file holds everything it shows and loads nothing "
            "from the network.</footer>\n" + (f"<script>{script}</script>\n" if script else "") + "</body>\n</html>\n"
        )

    def write(self, path: Path) -> Path:
        """Write the page all at once and return ``path``.

        Raises:
            RunError: when the file cannot be written; an older one is then untouched.
        """
        write_atomic(path, self.html())
        return path


class Section:
    """One section of a `Page`; every method adds a part and returns the section, so calls can be chained."""

    def __init__(self, title: str, lead: str, anchor: str) -> None:
        self.title = title
        self.lead = lead
        self.anchor = anchor
        self.has_map = False
        self._parts: list[str] = []

    def text(self, *paragraphs: str) -> Section:
        """Add paragraphs of plain text."""
        return self._add("".join(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs))

    def facts(self, facts: Mapping[str, object]) -> Section:
        """Add a list of names and values: settings, versions, times."""
        return self._add(fragments.facts(facts))

    def table(self, table: Table) -> Section:
        """Add a table, with its notes under it."""
        return self._add(fragments.table(table))

    def figure(self, content: Figure | bytes, *, alt: str, caption: str = "") -> Section:
        """Add a figure of `nearfar.report.plots`, or the bytes of a PNG or JPEG file; several stand side by side.

        Args:
            content: the figure; it is embedded as SVG that follows light and dark.
            alt: what it shows, for those who cannot see it; should name the finding, not only the kind of plot.
            caption: a line under it.

        Raises:
            InputError: when ``alt`` is empty or the bytes are neither PNG nor JPEG.
        """
        require(bool(alt.strip()), "figure", "alt", "a sentence on what is shown", repr(alt))
        if isinstance(content, bytes):
            return self._add(fragments.image_figure(content, alt, caption))
        prefix = f"{self.anchor}-{len(self._parts)}-"
        return self._add(fragments.svg_figure(figure_svg(content, prefix), alt, caption))

    def pictures(
        self,
        images: Sequence[NDArray[Any]] | NDArray[Any],
        captions: Sequence[str],
        *,
        alts: Sequence[str] | None = None,
    ) -> Section:
        """Add a grid of N pictures (channels last) with captions; ``alts`` say more than the captions where needed."""
        return self._add(fragments.pictures(images, captions, alts))

    def views(self, grid: ViewGrid) -> Section:
        """Add one row an image: the original, then its views."""
        return self._add(fragments.views(grid))

    def neighbours(self, queries: Sequence[Query]) -> Section:
        """Add one row a query: the query, then its nearest neighbours with distance, label, and right or wrong."""
        return self._add(fragments.neighbours(queries))

    def map(self, points: PointMap, *, alt: str) -> Section:
        """Add a 2-D map that can be explored; without scripts, and on paper, it is a picture.

        Raises:
            InputError: when ``alt`` is empty.
        """
        require(bool(alt.strip()), "map", "alt", "a sentence on what is shown", repr(alt))
        self.has_map = True
        return self._add(map_fragment(points, alt, f"{self.anchor}-{len(self._parts)}"))

    def html(self) -> str:
        """Return the section as an HTML fragment."""
        lead = f'<p class="lead">{escape(self.lead)}</p>' if self.lead else ""
        name = f"{self.anchor}-title"
        inner = "\n".join(fragments.side_by_side(self._parts))
        return (
            f'<section id="{self.anchor}" aria-labelledby="{name}"><h2 id="{name}">{escape(self.title)}</h2>'
            f"{lead}\n{inner}\n</section>"
        )

    def _add(self, part: str) -> Section:
        self._parts.append(part)
        return self


def _asset(name: str) -> str:
    return files("nearfar.report").joinpath("assets", name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
