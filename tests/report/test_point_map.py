import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from nearfar.errors import InputError
from nearfar.report import PointMap, map_figure
from nearfar.report.point_map import MAX_POINTS, map_fragment, sprite_sheets


def payload(points: PointMap) -> dict:
    text = re.search(r'<script type="application/json">(.*?)</script>', map_fragment(points, "a map", "m"), re.DOTALL)
    return json.loads(text[1])


def unpack(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype=kind)


def test_payload_keeps_places_labels_neighbours_and_distances():
    xy = np.array([[-1.0, 10.0], [3.0, 11.0], [1.0, 12.0]])
    near, far = np.array([[1, 2], [2, 0], [0, 1]]), np.array([[0.1, 0.2], [0.3, 0.4], [0.0, 0.8]])
    data = payload(PointMap(xy, np.array([1, 0, -1]), ["a", "b"], ids=["x", "y", "z"], neighbours=near, distances=far))
    got = np.stack([unpack(data["x"], "<u2"), unpack(data["y"], "<u2")], axis=1) / 65535 * 4 + [-1, 10]
    np.testing.assert_allclose(got, xy, atol=1e-4)
    assert unpack(data["labels"], "<i2").tolist() == [1, 0, -1]
    assert unpack(data["neighbours"], "<u2").reshape(3, 2).tolist() == near.tolist()
    np.testing.assert_allclose(unpack(data["distances"], "<u2").reshape(3, 2) / 65535 * data["most"], far, atol=2e-5)
    assert data["ids"] == ["x", "y", "z"]
    assert "sheets" not in data


def test_one_point_and_identical_points_are_maps_too():
    assert payload(PointMap(np.array([[5.0, 5.0]])))["count"] == 1
    data = payload(PointMap(np.ones((4, 2)), distances=np.zeros((4, 1)), neighbours=np.array([[1], [2], [3], [0]])))
    assert unpack(data["x"], "<u2").tolist() == [0] * 4
    assert unpack(data["distances"], "<u2").tolist() == [0] * 4


def test_sheets_of_tiny_pictures_keep_every_pixel():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (1700, 8, 8), dtype=np.uint8)
    sheets, edge = sprite_sheets(pictures)
    assert edge == 8
    assert len(sheets) == 2
    for n in (0, 41, 1599, 1600, 1699):
        sheet = np.asarray(Image.open(io.BytesIO(sheets[n // 1600])))
        row, column = divmod(n % 1600, 40)
        assert np.array_equal(sheet[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8], pictures[n])


def test_many_photographs_stay_small_and_recognisable():
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (300, 3), dtype=np.uint8)
    pictures = [np.broadcast_to(colour, (120, 90, 3)) for colour in colours]
    sheets, edge = sprite_sheets(pictures)
    assert edge == 64
    assert sum(map(len, sheets)) < 300 * 2_000
    sheet = np.asarray(Image.open(io.BytesIO(sheets[0]))).astype(int)
    for n in (0, 7, 299):
        row, column = divmod(n, 40)
        middle = sheet[row * 64 + 32, column * 64 + 32]
        assert np.abs(middle - colours[n]).max() < 12


def test_the_largest_map_is_a_page_of_a_few_megabytes():
    rng = np.random.default_rng(0)
    xy = rng.normal(size=(MAX_POINTS, 2))
    near = rng.integers(0, MAX_POINTS, (MAX_POINTS, 10))
    text = map_fragment(PointMap(xy, neighbours=near, distances=rng.random(near.shape)), "a map", "m")
    assert len(text) < 3_000_000


def test_the_picture_has_every_class_in_another_look_and_its_name():
    labels = np.repeat(np.arange(12), 5)
    points = PointMap(np.random.default_rng(0).normal(size=(60, 2)), labels, [f"class {n}" for n in range(12)])
    axes = map_figure(points).axes[0]
    looks = {(tuple(dots.get_facecolor()[0]), dots.get_paths()[0].vertices.tobytes()) for dots in axes.collections}
    assert len(looks) == 12
    assert [text.get_text() for text in axes.texts] == [f"class {n}" for n in range(12)]


XY = np.zeros((3, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PointMap(np.zeros((0, 2))), "coordinates"),
        (lambda: PointMap(np.zeros((3, 3))), "coordinates"),
        (lambda: PointMap(np.full((3, 2), np.nan)), "finite"),
        (lambda: PointMap(np.zeros((MAX_POINTS + 1, 2))), "sample"),
        (lambda: PointMap(XY, np.zeros(2, dtype=int), ["a"]), "labels"),
        (lambda: PointMap(XY, np.array([0, 1, 0]), ["a"]), "labels"),
        (lambda: PointMap(XY, np.array([0, -2, 0]), ["a"]), "labels"),
        (lambda: PointMap(XY, ids=["a"]), "ids"),
        (lambda: PointMap(XY, thumbnails=np.zeros((2, 8, 8))), "thumbnails"),
        (lambda: PointMap(XY, neighbours=np.array([[1], [2], [3]])), "neighbours"),
        (lambda: PointMap(XY, neighbours=np.array([[1]])), "neighbours"),
        (lambda: PointMap(XY, distances=np.zeros((3, 1))), "distances"),
        (lambda: PointMap(XY, neighbours=np.zeros((3, 1), int), distances=np.full((3, 1), -1.0)), "distances"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
