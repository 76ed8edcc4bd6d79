import numpy as np

from nearfar.report import Column, Line, MeanSd, Neighbour, PointMap, Query, Table, ViewGrid, demo_page
from tests.report.html_checks import check_page


def test_the_demo_page_has_all_its_parts(tmp_path):
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 17, (20, 8, 8)).astype(np.float64)
    near = rng.integers(0, 20, (20, 3))
    curve = [Line("raw pixels", [0, 1], [0.5, 0.8], [0.1, 0.02]), Line("pretrained", [0, 1], [0.7, 0.9], [0.1, 0.02])]
    path = demo_page(
        tmp_path / "report.html",
        title="demo",
        subtitle="digits",
        highlights=[("70.0 %", "pretrained", "raw pixels 50.0 %")],
        table=Table([Column("encoder"), Column("kNN", percent=True, digits=1)], [["pretrained", MeanSd(0.7, 0.1)]]),
        label_curves={"kNN": curve, "Linear": curve},
        label_ticks={0: "1", 1: "5"},
        points=PointMap(rng.normal(size=(20, 2)), rng.integers(0, 2, 20), ["a", "b"], tiles, None, near, None, "PCA"),
        queries=[Query(tiles[0], [Neighbour(tiles[n], 0.1 * n, "a", right=n < 3) for n in range(1, 5)], "a")],
        views=ViewGrid(tiles[:2], [tiles[2:4] / 16, tiles[4:6] / 16]),
        loss=Line("loss", np.arange(100), np.linspace(5, 2, 100)),
        probes=[Line("kNN", [1, 2], [0.5, 0.6])],
        facts={"seed": 0},
    )
    read = check_page(path.read_text(encoding="utf-8"))
    text = read.text()
    for heading in ("Numbers", "Map of the embeddings", "nearest neighbours", "Views", "Training", "Facts"):
        assert heading in text
    labels = [attributes["aria-label"] for attributes in read.all("svg")]
    assert len(labels) == 4
    assert (
        labels[0]
        == "kNN: test accuracy over labels per class: raw pixels from 50.0% to 80.0%; pretrained from 70.0% to 90.0%."
    )
    assert "loss from 5 to 2" in labels[2]
    assert len(read.all("img")) == 1 + 5 + 6
