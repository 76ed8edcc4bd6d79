"""The doors of the package: what they take, what they refuse, which back end they choose."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from nearfar.errors import ConfigError, InputError
from nearfar.views import VIEWS, ImageView, apply, draw, make_views
from nearfar.views import apply as apply_function
from tests.views.pictures import scenes

VIEW = ImageView(size=16, hflip=0.5)
apply_module = sys.modules["nearfar.views.apply"]


def rng():
    return np.random.default_rng(0)


def test_one_tensor_a_view():
    images = scenes([(20, 30), (40, 25)])
    views = make_views(images, VIEWS.get("swav")(32), rng())
    assert [tuple(view.shape) for view in views] == [(2, 3, 32, 32)] * 2 + [(2, 3, 14, 14)] * 6
    assert all(view.dtype == torch.float32 and view.is_contiguous(memory_format=torch.channels_last) for view in views)
    assert not torch.equal(views[0], views[1])


def test_same_generator_same_views():
    images = scenes([(20, 30)] * 3)
    one, two = (make_views(images, [VIEW] * 2, rng(), threads=threads) for threads in (1, 3))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_list_array_and_tensor_are_the_same():
    images = scenes([(20, 30)] * 3)
    expected = make_views(images, [VIEW], rng())[0]
    assert torch.equal(make_views(np.stack(images), [VIEW], rng())[0], expected)
    assert torch.equal(make_views(torch.from_numpy(np.stack(images)), [VIEW], rng())[0], expected)


@pytest.mark.parametrize("backend", ["auto", "cpu", "reference"])
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layout_and_dtype(backend, channels_last, dtype):
    plan = draw(VIEW, [(20, 30)] * 2, rng())
    images = scenes([(20, 30)] * 2)
    got = apply(plan, images, backend=backend, channels_last=channels_last, dtype=dtype)
    assert got.dtype == dtype
    assert got.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    torch.testing.assert_close(got, apply(plan, images).to(dtype), rtol=0, atol=0.01, check_stride=False)


@pytest.mark.parametrize("backend", ["auto", "cpu", "reference"])
@pytest.mark.parametrize("empty", [[], np.zeros((0, 8, 8, 3), np.uint8), torch.zeros(0, 8, 8, 1, dtype=torch.uint8)])
def test_empty_batch(backend, empty):
    (got,) = make_views(empty, [VIEW], rng(), backend=backend)
    channels = 3 if isinstance(empty, list) else empty.shape[3]
    assert got.shape == (0, channels, 16, 16)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ([np.zeros((4, 4), np.uint8)], "image 0 must be (H, W, C), got (4, 4); add the channel axis"),
        (np.zeros((4, 4, 3), np.uint8), "images must be (N, H, W, C), got (4, 4, 3)"),
        (np.zeros((1, 4, 4, 3)), "images must be uint8 or uint16, got float64"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint16)], "of one dtype, got uint16, uint8"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 1), np.uint8)], "the same in all images, got [1, 3]"),
        ([np.zeros((4, 0, 3), np.uint8)], "sizes must be >= 1"),
    ],
)
def test_wrong_images_are_refused(images, says):
    with pytest.raises(InputError) as error:
        make_views(images, [VIEW], rng())
    assert says in str(error.value)


def test_a_plan_serves_its_own_pictures_only():
    plan = draw(VIEW, [(20, 30)] * 2, rng())
    with pytest.raises(InputError, match="images must be 2 as in the plan, got 3"):
        apply(plan, scenes([(20, 30)] * 3))
    with pytest.raises(InputError, match="sizes of the images must be those of the plan"):
        apply(plan, scenes([(20, 30), (20, 31)]))
    with pytest.raises(InputError, match="channels must be the plan's 3, got 1"):
        apply(plan, scenes([(20, 30)] * 2, channels=1))
    with pytest.raises(InputError, match="backend must be one of"):
        apply(plan, scenes([(20, 30)] * 2), backend="opencv")
    with pytest.raises(InputError, match="threads must be >= 1, got 0"):
        apply(plan, scenes([(20, 30)] * 2), threads=0)


def test_back_ends_refuse_what_they_cannot_take():
    plan = draw(VIEW, [(20, 30)] * 2, rng())
    with pytest.raises(InputError, match="images for 'cuda' must be one uint8 tensor on a GPU, got others on 'cpu'"):
        apply(plan, scenes([(20, 30)] * 2), backend="cuda")
    elsewhere = torch.zeros(2, 20, 30, 3, dtype=torch.uint8, device="meta")
    with pytest.raises(InputError, match="images for the back end 'cpu' must be on the CPU, got them on 'meta'"):
        apply(plan, elsewhere, backend="cpu")
    assert apply_module.choose(elsewhere, "auto") == "reference"


def test_unknown_recipe_offers_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'simclr'"):
        VIEWS.get("simcrl")


def test_without_numba_the_reference_serves(monkeypatch):
    monkeypatch.setitem(sys.modules, "nearfar.views.cpu", None)  # its import fails, as it does without numba
    apply_module._works.cache_clear()
    images = scenes([(20, 30)] * 2)
    plan = draw(VIEW, [(20, 30)] * 2, rng())
    try:
        with pytest.warns(RuntimeWarning, match="numba cannot be used"):
            got = apply_function(plan, images)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            apply_function(plan, images)  # says so once
    finally:
        apply_module._works.cache_clear()
    assert torch.equal(got, apply_function(plan, images, backend="reference"))


def test_pictures_are_not_changed():
    images = np.stack(scenes([(20, 30)] * 2))
    before = images.copy()
    make_views(images, VIEWS.get("byol")(16), rng())
    assert np.array_equal(images, before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_light_import_and_forked_children():
    """The import brings no heavy package, and a forked child waits for no thread that stayed with its parent."""
    code = """
import multiprocessing, sys
import numpy as np
from nearfar.views import ImageView, make_views
heavy = {"torchvision", "numba", "triton", "timm", "lightning"} & set(sys.modules)
assert not heavy, heavy
def views():
    images = np.arange(40 * 20 * 20 * 3, dtype=np.uint8).reshape(40, 20, 20, 3)
    return make_views(images, [ImageView(size=8)], np.random.default_rng(0), threads=2)[0].numpy()
def child(queue):
    queue.put(views())
mine = views()
context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=child, args=(queue,))
process.start()
assert np.array_equal(queue.get(timeout=60), mine)
process.join()
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)
