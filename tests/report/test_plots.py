import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from nearfar.errors import InputError
from nearfar.report import (
    Line,
    bars,
    curves,
    distance_histogram,
    figure_png,
    figure_svg,
    loss_curve,
    precision_recall,
    project,
    roc,
    write_figure,
)
from nearfar.report.style import DARK, LIGHT

LINES = [Line("kNN", [1, 2, 3], [0.1, 0.5, 0.9], [0.1, 0.1, 0.05]), Line("linear", [1, 2, 3], [0.2, 0.4, 0.8])]


def figures() -> dict:
    rng = np.random.default_rng(0)
    return {
        "curves": curves(LINES, x_label="epoch", y_label="accuracy [%]", percent=True),
        "loss": loss_curve(np.arange(200), rng.normal(size=200)),
        "roc": roc([Line("encoder", [0, 0.2, 1], [0, 0.8, 1])]),
        "pr": precision_recall([Line("encoder", [0, 0.5, 1], [1, 0.9, 0.3])]),
        "histogram": distance_histogram(rng.random(50), rng.random(50) + 0.5, cut=0.7),
        "bars": bars(["a", "b"], [0.5, 0.7], x_label="accuracy [%]", intervals=np.array([[0.4, 0.6], [0.6, 0.8]])),
    }


@pytest.mark.parametrize("name", figures())
def test_every_plot_is_valid_svg_with_labelled_axes_and_theme_colours(name):
    figure = figures()[name]
    axes = figure.axes[0]
    assert axes.get_xlabel()
    assert axes.get_ylabel() or name == "bars"
    svg = figure_svg(figure, "p-")
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert f">{axes.get_xlabel()}</text>" in svg
    outside = re.findall(r"#[0-9a-f]{6}", re.sub(r"var\(--[a-z0-9]+, #[0-9a-f]{6}\)", "", svg))
    assert set(outside) <= {"#000000"}
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert all(one.startswith("p-") for one in ids)
    used = re.findall(r'(?:url\(#|href="#)([^")]+)', svg)
    assert set(used) <= set(ids)


def test_drawing_is_deterministic_and_leaves_pyplot_alone():
    before = "matplotlib.pyplot" in sys.modules
    assert figure_svg(figures()["curves"]) == figure_svg(figures()["curves"])
    assert figure_png(figures()["bars"]) == figure_png(figures()["bars"])
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_curves_show_values_in_percent_and_differ_without_colour():
    axes = figures()["curves"].axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [10, 50, 90])
    looks = {(line.get_linestyle(), line.get_marker()) for line in axes.lines}
    assert len(looks) == len(LINES)


def test_running_mean_of_the_loss():
    losses = np.arange(101, dtype=float)
    losses[2] = np.nan
    raw, mean = loss_curve(np.arange(101), losses).axes[0].lines
    assert raw.get_xdata()[:4].tolist() == [0, 1, 3, 4]
    assert mean.get_ydata()[:4].tolist() == [0, 0.5, 2, 3.5]
    assert len(loss_curve([1, 2], [3, 4]).axes[0].lines) == 1


def test_histogram_is_a_share_of_each_kind_of_pair():
    axes = distance_histogram(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.6, 0.9]), bins=4).axes[0]
    np.testing.assert_allclose([patch.get_data().values.sum() for patch in axes.patches], 100)


def test_formulas_underscores_markup_and_unknown_glyphs_are_plain_text():
    names = ["_hidden", "$x^2", "<b>&", "数字", "a\\$b"]
    lines = [Line(name, [0, 1], [0, 1]) for name in names]
    svg = figure_svg(curves(lines, x_label="$", y_label="<y>"))
    texts = {
        "".join(one.itertext()).strip("\u200b")
        for one in ElementTree.fromstring(svg).iter()
        if one.tag.endswith("text")
    }
    assert set(names) <= texts
    assert {"$", "<y>"} <= texts


def test_long_names_leave_room_for_the_plot():
    figure = curves([Line("n" * 500, [0, 1], [0, 1])], x_label="x" * 500, y_label="y" * 48)
    svg = figure_svg(figure)
    assert "x" * 47 + "…" in svg
    assert "y" * 48 in svg
    box = figure.axes[0].get_position()
    assert min(box.width, box.height) > 0.5


def test_bars_say_their_values():
    axes = bars(["a", "b_$"], [0.512, 0.7], x_label="accuracy [%]", percent=True).axes[0]
    assert [text.get_text() for text in axes.texts] == ["51.2", "70.0"]


def test_files(tmp_path):
    figure = figures()["curves"]
    write_figure(figure, tmp_path / "a.svg", title="a < b")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(text)
    assert "a &lt; b" in text
    assert DARK.ink in text
    assert "prefers-color-scheme:dark" in text
    write_figure(figure, tmp_path / "a.png", title="a")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"\.png or \.svg"):
        write_figure(figure, tmp_path / "a.pdf", title="a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: curves([], x_label="x", y_label="y"),
        lambda: curves(LINES * 6, x_label="x", y_label="y"),
        lambda: curves([Line("a", [1, 2], [1])], x_label="x", y_label="y"),
        lambda: curves([Line("a", [], [])], x_label="x", y_label="y"),
        lambda: distance_histogram(np.array([]), np.array([1.0])),
        lambda: distance_histogram(np.array([1.0]), np.array([np.nan])),
        lambda: bars(["a"], [1, 2], x_label="x"),
        lambda: bars(["a"], [1], x_label="x", intervals=np.zeros((2, 2))),
        lambda: project(np.zeros(3)),
        lambda: project(np.full((3, 2), np.nan)),
        lambda: project(np.zeros((3, 2)), "umap"),
    ],
)
def test_bad_input_is_refused(make):
    with pytest.raises(InputError, match="must be"):
        make()


def test_projection_keeps_the_two_widest_directions():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(200, 2)) * [10, 5]
    turned = np.concatenate([wide, rng.normal(size=(200, 3)) * 0.01], axis=1) @ np.linalg.qr(rng.normal(size=(5, 5)))[0]
    got = project(turned)
    assert got.shape == (200, 2)
    assert got.dtype == np.float32
    between = np.linalg.norm(wide[:50, None] - wide[None, :50], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(got[:50, None] - got[None, :50], axis=-1), between, atol=0.2)
    assert project(np.arange(4.0)[:, None]).shape == (4, 2)


@pytest.mark.slow
def test_tsne_is_seeded_and_keeps_clusters_apart():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=(30, 4)), rng.normal(size=(30, 4)) + 20])
    got = project(values, "tsne", seed=1)
    assert np.array_equal(got, project(values, "tsne", seed=1))
    nearest = np.linalg.norm(got[:, None] - got[None], axis=-1).argsort(axis=1)[:, 1]
    assert ((nearest < 30) == (np.arange(60) < 30)).all()


def test_colours_of_a_theme_are_distinct():
    for theme in (LIGHT, DARK):
        assert len({theme.ink, theme.soft, theme.grid, theme.paper, *theme.series}) == 14
