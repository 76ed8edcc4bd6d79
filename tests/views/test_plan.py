"""Plans are distributed as torchvision's, drawn from one generator, and say what they hold."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, ks_2samp, kstest
from torchvision.transforms import ColorJitter, RandomErasing, RandomResizedCrop

from nearfar.errors import InputError
from nearfar.views import ImageView, draw

N = 100_000


def torchvision_crops(height, width, scale, ratio, n):
    """n draws of RandomResizedCrop.get_params, area share, log aspect and relative corner."""
    image = torch.empty(1, 1, 1).expand(3, height, width)
    return np.array([RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(n)])


# The slow oracle takes 20 microseconds a draw, so it draws fewer where one picture is enough to see a difference.
@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio", "n"),
    [
        (300, 400, (0.08, 1.0), (3 / 4, 4 / 3), N),
        (32, 32, (0.08, 1.0), (3 / 4, 4 / 3), 10_000),
        (40, 400, (0.3, 1.0), (3 / 4, 4 / 3), 10_000),  # most tries fail: the fall-back to the centre
        (400, 60, (0.14, 1.0), (0.5, 2.0), 10_000),
        (3, 5, (0.05, 0.4), (0.3, 3.3), 10_000),
    ],
)
def test_crops_are_distributed_as_torchvisions(height, width, scale, ratio, n):
    torch.manual_seed(0)
    theirs = torchvision_crops(height, width, scale, ratio, n)
    view = ImageView(scale=scale, ratio=ratio)
    ours = draw(view, np.tile([height, width], (n, 1)), np.random.default_rng(0)).box
    for quantity in (
        lambda box: box[:, 2] * box[:, 3],
        lambda box: box[:, 3] / box[:, 2],
        lambda box: box[:, 0],
        lambda box: box[:, 1],
        lambda box: box[:, 0] + box[:, 2],
        lambda box: box[:, 1] + box[:, 3],
    ):
        assert ks_2samp(quantity(ours), quantity(theirs.astype(float))).pvalue > 1e-3


def test_fall_back_is_the_centre_with_the_nearest_ratio():
    view = ImageView(scale=(1.0, 1.0), ratio=(1.0, 1.0))
    plan = draw(view, [(10, 40), (40, 10), (7, 7)], np.random.default_rng(0))
    assert plan.box.tolist() == [[0, 15, 10, 10], [15, 0, 10, 10], [0, 0, 7, 7]]


def test_crops_lie_inside_pictures_of_every_shape():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 60, (5000, 2))
    plan = draw(ImageView(scale=(0.001, 1.0), ratio=(0.01, 100.0)), sizes, rng)
    assert (plan.box[:, 2:] >= 1).all()
    assert (plan.box[:, :2] >= 0).all()
    assert (plan.box[:, :2] + plan.box[:, 2:] <= sizes).all()
    assert (plan.window == np.hstack([plan.box[:, :2], plan.box[:, :2] + plan.box[:, 2:]])).all()


def test_jitter_is_distributed_as_torchvisions():
    view = ImageView(jitter=0.8, brightness=0.4, contrast=1.4, saturation=0.2, hue=0.1)
    plan = draw(view, np.ones((N, 2)), np.random.default_rng(0))
    jitter = ColorJitter(0.4, 1.4, 0.2, 0.1)
    torch.manual_seed(0)
    ranges = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    theirs = [jitter.get_params(*ranges) for _ in range(5000)]
    for step in range(4):
        assert ks_2samp(plan.factors[:, step], [float(draw_[1 + step]) for draw_ in theirs]).pvalue > 1e-3
        low, high = ranges[step]
        assert kstest(plan.factors[:, step], "uniform", (low, high - low)).pvalue > 1e-3
    on = plan.order[:, 0] >= 0
    assert abs(on.mean() - 0.8) < 4 * math.sqrt(0.8 * 0.2 / N)
    assert ((plan.order[~on] == -1).all(), (np.sort(plan.order[on], axis=1) == [0, 1, 2, 3]).all()) == (True, True)
    counts = np.unique(plan.order[on] @ [64, 16, 4, 1], return_counts=True)[1]
    assert len(counts) == 24  # every order of four steps
    assert chisquare(counts).pvalue > 1e-3


def test_added_brightness_is_drawn_about_zero():
    view = ImageView(jitter=1.0, brightness=0.8, brightness_mode="add")
    factors = draw(view, np.ones((N, 2)), np.random.default_rng(0)).factors
    assert kstest(factors[:, 0], "uniform", (-0.8, 1.6)).pvalue > 1e-3


def test_erasing_is_distributed_as_torchvisions():
    view = ImageView(size=48, erase=1.0, erase_scale=(0.02, 0.9))
    ours = draw(view, np.ones((N, 2)), np.random.default_rng(0)).erase
    torch.manual_seed(0)
    image = torch.zeros(1, 48, 48)
    theirs = [RandomErasing.get_params(image, [0.02, 0.9], [0.3, 3.3], [0.0])[:4] for _ in range(10_000)]
    theirs = np.array([(0, 0, 0, 0) if (h, w) == (48, 48) else (i, j, h, w) for i, j, h, w in theirs])
    for column in range(4):
        assert ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3


@pytest.mark.parametrize("field", ["hflip", "vflip", "grayscale", "solarize", "blur"])
def test_probabilities_hold(field):
    plan = draw(ImageView(**{field: 0.3}), np.ones((N, 2)), np.random.default_rng(0))
    arrays = {"grayscale": plan.gray, "blur": plan.sigma > 0}
    share = arrays.get(field, getattr(plan, field, None)).mean()
    assert abs(share - 0.3) < 4 * math.sqrt(0.3 * 0.7 / N)


def test_other_numbers_are_uniform():
    view = ImageView(size=10, rotate=20, translate=0.1, zoom=(0.5, 1.5), blur=1.0, sigma=(0.1, 2.0))
    plan = draw(view, np.ones((N, 2)), np.random.default_rng(0))
    for values, low, high in (
        (plan.angle, -20, 20),
        (plan.shift[:, 0], -1, 1),
        (plan.shift[:, 1], -1, 1),
        (plan.zoom, 0.5, 1.5),
        (plan.sigma, 0.1, 2.0),
    ):
        assert kstest(values, "uniform", (low, high - low)).pvalue > 1e-3


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_colour_steps_leave_themselves_out(channels):
    view = ImageView(jitter=1.0, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, grayscale=1.0)
    plan = draw(view, np.ones((500, 2)), np.random.default_rng(0), channels=channels)
    assert set(plan.order.ravel()) == {-1, 0, 1}
    assert not plan.gray.any()
    assert draw(view, np.ones((500, 2)), np.random.default_rng(0), channels=3).gray.all()


def test_centre_crop_is_torchvisions():
    """Resize(64) then CenterCrop(56), told as a box of the picture."""
    plan = draw(ImageView(size=56, crop="center"), [(100, 150), (90, 90)], np.random.default_rng(0))
    # 100 x 150 becomes 64 x 96; the crop begins at (4, 20)
    assert plan.box[0] == pytest.approx([4 * 100 / 64, 20 * 150 / 96, 56 * 100 / 64, 56 * 150 / 96])
    assert plan.box[1] == pytest.approx([4 * 90 / 64, 4 * 90 / 64, 56 * 90 / 64, 56 * 90 / 64])
    assert plan.window.tolist() == [[0, 0, 100, 150], [0, 0, 90, 90]]


def test_same_generator_same_plan():
    view = ImageView(hflip=0.5, jitter=0.8, brightness=0.4, hue=0.1, blur=0.5, erase=0.5)
    one, two, other = (draw(view, [(20, 30)] * 50, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for field in dataclasses.fields(one)[1:]:
        assert np.array_equal(getattr(one, field.name), getattr(two, field.name))
    assert not np.array_equal(one.box, other.box)


def test_describe_names_what_happens():
    view = ImageView(
        size=32, hflip=1.0, vflip=1.0, rotate=10, jitter=1.0, brightness=0.4, hue=0.1, grayscale=1.0, blur=1.0,
        solarize=1.0, erase=1.0,
    )  # fmt: skip
    said = draw(view, [(40, 50)], np.random.default_rng(0)).describe(0)
    assert list(said)[:3] == ["crop", "flip", "move"]
    assert set(said) == {
        "crop", "flip", "move", "brightness", "hue", "gray", "blur", "solarize", "erase",
    }  # fmt: skip
    assert said["crop"].endswith("of 40 x 50")
    assert said["flip"] == "horizontal and vertical"
    plain = draw(ImageView(size=32), [(40, 50)], np.random.default_rng(0)).describe(0)
    assert set(plain) == {"crop"}


def test_wrong_sizes_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"draw: sizes must be \(N, 2\)"):
        draw(ImageView(), [1, 2, 3], rng)
    with pytest.raises(InputError, match="draw: sizes must be >= 1, got 0"):
        draw(ImageView(), [(0, 5)], rng)
    assert len(draw(ImageView(), [], rng)) == 0
