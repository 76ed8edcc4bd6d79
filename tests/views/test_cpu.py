"""The compiled back end makes what the reference makes."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.views import VIEWS, ImageView, cpu, draw, kernels, reference
from tests.views.pictures import assert_close, scene, scenes
from tests.views.plans import whole

SHAPES = [(32, 32), (45, 80), (80, 45), (200, 150), (13, 16), (61, 61)]
TIGHT = {"mean": 0.01, "most": 0.2}  # in 1/255; the blur's cut tail is the largest difference


def check(plan, images, **limits):
    assert_close(plan.view, cpu.run(plan, images), reference.run(plan, images), **limits)


OPERATIONS = {
    "crop": ({}, {}),
    "crop, bicubic": ({"interpolation": "bicubic"}, {}),
    "centre": ({"crop": "center"}, {}),
    "mirror": ({}, {"hflip": True}),
    "mirror both": ({"interpolation": "bicubic"}, {"hflip": True, "vflip": True}),
    "move": ({"rotate": 180}, {"angle": 33.0, "shift": (2.5, -4.0), "zoom": 0.8}),
    "move, fill": ({"rotate": 180, "fill": 0.7}, {"angle": -80.0, "shift": (9.0, 1.0), "zoom": 1.3}),
    "move, reflect": ({"rotate": 180, "border": "reflect"}, {"angle": 45.0, "shift": (70.0, -9.0), "zoom": 0.3}),
    "brightness": ({}, {"order": [0, -1, -1, -1], "factors": [1.6, 1, 1, 0]}),
    "brightness, added": ({"brightness_mode": "add"}, {"order": [0, -1, -1, -1], "factors": [-0.4, 1, 1, 0]}),
    "contrast": ({}, {"order": [1, -1, -1, -1], "factors": [1, 1.7, 1, 0]}),
    "saturation": ({}, {"order": [-1, -1, -1, 2], "factors": [1, 1, 0.2, 0]}),
    "hue": ({}, {"order": [-1, 3, -1, -1], "factors": [1, 1, 1, 0.37]}),
    "hue, back": ({}, {"order": [-1, 3, -1, -1], "factors": [1, 1, 1, -0.5]}),
    "matrix": ({"color": "matrix"}, {"order": [3, 2, 1, 0], "factors": [1.3, 0.6, 1.5, 0.1]}),
    "matrix, added": (
        {"color": "matrix", "brightness_mode": "add"},
        {"order": [0, 2, 3, 1], "factors": [0.2, 0.6, 1.5, -0.1]},
    ),
    "gray": ({}, {"gray": True}),
    "blur": ({"kernel": 23}, {"sigma": 1.3}),
    "blur, wide": ({"kernel": 23}, {"sigma": 30.0}),
    "blur, narrow": ({"kernel": 3}, {"sigma": 2.0}),
    "solarize": ({"threshold": 0.5}, {"solarize": True}),
    "normalise": ({"mean": (0.4, 0.5, 0.6), "std": (0.1, 0.2, 0.3)}, {}),
    "erase": ({"mean": (0.5,), "std": (0.2,)}, {"erase": [3, 4, 9, 11]}),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation(name):
    options, fields = OPERATIONS[name]
    images = scenes(SHAPES)
    view = ImageView(size=40, **options)
    plan = whole(view, images, **fields)
    if view.crop == "center":
        plan = dataclasses.replace(plan, **_geometry(view, plan.sizes))
    check(plan, images, **TIGHT)


def _geometry(view, sizes):
    plan = draw(view, sizes, np.random.default_rng(0))
    return {"box": plan.box, "window": plan.window}


def test_jitter_in_all_orders():
    orders = np.array(list(itertools.permutations(range(4))))
    images = scenes([(30, 30)] * 24)
    for color in ("exact", "matrix"):
        view = ImageView(size=30, color=color)
        plan = dataclasses.replace(whole(view, images, factors=[1.5, 0.6, 1.8, -0.2]), order=orders)
        check(plan, images, **TIGHT)


RECIPES = [name for name in VIEWS.names() if name not in ("barlow-twins",)]


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (1, np.uint16), (4, np.uint8)])
def test_whole_recipes(name, channels, dtype):
    images = scenes(SHAPES, channels, dtype)
    rng = np.random.default_rng(1)
    for view in dict.fromkeys(VIEWS.get(name)(48)):
        check(draw(view, [image.shape[:2] for image in images], rng, channels=channels), images)


@pytest.mark.parametrize("size", [1, 2, 3, 224])
def test_sizes_of_views(size):
    """From one pixel, to several tiles a picture."""
    shapes = [(1, 1), (300, 256), (1, 4000), (4000, 2)]
    view = ImageView(size=size, jitter=1.0, contrast=0.5)
    check(draw(view, shapes, np.random.default_rng(0)), scenes(shapes))


def test_four_thousand_pixels_a_side():
    image = np.broadcast_to(scene(4000, 1, 3), (4000, 4000, 3))
    check(draw(ImageView(size=16), [(4000, 4000)], np.random.default_rng(0)), [image], **TIGHT)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)), max_size=4),
    channels=st.integers(1, 12),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    size=st.integers(1, 40),
    kernel=st.sampled_from([None, 1, 3, 5, 9]),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
    color=st.sampled_from(["exact", "matrix"]),
    border=st.sampled_from(["fill", "reflect"]),
    turns=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_anything_goes(shapes, channels, dtype, size, kernel, interpolation, color, border, turns, seed):
    images = scenes(shapes, channels, dtype)
    wide = (kernel or max(3, size // 10 | 1)) // 2
    view = ImageView(
        size=size, interpolation=interpolation, scale=(0.05, 1.0), hflip=0.5, vflip=0.5, color=color, border=border,
        rotate=90 if turns else 0, translate=0.3 if turns else 0, zoom=(0.5, 2.0) if turns else (1.0, 1.0),
        jitter=0.8, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2, grayscale=0.3,
        blur=0.5 if wide < size else 0.0, kernel=kernel, solarize=0.3, erase=0.3, mean=(0.5,), std=(0.25,),
    )  # fmt: skip
    plan = draw(view, shapes, np.random.default_rng(seed), channels=channels)
    check(plan, images)


def test_layouts_hold_the_same_values():
    images = scenes(SHAPES)
    for channels in (1, 2, 3):
        some = [image[:, :, :channels] for image in images]
        plan = draw(
            ImageView(size=20, jitter=1.0, contrast=0.5, erase=1.0), [image.shape[:2] for image in some],
            np.random.default_rng(0), channels=channels,
        )  # fmt: skip
        last, first = cpu.run(plan, some, channels_last=True), cpu.run(plan, some, channels_last=False)
        assert torch.equal(last, first)
        assert last.is_contiguous(memory_format=torch.channels_last)
        assert first.is_contiguous()


def test_result_does_not_depend_on_threads():
    images = scenes([(30 + i % 7, 40) for i in range(70)])
    view = VIEWS.get("simclr")(24)[0]
    plan = draw(view, [image.shape[:2] for image in images], np.random.default_rng(0))
    one = cpu.run(plan, images, threads=1)
    for threads in (2, 3, 7, 100):
        assert torch.equal(cpu.run(plan, images, threads=threads), one)


def test_pictures_of_any_layout_in_memory():
    """Strided and read-only pictures, and a result made after their only copies are gone."""
    images = np.stack(scenes([(30, 40)] * 8))
    plan = draw(ImageView(size=16), [(30, 40)] * 8, np.random.default_rng(0))
    expected = cpu.run(plan, images)
    strided = np.asfortranarray(images)
    frozen = images.copy()
    frozen.setflags(write=False)
    planar = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).permute(0, 2, 3, 1)
    for same in (strided, frozen, planar, list(strided), list(images[:, ::-1, ::-1][:, ::-1, ::-1])):
        for threads in (1, 2):
            assert torch.equal(cpu.run(plan, same, threads=threads), expected)


def test_compiled_once_for_everything():
    """Eight bits and sixteen, any view, any plan: one signature, so that nobody waits for the compiler twice."""
    for dtype, channels in ((np.uint8, 3), (np.uint16, 1)):
        images = scenes([(9, 9)] * 2, channels, dtype)
        plan = draw(ImageView(size=8), [(9, 9)] * 2, np.random.default_rng(0), channels=channels)
        frozen = plan.box.astype(np.float32)
        frozen.setflags(write=False)
        cpu.run(dataclasses.replace(plan, box=frozen, order=np.asfortranarray(plan.order)), images)
    assert len(kernels.make.signatures) == 1


def test_compiles_where_nothing_can_be_kept(monkeypatch):
    """A read-only installation without a home: numba refuses to cache, and the loops are compiled all the same."""

    def refuse(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(kernels, "njit", refuse)
    assert kernels._jit_and_keep(len) is len
