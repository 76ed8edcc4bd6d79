"""The living map in a real headless Chromium, where one is installed."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from nearfar.report import Page, PointMap

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]

ACT = """<script>
const find = (selector) => document.querySelector(selector), said = [];
const canvas = find(".map-stage > canvas"), box = canvas.getBoundingClientRect();
canvas.setPointerCapture = () => {};
const point = (kind, x, y) =>
  canvas.dispatchEvent(new PointerEvent(kind, { clientX: box.left + x, clientY: box.top + y }));
const press = (key) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
const title = () => (find(".map-panel h3") || { textContent: "none" }).textContent;
requestAnimationFrame(() => {
  press("ArrowRight"); said.push(title());
  press("ArrowRight"); said.push(title());
  said.push(find("[aria-live]").textContent);
  press("Escape"); said.push(title());
  const middle = [box.width / 2, box.height / 2];
  point("pointermove", ...middle); said.push(find(".map-tip").textContent);
  point("pointerdown", ...middle); point("pointerup", ...middle); said.push(title());
  find(".map-panel li button").click(); said.push(title());
  press("Escape");
  find(".map-bar button").click(); said.push(find(".map-bar button").getAttribute("aria-pressed"));
  point("pointermove", 0, 0); point("pointermove", ...middle); said.push(find(".map-tip").hidden);
  find("footer").textContent = "SAID " + said.join(" | ");
});
</script></body>"""


def dump(path, profile) -> str:
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--window-size=1200,1500",
    ]
    options += [f"--user-data-dir={profile}", "--virtual-time-budget=3000", "--dump-dom", path.as_uri()]
    return subprocess.run([CHROMIUM, *options], capture_output=True, text=True, check=True, timeout=120).stdout


def make_page() -> str:
    xy = np.array([[0.0, 0.0], [-2.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    near = np.array([[2], [0], [0], [0], [0]])
    tiles = np.arange(5 * 64, dtype=np.uint8).reshape(5, 8, 8)
    page = Page("map")
    points = PointMap(xy, np.array([0, 1, 1, 0, 1]), ["<a>", "b"], tiles, list("VWXYZ"), near, np.full((5, 1), 0.5))
    page.section("Map").map(points, alt="five points")
    return page.html()


def test_the_policy_lets_the_script_run_and_the_picture_gives_way(tmp_path):
    (tmp_path / "page.html").write_text(make_page(), encoding="utf-8")
    dom = dump(tmp_path / "page.html", tmp_path / "profile")
    assert '<figure class="map live">' in dom
    assert re.search(r'<img class="still"[^>]* hidden=""', dom)
    assert "&lt;a&gt;</button>" in dom


def test_keys_pointer_legend_and_neighbours(tmp_path):
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", make_page()).replace("</body>", ACT)
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    said = re.search(r"SAID ([^<]*)", dump(tmp_path / "page.html", tmp_path / "profile"))[1]
    assert said.replace("&lt;", "<").replace("&gt;", ">").split(" | ") == [
        "<a> · V",
        "b · X",
        "b · X: 0 of 1 nearest neighbours have its class",
        "none",
        "<a> · V",
        "<a> · V",
        "b · X",
        "false",
        "true",
    ]
