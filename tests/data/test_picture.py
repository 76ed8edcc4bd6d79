from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from nearfar.data import ItemError, Kind, read_picture
from nearfar.data.picture import file_kind, fit_kind, resize_shorter
from tests.data.pictures import noise, save


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "tiff"])
def test_lossless_colour_is_read_exactly(tmp_path, ending):
    pixels = noise(7, 9, 3)
    image = read_picture(save(tmp_path / f"a.{ending}", pixels))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, pixels)


@pytest.mark.parametrize("ending", ["jpg", "webp"])
def test_lossy_formats_are_read_closely(tmp_path, ending):
    smooth = np.add.outer(np.arange(32) * 3, np.arange(24) * 4).astype(np.uint8)
    pixels = np.stack([smooth, smooth // 2, 255 - smooth], axis=2)
    image = read_picture(save(tmp_path / f"a.{ending}", pixels, quality=95))
    assert image.shape == pixels.shape
    assert np.abs(image.astype(int) - pixels).mean() < 4


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_survive(tmp_path, ending):
    pixels = noise(5, 6, dtype=np.uint16)
    path = save(tmp_path / f"a.{ending}", pixels)
    assert file_kind(path) == Kind(1, 16)
    np.testing.assert_array_equal(read_picture(path), pixels[..., None])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pages_of_a_tiff_are_channels(tmp_path, dtype):
    pixels = noise(5, 6, 7, dtype=dtype)
    pages = [Image.fromarray(np.ascontiguousarray(pixels[..., channel])) for channel in range(7)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif"), pixels)
    assert file_kind(tmp_path / "a.tif").channels == 7


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", noise(4, 7, 3), exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_picture(path), expected)


def test_palette_cmyk_and_bilevel(tmp_path):
    picture = Image.fromarray(noise(8, 8, 3))
    picture.quantize(4).save(tmp_path / "palette.png")
    picture.convert("CMYK").save(tmp_path / "cmyk.tif")
    picture.convert("1").save(tmp_path / "bits.png")
    assert read_picture(tmp_path / "palette.png").shape == (8, 8, 3)
    np.testing.assert_array_equal(read_picture(tmp_path / "cmyk.tif"), np.asarray(picture))
    bits = read_picture(tmp_path / "bits.png")
    assert bits.shape == (8, 8, 1)
    assert set(np.unique(bits)) == {0, 255}


def test_transparent_pixels_are_laid_over_white(tmp_path):
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, :, :] = (10, 20, 30, 255)
    path = save(tmp_path / "a.png", pixels)
    image = read_picture(path)
    assert image[0, 0].tolist() == [10, 20, 30]
    assert image[1, 0].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(read_picture(path, kind=Kind(4, 8)), pixels)
    grey = Image.fromarray(pixels).convert("LA")
    grey.save(tmp_path / "grey.png")
    assert read_picture(tmp_path / "grey.png")[1].tolist() == [[255], [255]]


@pytest.mark.parametrize(
    ("have", "want"),
    [((1, np.uint8), (3, 8)), ((3, np.uint8), (1, 8)), ((1, np.uint8), (1, 16)), ((3, np.uint16), (1, 8))],
)
def test_kinds_are_converted(have, want):
    channels, dtype = have
    pixels = noise(6, 5, channels, dtype=dtype)
    image = fit_kind(pixels, Kind(*want))
    assert image.shape == (6, 5, want[0])
    assert image.dtype.itemsize * 8 == want[1]
    scale = {8: 255, 16: 65535}
    luma = pixels @ np.array([0.299, 0.587, 0.114]) if channels == 3 else pixels[..., 0].astype(float)
    expected = luma / np.iinfo(dtype).max * scale[want[1]]
    assert np.abs(image - expected[..., None]).max() <= 1


def test_eight_bits_go_to_sixteen_and_back_without_loss():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    np.testing.assert_array_equal(fit_kind(fit_kind(pixels, Kind(1, 16)), Kind(1, 8)), pixels)


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match="must have 5 channels, got 3"):
        fit_kind(noise(2, 2, 3), Kind(5, 8))


@pytest.mark.parametrize("shape", [(40, 60, 3), (60, 40, 1), (40, 60, 5), (33, 1000, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_shorter_side_and_aspect(shape, dtype):
    small = resize_shorter(noise(*shape, dtype=dtype), 16)
    assert min(small.shape[:2]) == 16
    assert small.dtype == dtype
    assert abs(small.shape[1] / small.shape[0] / (shape[1] / shape[0]) - 1) < 0.05
    assert resize_shorter(small, 16) is small


def test_resizing_keeps_constant_images_and_does_not_wrap():
    for dtype in (np.uint8, np.uint16):
        top = np.iinfo(dtype).max
        stripes = np.zeros((40, 40, 2), dtype)
        stripes[:, 20:] = top
        small = resize_shorter(stripes, 10)
        assert (small[:, 0] < top // 20).all()
        assert (small[:, -1] > top - top // 20).all()


def test_large_jpegs_are_decoded_at_a_smaller_scale(tmp_path):
    smooth = np.add.outer(np.arange(800) / 4, np.arange(1200) / 8).clip(0, 255).astype(np.uint8)
    path = save(tmp_path / "a.jpg", np.stack([smooth] * 3, axis=2), quality=95)
    small = read_picture(path, side=100)
    assert small.shape == (100, 150, 3)
    plain = resize_shorter(read_picture(path), 100)
    assert np.abs(small.astype(int) - plain).max() <= 3


def broken_files(folder):
    good = {
        ending: save(folder / f"good.{ending}", noise(40, 40, 3)).read_bytes()
        for ending in ("png", "jpg", "tif", "bmp")
    }
    files = {"empty.png": b"", "text.jpg": b"this is no image at all " * 9}
    files |= {f"half.{ending}": content[: len(content) // 2] for ending, content in good.items()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def test_broken_files_are_one_error_with_name_and_reason(tmp_path):
    for path in broken_files(tmp_path):
        with pytest.raises(ItemError) as caught:
            read_picture(path)
        assert str(caught.value).startswith(f"{path}: cannot be read (")
        assert "\n" not in str(caught.value)
    with pytest.raises(ItemError, match="the file is empty"):
        read_picture(tmp_path / "empty.png")
    with pytest.raises(ItemError, match="not an image"):
        read_picture(tmp_path / "text.jpg")
    with pytest.raises(ItemError, match="No such file"):
        read_picture(tmp_path / "missing.jpg")


def test_floating_point_and_bombs_are_refused(tmp_path, monkeypatch):
    save(tmp_path / "f.tif", np.random.default_rng(0).random((3, 3)).astype(np.float32))
    with pytest.raises(ItemError, match="8 or 16 bits"):
        read_picture(tmp_path / "f.tif")
    path = save(tmp_path / "a.png", noise(40, 40, 3))
    monkeypatch.setattr("nearfar.data.picture._MOST_PIXELS", 1000)
    with pytest.raises(ItemError, match="at most 1,000 pixels"):
        read_picture(path)
