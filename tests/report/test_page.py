import base64
import hashlib
import json
import re

import numpy as np
import pytest

from nearfar.errors import InputError, RunError
from nearfar.report import Column, Line, MeanSd, Neighbour, Page, PointMap, Query, Table, ViewGrid, curves, to_png
from tests.report.html_checks import check_page

EVIL = "</script ></script></style></title><img src=http://evil.example/x onerror=alert(1)>\"'`<b onclick=x>&amp;<!-- "
TILE = np.arange(64, dtype=np.uint8).reshape(8, 8)


def full_page(text: str) -> Page:
    """Return a page with every kind of part, with ``text`` wherever a text can stand."""
    page = Page(text, text, language="en")
    page.highlights([(text, text, text)])
    part = page.section(text, text)
    part.text(text, text)
    part.facts({text: text, "seed": 0})
    part.table(
        Table([Column(text, text), Column("n", better="higher")], [[text, MeanSd(1, 2)], [text, 3]], text, [text])
    )
    part.figure(curves([Line(text, [0, 1], [0, 1])], x_label=text, y_label=text), alt=text, caption=text)
    part.figure(curves([Line(text, [0, 1], [0, 1])], x_label=text, y_label=text), alt=text, caption=text)
    part.figure(to_png(TILE), alt=text, caption=text)
    part.pictures([TILE, TILE], [text, text], alts=[text, text])
    part.views(ViewGrid([TILE], [[TILE]], [[text]], [text]))
    part.neighbours([Query(TILE, [Neighbour(TILE, 0.5, text, text, False), Neighbour(TILE, 1, text)], text, text)])
    points = PointMap(
        np.array([[0.0, 0], [1, 2], [3, 1]]),
        np.array([0, 1, -1]),
        [text, "b"],
        np.stack([TILE] * 3),
        [text] * 3,
        np.array([[1], [0], [1]]),
        np.ones((3, 1)),
        text,
    )
    page.section("Map").map(points, alt=text)
    return page


def test_a_full_page_is_well_formed_loads_nothing_and_is_described():
    read = check_page(full_page("a plain text").html())
    assert read.all("html") == [{"lang": "en"}]
    assert len(read.all("h1")) == 1
    assert len(read.all("table")) == 3


def test_no_text_can_become_markup_or_script():
    harmless, evil = full_page("a plain text").html(), full_page(EVIL).html()
    read = check_page(evil)
    assert [tag for tag, _ in read.tags] == [tag for tag, _ in check_page(harmless).tags]
    assert EVIL in read.text()
    data = next(text for tag, text in read.texts if tag == "json")
    assert json.loads(data)["ids"] == [EVIL] * 3
    assert not set(data) & set("<>&")


def test_the_policy_allows_the_own_script_and_nothing_else():
    page = full_page("x").html()
    policy = check_page(page).all("meta")[1]
    assert policy["http-equiv"] == "Content-Security-Policy"
    rules = dict(rule.strip().split(" ", 1) for rule in policy["content"].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"


def test_a_page_without_a_map_has_no_script_at_all():
    page = Page("t")
    page.section("s").text("p")
    html = page.html()
    assert check_page(html).all("script") == []
    assert "script-src 'none'" in html
    assert "<nav" not in html


def test_what_is_read_aloud_in_a_wide_table_does_not_widen_the_page():
    css = Page("t").html()
    assert "position: absolute" in css.partition(".unseen")[2].partition("}")[0]
    scroll = css.partition("\n.scroll {")[2].partition("}")[0]
    assert "overflow-x: auto" in scroll
    assert "position: relative" in scroll  # else absolute children are no part of what it scrolls


def test_light_and_dark_print_and_narrow_are_styled():
    html = Page("t").html()
    for part in ("prefers-color-scheme: dark", "@media print", "@media (max-width", "--c9:", "focus-visible"):
        assert part in html
    assert "theme */" not in html


def test_neighbours_say_right_and_wrong_in_words_and_signs():
    page = Page("t")
    found = [Neighbour(TILE, 0.25, "3", right=True), Neighbour(TILE, 0.5, "8", right=False), Neighbour(TILE, 0.75)]
    page.section("s").neighbours([Query(TILE, found, "3")])
    read = check_page(page.html())
    alts = [attributes["alt"] for attributes in read.all("img")]
    assert alts == ["query 3", "3, distance 0.250, right", "8, distance 0.500, wrong", "neighbour, distance 0.750"]
    assert "✓ 3" in read.text()
    assert "✗ 8" in read.text()


def test_drawn_texts_and_photographs_stand_larger_than_small_pictures():
    for side, kind in ((8, "pictures"), (160, "pictures large")):
        page, picture = Page("t"), np.zeros((side, side), np.uint8)
        page.section("s").neighbours([Query(picture, [Neighbour(picture, 0.1)])])
        assert [table["class"] for table in check_page(page.html()).all("table")] == [kind]


def test_the_same_content_gives_the_same_bytes():
    assert full_page("x").html() == full_page("x").html()


def test_large_photographs_are_shrunk():
    photograph = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    page = Page("t")
    page.section("s").pictures([photograph], ["one"])
    image = check_page(page.html()).all("img")[0]
    assert (image["width"], image["height"]) == ("192", "144")
    assert len(page.html()) < 100_000


def test_written_all_at_once(tmp_path):
    path = Page("first").write(tmp_path / "report.html")
    assert "first" in path.read_text(encoding="utf-8")
    Page("second").write(path)
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(RunError, match="cannot be written"):
        Page("third").write(tmp_path / "missing" / "report.html")


@pytest.mark.parametrize(
    "add",
    [
        lambda part: part.figure(to_png(TILE), alt=" "),
        lambda part: part.figure(b"GIF89a", alt="a"),
        lambda part: part.pictures([TILE], []),
        lambda part: part.pictures([TILE], ["a"], alts=[]),
        lambda part: part.neighbours([]),
        lambda part: part.views(ViewGrid([TILE], [[TILE, TILE]])),
        lambda part: part.views(ViewGrid([TILE], [[TILE]], names=["a", "b"])),
        lambda part: part.map(PointMap(np.zeros((1, 2))), alt=""),
    ],
)
def test_bad_input_is_refused_and_adds_nothing(add):
    page = Page("t")
    section = page.section("s")
    before = page.html()
    with pytest.raises(InputError):
        add(section)
    assert page.html() == before
