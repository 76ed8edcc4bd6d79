import base64
import io

import numpy as np
import pytest
from PIL import Image

from nearfar.errors import InputError
from nearfar.report.pictures import as_is, data_uri, fit, shared_range, to_image, to_png


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_uint8_grey_and_colour_come_back_exactly():
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    colour = np.arange(144, dtype=np.uint8).reshape(6, 8, 3)
    assert np.array_equal(pixels(to_png(grey)), grey)
    assert np.array_equal(pixels(to_png(grey[:, :, None])), grey)
    assert np.array_equal(pixels(to_png(colour)), colour)


def test_two_channels_are_magenta_and_green_and_more_show_the_first_three():
    array = np.zeros((2, 2, 2), dtype=np.uint8)
    array[0, 0] = [200, 0]
    array[1, 1] = [0, 90]
    shown = pixels(to_png(array))
    assert shown[0, 0].tolist() == [200, 0, 200]
    assert shown[1, 1].tolist() == [0, 90, 0]
    many = np.arange(2 * 2 * 7, dtype=np.uint8).reshape(2, 2, 7)
    assert np.array_equal(pixels(to_png(many)), many[:, :, :3])


def test_values_within_0_and_1_are_not_stretched_others_are():
    assert pixels(to_png(np.array([[0.2, 0.6]]))).tolist() == [[51, 153]]
    assert pixels(to_png(np.array([[-1.0, 0.0, 1.0]]))).tolist() == [[0, 128, 255]]
    assert pixels(to_png(np.array([[0, 4095]], dtype=np.uint16))).tolist() == [[0, 255]]
    assert pixels(to_png(np.array([[0, 4095]], dtype=np.uint16), value_range=(0, 65535))).tolist() == [[0, 16]]
    assert pixels(to_png(np.array([[False, True]]))).tolist() == [[0, 255]]


def test_constant_and_not_finite_pictures_are_drawn():
    assert pixels(to_png(np.full((2, 2), 7.0))).tolist() == [[0, 0], [0, 0]]
    assert pixels(to_png(np.array([[np.nan, 3.0, 5.0, np.inf]]))).tolist() == [[0, 0, 255, 0]]
    assert pixels(to_png(np.full((1, 2), np.nan))).tolist() == [[0, 0]]


def test_shared_range_spans_all_pictures_but_those_of_uint8():
    a, b = np.array([[0.0, 3.0]]), np.array([[-2.0, 1.0]])
    assert shared_range([a, b, np.array([[255]], dtype=np.uint8)]) == (-2.0, 3.0)
    assert shared_range([np.array([[0.0, 1.0]])]) is None
    assert as_is(np.array([0.5, np.nan]))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), "of shape"),
        (np.zeros((0, 3)), "at least one pixel"),
        (np.zeros((2, 2, 0)), "at least one pixel"),
        (np.array([["a"]]), "a number"),
        (np.zeros((2, 2), dtype=np.complex64), "a number"),
    ],
)
def test_what_is_not_a_picture_is_refused(array, message):
    with pytest.raises(InputError, match=message):
        to_image(array)


def test_large_pictures_shrink_in_proportion_and_small_ones_stay():
    assert fit(Image.new("RGB", (400, 200)), 100).size == (100, 50)
    small = Image.new("L", (8, 8))
    assert fit(small, 100) is small
    assert fit(Image.new("L", (5000, 1)), 10).size == (10, 1)


def test_data_uri_says_what_it_holds():
    assert data_uri(Image.new("L", (4, 4))).startswith("data:image/png;base64,")
    assert data_uri(Image.new("RGB", (200, 4))).startswith("data:image/jpeg;base64,")
    content = to_png(np.zeros((2, 2), dtype=np.uint8))
    assert base64.b64decode(data_uri(content).partition(",")[2]) == content
    with pytest.raises(InputError, match="PNG or JPEG"):
        data_uri(b"<svg>")
