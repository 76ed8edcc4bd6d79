"""Given the same numbers, the reference does what torchvision's functions do."""

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from torchvision.transforms import InterpolationMode

from nearfar.views import ImageView, draw, reference
from tests.views.pictures import scene, scenes
from tests.views.plans import whole

MODES = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
SIZE = 24


def tensor(picture):
    """(H, W, C) integers to (1, C, H, W) in [0, 1]."""
    return torch.from_numpy(picture.astype(np.float32) / np.iinfo(picture.dtype).max).permute(2, 0, 1)[None]


def same(got, expected, tolerance=2e-5):
    assert got.shape == expected.shape
    torch.testing.assert_close(got, expected, rtol=0, atol=tolerance)


def one_step(view, picture, **fields):
    return reference.run(whole(view, [picture], **fields), [picture])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [7, 24, 60])
@pytest.mark.parametrize("shape", [(24, 24), (50, 33), (9, 70), (1, 1), (1, 30)])
def test_crop_and_resize(mode, size, shape):
    picture = scene(*shape)
    view = ImageView(size=size, interpolation=mode)
    plan = draw(view, [shape] * 4, np.random.default_rng(0))
    for i, got in enumerate(reference.run(plan, [picture] * 4)):
        top, left, height, width = (int(value) for value in plan.box[i])
        expected = tv.resized_crop(
            tensor(picture), top, left, height, width, [size, size], interpolation=MODES[mode], antialias=True
        )
        same(got[None], expected.clamp(0, 1))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(50, 80), (80, 50), (20, 20), (31, 47)])
def test_centre_crop(mode, shape):
    picture = scene(*shape)
    view = ImageView(size=28, crop="center", interpolation=mode)
    got = reference.run(draw(view, [shape], np.random.default_rng(0)), [picture])
    resized = tv.resize(tensor(picture), [32], interpolation=MODES[mode], antialias=True)
    same(got, tv.center_crop(resized, [28, 28]).clamp(0, 1))


def test_flips():
    picture = scene(SIZE, SIZE)
    same(one_step(ImageView(size=SIZE), picture, hflip=True), tv.horizontal_flip(tensor(picture)))
    same(one_step(ImageView(size=SIZE), picture, vflip=True), tv.vertical_flip(tensor(picture)))


@pytest.mark.parametrize("angle", [0.0, 12.5, -90.0, 170.0])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, -2.0), (30.0, 0.0)])
@pytest.mark.parametrize("zoom", [1.0, 0.6, 1.7])
def test_move(angle, shift, zoom):
    picture = scene(SIZE, SIZE)
    got = one_step(ImageView(size=SIZE, rotate=180), picture, angle=angle, shift=shift, zoom=zoom)
    expected = tv.affine(
        tensor(picture), angle, list(shift), zoom, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR
    )
    same(got, expected, 1e-4)


def test_move_fills_and_reflects():
    picture = scene(SIZE, SIZE)
    shift = (5.0, -3.0)
    filled = one_step(ImageView(size=SIZE, translate=0.5, fill=0.25), picture, shift=shift)
    padded = tv.pad(tensor(picture), [5, 0, 0, 3], fill=0.25)
    same(filled, padded[..., 3:, :SIZE])
    mirrored = one_step(ImageView(size=SIZE, translate=0.5, border="reflect"), picture, shift=shift)
    padded = tv.pad(tensor(picture), [5, 0, 0, 3], padding_mode="reflect")
    same(mirrored, padded[..., 3:, :SIZE])


STEPS = [tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue]


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("factor", [0.0, 0.3, 0.9, 1.8])
def test_each_step_of_the_jitter(step, factor):
    factor = factor - 0.9 if step == 3 else factor
    factor = min(max(factor, -0.5), 0.5) if step == 3 else factor
    picture = scene(SIZE, SIZE)
    got = one_step(ImageView(size=SIZE), picture, order=[step, -1, -1, -1], factors=[factor] * 4)
    same(got, STEPS[step](tensor(picture), factor))


def test_jitter_in_every_order():
    picture = scene(SIZE, SIZE)
    factors = [1.4, 0.6, 1.7, -0.2]
    plan_orders = np.random.default_rng(0).permuted(np.tile(np.arange(4), (12, 1)), axis=1)
    for order in plan_orders:
        expected = tensor(picture)
        for step in order:
            expected = STEPS[step](expected, factors[step])
        same(one_step(ImageView(size=SIZE), picture, order=order, factors=factors), expected, 1e-4)


def test_jitter_of_gray_pictures():
    picture = scene(SIZE, SIZE, 1)
    expected = tv.adjust_contrast(tv.adjust_brightness(tensor(picture), 1.3), 0.7)
    same(one_step(ImageView(size=SIZE), picture, order=[0, 1, -1, -1], factors=[1.3, 0.7, 1, 0]), expected)


def test_added_brightness():
    picture = scene(SIZE, SIZE)
    view = ImageView(size=SIZE, brightness_mode="add")
    got = one_step(view, picture, order=[0, -1, -1, -1], factors=[-0.3, 1, 1, 0])
    same(got, (tensor(picture) - 0.3).clamp(0, 1))


def test_gray():
    picture = scene(SIZE, SIZE)
    same(one_step(ImageView(size=SIZE), picture, gray=True), tv.rgb_to_grayscale(tensor(picture), 3))


@pytest.mark.parametrize("kernel", [1, 3, 5, 23])
@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0, 9.0])
def test_blur(kernel, sigma):
    picture = scene(SIZE, SIZE, 2)
    got = one_step(ImageView(size=SIZE, kernel=kernel), picture, sigma=sigma)
    same(got, tv.gaussian_blur(tensor(picture), [kernel, kernel], [sigma, sigma]))


def test_solarize():
    picture = scene(SIZE, SIZE)
    got = one_step(ImageView(size=SIZE, threshold=0.6), picture, solarize=True)
    same(got, tv.solarize(tensor(picture), 0.6))


def test_normalise_then_erase():
    picture = scene(SIZE, SIZE)
    view = ImageView(size=SIZE, mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3))
    got = one_step(view, picture, erase=[2, 3, 5, 7])
    expected = tv.normalize(tensor(picture), list(view.mean), list(view.std))
    same(got, tv.erase(expected, 2, 3, 5, 7, torch.zeros(1)))


def test_matrix_is_the_jitter_while_nothing_clamps():
    """On colours far from black and white, brightness, contrast and saturation by one matrix are exact."""
    picture = (scene(SIZE, SIZE) // 4 + 96).astype(np.uint8)
    order, factors = [2, 1, 0, -1], [1.1, 0.8, 1.2, 0.0]
    exact = one_step(ImageView(size=SIZE), picture, order=order, factors=factors)
    same(one_step(ImageView(size=SIZE, color="matrix"), picture, order=order, factors=factors), exact)


def test_matrix_turns_the_hue_about_gray():
    """A full turn changes nothing, two half turns neither, and grey stays grey."""
    picture = scene(SIZE, SIZE)
    view = ImageView(size=SIZE, color="matrix")
    same(one_step(view, picture, order=[3, -1, -1, -1], factors=[1, 1, 1, 1.0]), tensor(picture), 1e-4)
    gray = np.repeat(picture[:, :, :1], 3, axis=2)
    same(one_step(view, gray, order=[3, -1, -1, -1], factors=[1, 1, 1, 0.3]), tensor(gray), 2e-3)
    turned = one_step(view, picture, order=[3, -1, -1, -1], factors=[1, 1, 1, 0.1])
    hsv = one_step(ImageView(size=SIZE), picture, order=[3, -1, -1, -1], factors=[1, 1, 1, 0.1])
    assert (turned - hsv).abs().mean() < (tensor(picture) - hsv).abs().mean()  # nearer to it than doing nothing


def test_sixteen_bits_are_read_in_full():
    """Steps of 1 in 65,535 survive, which 8 bits could not hold."""
    picture = np.arange(1000, 1000 + SIZE * SIZE, dtype=np.uint16).reshape(SIZE, SIZE, 1)
    got = one_step(ImageView(size=SIZE), picture)
    same(got, tensor(picture), 1e-7)
    assert len(got.unique()) == SIZE * SIZE


def test_tensors_serve_as_arrays():
    pictures = np.stack(scenes([(SIZE, SIZE)] * 2))
    plan = draw(ImageView(size=16), [(SIZE, SIZE)] * 2, np.random.default_rng(0))
    assert torch.equal(reference.run(plan, torch.from_numpy(pictures)), reference.run(plan, pictures))
