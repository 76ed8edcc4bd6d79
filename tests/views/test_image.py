"""A view refuses what makes no sense, in one sentence."""

import dataclasses

import pytest

from nearfar.errors import InputError
from nearfar.views import VIEWS, ImageView


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 0}, "size must be an integer from 1"),
        ({"size": 32.0}, "size must be an integer"),
        ({"size": True}, "size must be an integer"),
        ({"crop": "middle"}, "crop must be one of random, center, got 'middle'"),
        ({"interpolation": "nearest"}, "interpolation must be one of bilinear, bicubic"),
        ({"scale": (0.5, 0.1)}, "scale must be two rising numbers"),
        ({"scale": (0.1, 0.5, 1.0)}, "scale must be two rising numbers"),
        ({"ratio": (0.0, 1.0)}, "ratio must be two rising numbers"),
        ({"hflip": 1.5}, "hflip must be from 0 to 1, got 1.5"),
        ({"jitter": float("nan")}, "jitter must be from 0 to 1"),
        ({"jitter": "often"}, "jitter must be from 0 to 1"),
        ({"contrast": -0.1}, "contrast must be from 0 to 10"),
        ({"hue": 0.6}, "hue must be from 0 to 0.5"),
        ({"kernel": 4}, "kernel must be an odd integer"),
        ({"size": 4, "blur": 0.5, "kernel": 9}, "size must be > 4, half the blur's kernel"),
        ({"sigma": (0.0, 1.0)}, "sigma must be two rising numbers"),
        ({"mean": (0.5,)}, "std must be given exactly when mean is"),
        ({"mean": (0.5,), "std": (0.5, 0.5)}, "std must be as long as mean"),
        ({"mean": (0.5,), "std": (0.0,)}, "std must be > 0"),
    ],
)
def test_nonsense_is_refused(options, says):
    with pytest.raises(InputError, match="ImageView: ") as error:
        ImageView(**options)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_kernel_is_simclrs_when_not_given():
    assert [ImageView(size=size).kernel_size for size in (224, 96, 32, 10, 9)] == [23, 9, 3, 3, 3]


def test_a_list_from_a_file_serves_as_a_tuple():
    view = ImageView(scale=[0.2, 1.0], mean=[0.5], std=[0.5])
    assert view == ImageView(scale=(0.2, 1.0), mean=(0.5,), std=(0.5,))
    assert hash(view) == hash(dataclasses.replace(view))


def test_normalisation_serves_any_number_of_channels():
    view = ImageView(mean=(0.3, 0.4, 0.5), std=(0.1, 0.2, 0.3))
    assert view.normalisation(3) == ([0.3, 0.4, 0.5], [0.1, 0.2, 0.3])
    mean, std = view.normalisation(2)
    assert mean == pytest.approx([0.4, 0.4])
    assert std == pytest.approx([0.2, 0.2])
    assert ImageView().normalisation(4) == ([0.0] * 4, [1.0] * 4)
    with pytest.raises(InputError, match="mean must be of length 1, 3 or 5, got 2"):
        ImageView(mean=(0.3, 0.4), std=(0.1, 0.2)).normalisation(5)


@pytest.mark.parametrize("name", VIEWS.names())
@pytest.mark.parametrize("size", [8, 32, 224])
def test_every_ready_list_is_there_at_every_size(name, size):
    views = VIEWS.get(name)(size)
    assert len(views) >= 1
    assert views[0].size == size
    assert all(isinstance(view, ImageView) for view in views)


def test_published_settings():
    swav = VIEWS.get("swav")()
    assert [view.size for view in swav] == [224] * 2 + [96] * 6
    assert swav[0].scale == (0.14, 1.0)
    assert swav[2].scale == (0.05, 0.14)
    first, second = VIEWS.get("byol")()
    assert (first.blur, second.blur, first.solarize, second.solarize) == (1.0, 0.1, 0.0, 0.2)
    assert (first.brightness, first.contrast, first.saturation, first.hue) == (0.4, 0.4, 0.2, 0.1)
    simclr = VIEWS.get("simclr")
    assert (simclr()[0].brightness, simclr()[0].hue, simclr()[0].blur, simclr()[0].mean) == (0.8, 0.2, 0.5, None)
    assert simclr(version=1)[0].brightness_mode == "add"
    cifar = VIEWS.get("cifar")()[0]
    assert (cifar.brightness, cifar.hue, cifar.blur, cifar.scale) == (0.4, 0.1, 0.0, (0.08, 1.0))
    assert VIEWS.get("dino")()[2].scale == (0.05, 0.4)
    assert len(VIEWS.get("emp-ssl")(n=50)) == 50
    assert VIEWS.get("digits")()[0].hflip == 0
    assert VIEWS.get("evaluation")(32)[0].proportion == 1.0
    assert VIEWS.get("evaluation")(like=first)[0].mean == first.mean
