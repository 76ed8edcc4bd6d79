"""The fast JPEG decoder gives what Pillow gives, and leaves to Pillow whatever is out of the ordinary."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from nearfar.data import ItemError, Kind, jpeg, read_picture
from tests.data.pictures import noise

pytest.importorskip("simplejpeg")
MOST = 10**9


def smooth(height, width, channels=3):
    """A picture with gentle slopes, edges and some grain."""
    y, x = np.mgrid[:height, :width]
    planes = [128 + 100 * np.sin(y / (20 + 7 * c)) * np.cos(x / (31 - 5 * c)) for c in range(channels)]
    picture = np.stack(planes, axis=2) + noise(height, width, channels, seed=1) / 16
    picture[height // 3 : height // 2, width // 4 : width // 2] = 240
    picture = picture.clip(0, 255).astype(np.uint8)
    return picture if channels == 3 else picture[..., 0]


def encode(pixels, kind="JPEG", **options):
    file = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(file, kind, **{"quality": 90, **options})
    return file.getvalue()


def both(content, monkeypatch, **options):
    """Decode by simplejpeg, which must take it, and by Pillow."""
    side = options.get("side")
    assert jpeg.decode(content, side=side, most_pixels=MOST) is not None
    fast = read_picture(content, **options)
    with monkeypatch.context() as without:
        without.setattr(jpeg, "_turbo", lambda: None)
        return fast.astype(int), read_picture(content, **options).astype(int)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("side", [None, 50, 100, 199, 200, 250])
def test_pixels_are_those_of_pillow_but_for_one_level(subsampling, progressive, side, monkeypatch):
    content = encode(smooth(401, 603), subsampling=subsampling, progressive=progressive)
    fast, slow = both(content, monkeypatch, side=side)
    assert fast.shape == slow.shape
    assert np.abs(fast - slow).max() <= 1  # equal where both bundle one version of libjpeg-turbo
    assert np.abs(fast - slow).mean() < 0.05


@pytest.mark.parametrize("kind", [None, Kind(1, 8), Kind(3, 8), Kind(3, 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_channels_and_depth(kind, channels, monkeypatch):
    fast, slow = both(encode(smooth(60, 41, channels)), monkeypatch, kind=kind)
    assert fast.shape == slow.shape == (60, 41, channels if kind is None else kind.channels)
    assert np.abs(fast - slow).max() <= (257 if kind == Kind(3, 16) else 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "somebody's camera"
    content = encode(smooth(64, 200), exif=exif)
    plain = jpeg.header(content)
    assert (plain.height, plain.width, plain.orientation) == (64, 200, orientation)
    for side in (None, 16):
        fast, slow = both(content, monkeypatch, side=side)
        assert fast.shape == slow.shape
        assert np.abs(fast - slow).max() <= 1


def segment(marker, content):
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


XMP = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Orientation>6</tiff:Orientation>'


def unusual():
    picture = smooth(40, 64)
    plain = encode(picture)
    exif = Image.Exif()
    exif[0x0112] = 3
    twice = encode(picture, exif=exif)
    at = twice.index(b"Exif\0\0") - 4
    length = int.from_bytes(twice[at + 2 : at + 4], "big") + 2
    return {
        "CMYK": encode(Image.fromarray(picture).convert("CMYK")),
        "RGB": encode(picture, keep_rgb=True),
        "several pictures": encode(picture, "MPO", save_all=True, append_images=[Image.fromarray(picture[::-1])]),
        "orientation in XMP": plain[:2] + segment(0xE1, XMP) + plain[2:],
        "two EXIF segments": twice[:at] + twice[at : at + length] + twice[at:],
        "fill bytes": plain[:2] + b"\xff" + plain[2:],
        "PNG": encode(picture, "PNG"),
    }


@pytest.mark.parametrize("name", list(unusual()))
def test_the_unusual_is_left_to_pillow(name):
    content = unusual()[name]
    assert jpeg.decode(content, side=None, most_pixels=MOST) is None
    expected = (64, 40, 3) if name == "orientation in XMP" else (40, 64, 3)
    assert read_picture(content).shape == expected


def test_broken_files_are_reported_as_ever(tmp_path, monkeypatch):
    whole = encode(smooth(80, 120))
    scan = whole.index(b"\xff\xda")
    files = {
        "half": whole[: len(whole) // 2],
        "header": whole[:scan],
        "two": whole[:2],
        "empty": b"",
        "text": b"no image",
        "magic": b"\xff\xd8\xff" + bytes(100),
        "zeros": whole[: scan + 40] + bytes(len(whole) - scan - 40),
    }
    for name, content in files.items():
        path = tmp_path / f"{name}.jpg"
        path.write_bytes(content)
        said = []
        for turbo in (jpeg._turbo, lambda: None):
            monkeypatch.setattr(jpeg, "_turbo", turbo)
            try:
                said.append(read_picture(path).tobytes())
            except ItemError as error:
                said.append(str(error))
        assert said[0] == said[1], name
        if name != "zeros":  # Pillow puts up with a scan of nonsense
            assert said[0].startswith(f"{path}: cannot be read ("), name
    with pytest.raises(ItemError, match=r"missing\.jpg: cannot be read \(No such file"):
        read_picture(tmp_path / "missing.jpg")


def test_a_cut_at_any_place_is_refused_or_read_as_pillow_does(monkeypatch):
    whole = encode(smooth(24, 40))
    for length in range(0, len(whole), 7):
        found = []
        for turbo in (jpeg._turbo, lambda: None):
            with monkeypatch.context() as changed:
                changed.setattr(jpeg, "_turbo", turbo)
                try:
                    found.append(read_picture(whole[:length]).tobytes())
                except ItemError as error:
                    found.append(error.reason)
        assert found[0] == found[1]


def test_the_limit_of_pixels_holds(monkeypatch):
    monkeypatch.setattr("nearfar.data.picture._MOST_PIXELS", 1000)
    with pytest.raises(ItemError, match="at most 1,000 pixels"):
        read_picture(encode(smooth(40, 40)))


def test_without_simplejpeg_pillow_reads(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "simplejpeg", None)
    jpeg._turbo.cache_clear()
    try:
        content = encode(smooth(24, 40))
        assert jpeg.decode(content, side=None, most_pixels=MOST) is None
        assert read_picture(content).shape == (24, 40, 3)
    finally:
        jpeg._turbo.cache_clear()


def test_a_decoder_that_fails_leaves_the_file_to_pillow(monkeypatch):
    class Failing:
        @staticmethod
        def decode_jpeg(*arguments, **options):
            raise ValueError("Unsupported")

    monkeypatch.setattr(jpeg, "_turbo", lambda: Failing)
    assert read_picture(encode(smooth(24, 40))).shape == (24, 40, 3)
