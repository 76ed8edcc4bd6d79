"""The page in a real headless Chromium: load, search, click, lasso, upload, export, by pointer and by keyboard.

``NEARFAR_SCREENSHOTS=FOLDER`` keeps pictures of what the tests see.
"""

from __future__ import annotations

import csv
import os
import shutil
import threading
from pathlib import Path

import pytest

from nearfar.exploring.file import html
from tests.exploring.page import explorer, view_of
from tests.exploring.samples import COUNT, WRONG, png, write_embeddings, write_pictures

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("browser")
    write_embeddings(root / "first.parquet")
    write_embeddings(root / "second.parquet", seed=1, label=False)
    write_pictures(root / "photos")
    (root / "red.png").write_bytes(png((250, 0, 0)))
    (root / "broken.png").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(folder):
    """Serve both embeddings from a thread of this process."""
    from nearfar.serving import Limits
    from nearfar.serving.server import Server

    with explorer([folder / "first.parquet", folder / "second.parquet"], pictures=folder / "photos") as app:
        server = Server(app, host="127.0.0.1", port=0, limits=Limits(rate=0))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.02)
        yield server.address
        server.should_exit = True
        thread.join(10)


class Page:
    """A page that notes every error, and every request that goes elsewhere."""

    def __init__(self, browser, url, size=(1280, 800), scheme="light"):
        self.tab = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        self.wrong = []
        self.tab.on("console", lambda said: said.type in ("error", "warning") and self.wrong.append(said.text))
        self.tab.on("pageerror", lambda error: self.wrong.append(str(error)))
        here = url.split("/explore")[0]
        self.tab.on("request", lambda r: r.url.startswith((here, "data:", "blob:")) or self.wrong.append(r.url))
        self.tab.goto(url)
        self.tab.wait_for_selector("html[data-ready=yes]", timeout=20_000)

    def text(self, selector):
        return self.tab.locator(selector).first.inner_text()

    def wait(self, selector, text):
        self.tab.locator(selector, has_text=text).first.wait_for(timeout=10_000)

    def place(self, row):
        """Return where on the screen the first map draws a row."""
        box = self.tab.locator(".map .over").first.bounding_box()
        x, y = self.tab.evaluate("(row) => nearfarMaps[0].place(row)", row)
        return box["x"] + x, box["y"] + y

    def picture(self, name):
        if folder := os.environ.get("NEARFAR_SCREENSHOTS"):
            self.tab.wait_for_timeout(300)
            self.tab.screenshot(path=str(Path(folder) / f"{name}.png"))

    def close(self):
        self.tab.close()
        assert self.wrong == []


def lasso(page, corners):
    page.tab.keyboard.press("l")
    box = page.tab.locator(".map .over").first.bounding_box()
    points = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in corners]
    page.tab.mouse.move(*points[0])
    page.tab.mouse.down()
    for x, y in points[1:]:
        page.tab.mouse.move(x, y, steps=3)
    page.tab.mouse.up()


EVERYTHING = [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99)]
LEFT = [(0.01, 0.01), (0.5, 0.01), (0.5, 0.99), (0.01, 0.99)]


def rows_of(download):
    return list(csv.reader(Path(download.path()).read_text(encoding="utf-8").splitlines()))


def test_search_click_lasso_upload_mark_and_export(browser, address, folder):
    page = Page(browser, f"{address}/explore")
    tab = page.tab
    assert page.text("#count") == f"{COUNT} items · 8 numbers each"
    page.picture("start")
    tab.mouse.click(*page.place(20))
    page.wait("#view h2", "pets/20.png")
    assert tab.locator(".pair .grid").count() == 2
    assert tab.locator(".grid img").first.evaluate("image => image.complete && image.naturalWidth > 0 || 'late'")
    page.picture("item")
    tab.keyboard.press("m")
    page.wait("#tab-marked small", "1")
    tab.fill("#find", "pets/119.png")
    tab.keyboard.press("Enter")
    page.wait("#view h2", "pets/119.png")
    lasso(page, EVERYTHING)
    page.wait("#view h2", f"{COUNT} selected")
    lasso(page, LEFT)
    page.wait("#view h2", "selected")
    page.picture("lasso")
    chosen = int(page.text("#view h2").split()[0])
    assert 20 < chosen < 100
    with tab.expect_download() as got:
        tab.click("text=Export CSV")
    found = rows_of(got.value)
    assert found[0] == ["id", "label", "weight", "home", "cluster"]
    assert len(found) == chosen + 1
    tab.set_input_files("#file", folder / "red.png")
    page.wait("#view h2", "red.png")
    assert {one.split("\n")[0] for one in tab.locator(".grid li").all_inner_texts()} <= {"dog", "cat"}
    page.picture("upload")
    tab.set_input_files("#file", folder / "broken.png")
    page.wait("#view p", "must be a readable JPEG")
    page.wrong[:] = [one for one in page.wrong if "415" not in one]  # the browser's own note of the refusal
    tab.click("#tab-marked")
    page.wait("#view h2", "1 marked")
    with tab.expect_download() as got:
        tab.click("text=Export CSV")
    assert [row[0] for row in rows_of(got.value)] == ["id", "pets/20.png"]
    page.close()


def test_duplicates_label_errors_and_colours(browser, address):
    page = Page(browser, f"{address}/explore", (1920, 1080), "dark")
    tab = page.tab
    tab.click("#tab-duplicates")
    page.wait("#view h2", "group")
    page.picture("duplicates")
    tab.click("text=Mark all but the first of each")
    page.wait("#tab-marked small", "")
    tab.click("#tab-doubts")
    page.wait(".doubt", f"pets/{WRONG}.png")
    tab.click(".doubt")
    page.wait(".doubt.now", f"pets/{WRONG}.png")
    page.picture("doubts")
    tab.select_option("#colour", label="weight")
    page.wait("#legend h2", "weight")
    tab.select_option("#colour", label="home")
    page.wait("#legend li", "old <b>town</b>")
    tab.locator("#legend button", has_text="hill").click()
    assert tab.locator('#legend button[aria-pressed="false"]').count() == 1
    lasso(page, EVERYTHING)
    page.wait("#view h2", f"{COUNT - COUNT // 3} selected")
    page.picture("colours")
    tab.click("#theme")
    assert tab.evaluate("document.documentElement.dataset.theme") == "light"
    page.close()


def test_everything_by_keyboard(browser, folder, tmp_path):
    path = tmp_path / "map.html"
    path.write_text(html(view_of([folder / "first.parquet"], pictures=folder / "photos")), encoding="utf-8")
    page = Page(browser, path.as_uri())
    tab = page.tab
    tab.locator(".map .over").focus()
    tab.keyboard.press("ArrowRight")
    page.wait("#view h2", "pets/")
    first = page.text("#view h2")
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function("before => document.querySelector('#view h2').textContent !== before", arg=first)
    tab.keyboard.press("m")
    page.wait("#tab-marked small", "1")
    with tab.expect_download() as got:
        tab.keyboard.press("e")
    assert len(rows_of(got.value)) == 2
    tab.keyboard.press("v")
    page.wait("#view h2", f"{COUNT} selected")
    for _ in range(6):
        tab.keyboard.press("+")
    tab.keyboard.press("v")
    tab.wait_for_function(f"document.querySelector('#view h2').textContent !== '{COUNT} selected'")
    tab.keyboard.press("/")
    tab.keyboard.type("pets/3.png")
    tab.keyboard.press("Enter")
    page.wait("#view h2", "pets/3.png")
    tab.locator("#tab-item").focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    page.wait("#view h2", "group")
    tab.keyboard.press("?")
    assert tab.locator("dialog[open]").count() == 1
    page.picture("help")
    page.close()


@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080), (390, 844)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.slow
def test_nothing_overlaps_or_is_cut_off(browser, address, size, scheme):
    page = Page(browser, f"{address}/explore", size, scheme)
    tab = page.tab
    tab.mouse.click(*page.place(20))
    page.wait("#view h2", "pets/20.png")
    page.picture(f"layout-{size[0]}-{scheme}")
    wide = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    boxes = {
        name: tab.locator(name).first.bounding_box() for name in (".top", "#legend", "#maps", "#panel")
    }  # fmt: skip
    names = list(boxes)
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            a, b = boxes[one], boxes[other]
            across = min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"])
            down = min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"])
            assert across <= 1 or down <= 1, (one, other)
    for button in tab.locator("button:visible").all()[:40]:
        assert button.evaluate("one => one.scrollWidth <= one.clientWidth + 1"), button.inner_text()
    page.close()
