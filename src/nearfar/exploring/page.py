"""The page: one document, for the service with its parts apart, for a file with everything inside."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from nearfar._version import __version__
from nearfar.report.style import DARK, LIGHT, css_variables

__all__ = ["file_page", "script", "service_page", "style"]

COMMON = ("dom.js", "palette.js", "cloud.js", "map.js", "panel.js")


def service_page(title: str) -> str:
    """Return the page that asks the service for its data."""
    head = '<link rel="stylesheet" href="/explore/explore.css">\n<script src="/explore/explore.js" defer></script>'
    return _filled(title, head, "")


def file_page(title: str, data: dict[str, Any]) -> str:
    """Return the page with its data, styles and scripts inside; it loads nothing from anywhere.

    Args:
        title: what is looked at.
        data: see `nearfar.exploring.file.contents`.
    """
    code = script("embedded.js")
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="generator" content="nearfar {escape(__version__)}">\n<style>\n{style()}</style>'
    )
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    inert = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    tail = f'<script type="application/json" id="data">{inert}</script>\n<script>{code}</script>'
    return _filled(title, head, tail)


@cache
def script(source: str) -> str:
    """Return all scripts as one; ``source`` is the file from which the page takes its data."""
    names = (*COMMON[:1], source, *COMMON[1:], "main.js")
    if source == "remote.js":
        unused = "class Embedded { constructor() { throw new Error('no data in this page'); } }\n"
    else:
        unused = "class Remote { constructor() { throw new Error('no service behind this page'); } }\n"
    body = "\n".join(_asset(name) for name in names)
    return f'"use strict";\n(() => {{\n{unused}{body}}})();\n'


@cache
def style() -> str:
    """Return the style sheet with the colours of all reports."""
    text = _asset("explore.css")
    for name, theme in (("light", LIGHT), ("dark", DARK)):
        variables = ";".join(f"{key}:{value}" for key, value in css_variables(theme).items())
        text = text.replace(f"/* {name} theme */", f"{variables};")
    return text


def _filled(title: str, head: str, tail: str) -> str:
    page = _asset("explore.html").replace("{{title}}", escape(title))
    before, _, rest = page.partition("{{head}}")
    middle, _, after = rest.partition("{{tail}}")
    return before + head + middle + tail + after


def _asset(name: str) -> str:
    return files("nearfar.exploring").joinpath("assets", name).read_text(encoding="utf-8")
