"""What every method must keep, run on every method."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nearfar.config import settings
from nearfar.data.batch import Batch
from nearfar.encoders import Encoder
from nearfar.encoders import build as build_encoder
from nearfar.errors import NearfarError
from nearfar.methods import METHODS, Method, build
from tests.ranks import run_on_ranks

NAMES = METHODS.names()
ITEMS = 64
OPTIONS: dict[str, dict[str, object]] = {
    "supcon": {"temperature": 0.5},
    "simclr-v2": {"output_dim": 8, "temperature": 0.5},
    "dcl": {"output_dim": 8, "temperature": 0.5},
    "nnclr": {"hidden_dim": 12, "predictor_dim": 12, "output_dim": 8, "queue_size": 20},
    "moco-v2": {"queue_size": 20},
    "moco-v3": {"hidden_dim": 12, "output_dim": 8},
    "densecl": {"queue_size": 20},
    "ressl": {"hidden_dim": 12, "output_dim": 8, "queue_size": 20},
    "cpc": {"context_dim": 8, "layers": 2, "output_dim": 8},
    "swav": {"hidden_dim": 12, "output_dim": 8, "prototypes": 16, "queue_size": 16, "queue_start": 0.0},
    "deepcluster-v2": {"hidden_dim": 12, "output_dim": 8, "prototypes": 16, "sets": 2},
    "twin-labels": {"hidden_dim": 12, "classes": 10},
    "dino": {"hidden_dim": 12, "bottleneck_dim": 8, "prototypes": 16},
    "ibot": {"hidden_dim": 12, "bottleneck_dim": 8, "prototypes": 16, "koleo_weight": 0.1},
    "mae": {"decoder_dim": 8, "decoder_depth": 1, "decoder_heads": 2},
    "byol": {"hidden_dim": 12, "output_dim": 8, "predictor_dim": 12},
    "simsiam": {"hidden_dim": 12, "output_dim": 8, "predictor_dim": 4},
    "fastsiam": {"hidden_dim": 12, "output_dim": 8, "predictor_dim": 4},
    "nnbyol": {"hidden_dim": 12, "output_dim": 8, "predictor_dim": 12, "queue_size": 20},
    "nnsiam": {"hidden_dim": 12, "output_dim": 8, "predictor_dim": 4, "queue_size": 20},
    "all4one": {
        "hidden_dim": 12,
        "output_dim": 8,
        "predictor_dim": 12,
        "queue_size": 20,
        "attention_heads": 2,
        "dropout": 0.0,
    },
    "barlow-twins": {"hidden_dim": 12, "output_dim": 8, "loss_scale": 0.1},
    "vicreg": {"hidden_dim": 12, "output_dim": 8},
    "vibcreg": {
        "hidden_dim": 12,
        "output_dim": 8,
        "whitening_groups": 2,
        "invariance_weight": 1.0,
        "variance_weight": 1.0,
        "covariance_weight": 8.0,
    },
    "w-mse": {"hidden_dim": 12, "output_dim": 3, "block_size": 4, "whitening_eps": 0.1, "iterations": 2},
    "tico": {"hidden_dim": 12, "output_dim": 8},
    "emp-ssl": {"hidden_dim": 12, "output_dim": 8},
    "lejepa": {"hidden_dim": 12, "output_dim": 8, "directions": 16},
    "distill": {"teacher": "small", "pretrained": False, "teacher_size": 8},
}
"""Settings that fit the tiny encoders and batches, where the defaults do not."""


SIDE = 8


class Flat(Encoder):
    """A tiny encoder without BatchNorm, so ranks and one process compute the same."""

    def __init__(self, dim: int = 6) -> None:
        super().__init__()
        self.dim = dim
        self.linear = nn.Linear(3 * SIDE * SIDE, dim)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.linear(x.flatten(1)))


class Maps(Encoder):
    """A tiny convolutional encoder without BatchNorm, for methods that read the map before pooling."""

    def __init__(self, dim: int = 6) -> None:
        super().__init__()
        self.dim = dim
        self.conv = nn.Conv2d(3, dim, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.feature_map(x).mean(dim=(2, 3))

    def feature_map(self, x: Tensor) -> Tensor:
        return torch.tanh(self.conv(x))


def vit() -> nn.Module:
    options = {"patch_size": 2, "embed_dim": 6, "depth": 1, "num_heads": 2}
    return build_encoder("vit_tiny_patch16_224", image_size=SIDE, options=options)[0]


ENCODERS: dict[str, Callable[[], nn.Module]] = {"any": Flat, "maps": Maps, "vit": vit}


def make(name: str, seed: int = 0) -> Method:
    torch.manual_seed(seed)
    method = build(name, ENCODERS[METHODS.get(name).info.encoder](), OPTIONS.get(name))
    method.prepare(ITEMS)
    method.start_epoch(0)
    return method


def batch_of(name: str, n: int = 8, seed: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    count = max(2, METHODS.get(name).info.least_views) if METHODS.get(name).info.most_views != 1 else 1
    views = [torch.randn(n, 3, SIDE, SIDE, generator=generator) for _ in range(count)]
    return Batch(views, torch.arange(n) % 3, torch.arange(n))


def seen(name: str, batch: Batch) -> Batch:
    return batch if METHODS.get(name).info.labels else batch._replace(labels=None)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_gives_a_float32_loss_that_reaches_every_weight(name: str) -> None:
    method = make(name)
    step = method.step(seen(name, batch_of(name)))
    assert step.loss.shape == ()
    assert step.loss.dtype == torch.float32
    assert step.features.shape == (8, 6)
    assert not step.features.requires_grad
    step.loss.backward()
    missing = [key for key, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_typed_defaulted_and_kept_as_attributes(name: str) -> None:
    method = make(name)
    for key, setting in settings(type(method)).items():
        assert setting.default is not inspect.Parameter.empty, key
        assert hasattr(method, key), key
        if key != "hidden_dim":  # 0 stands for the encoder's dim and is kept resolved
            assert getattr(method, key) == OPTIONS.get(name, {}).get(key, setting.default)


@pytest.mark.parametrize("name", NAMES)
def test_the_file_tells_its_story(name: str) -> None:
    factory = METHODS.get(name)
    module = inspect.getmodule(factory)
    assert module is not None
    story = module.__doc__ or ""
    assert factory.info.url in story
    for row in ("encoder", "head", "loss", "state"):
        assert f"\n    {row} " in story, row


@pytest.mark.parametrize("name", NAMES)
def test_no_method_subclasses_another(name: str) -> None:
    assert METHODS.get(name).__bases__ == (Method,)


@pytest.mark.parametrize("name", [name for name in NAMES if not METHODS.get(name).info.labels])
def test_labels_never_change_a_self_supervised_loss(name: str) -> None:
    batch = batch_of(name)
    without = make(name).step(batch._replace(labels=None)).loss
    with_labels = make(name).step(batch).loss
    other = make(name).step(batch._replace(labels=torch.zeros(8, dtype=torch.int64))).loss
    assert torch.equal(without, with_labels)
    assert torch.equal(without, other)


@pytest.mark.parametrize("name", [name for name in NAMES if METHODS.get(name).info.labels])
def test_a_method_that_needs_labels_says_so(name: str) -> None:
    with pytest.raises(NearfarError, match="labels must be given, got none"):
        make(name).step(batch_of(name)._replace(labels=None))


@pytest.mark.parametrize("name", NAMES)
def test_under_bf16_autocast_the_loss_is_float32_and_near(name: str) -> None:
    batch = seen(name, batch_of(name, n=16))
    exact = make(name).step(batch).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        step = make(name).step(batch)
    assert step.loss.dtype == torch.float32
    assert step.loss.item() == pytest.approx(exact.item(), rel=0.1, abs=0.05)
    step.loss.backward()


@pytest.mark.parametrize("name", NAMES)
def test_a_copied_state_gives_the_same_next_step_bit_for_bit(name: str) -> None:
    first = make(name)
    optimizer = torch.optim.SGD(first.parameters(), lr=0.1, momentum=0.9)
    for seed in range(2):
        optimizer.zero_grad()
        first.step(seen(name, batch_of(name, seed=seed))).loss.backward()
        optimizer.step()
        first.after_step(0.5)
    second = make(name, seed=9)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    random = torch.get_rng_state()
    one = first.step(seen(name, batch_of(name, seed=5))).loss
    torch.set_rng_state(random)
    two = second.step(seen(name, batch_of(name, seed=5))).loss
    assert torch.equal(one, two)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3], [-1, -1, -1, -1], [0, -1, 1, -1]])
def test_odd_labels_give_a_finite_loss_and_gradient(name: str, labels: list[int]) -> None:
    method = make(name)
    batch = batch_of(name, n=4)._replace(labels=torch.tensor(labels))
    loss = method.step(seen(name, batch)).loss
    assert torch.isfinite(loss)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_identical_items_give_a_finite_gradient(name: str) -> None:
    method = make(name)
    views = [torch.ones_like(view) for view in batch_of(name, n=4).views if isinstance(view, Tensor)]
    batch = Batch(views, torch.tensor([0, 0, 1, 1]), torch.arange(4))
    loss = method.step(seen(name, batch)).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


def step_on_rank(rank: int, world: int) -> dict[str, dict[str, Tensor]]:
    """Take one step with this rank's part of the batch, and average as DistributedDataParallel does."""
    results: dict[str, dict[str, Tensor]] = {}
    for name in NAMES:
        method = make(name).eval()  # BatchNorm with running statistics: the same function on every rank
        batch = batch_of(name, n=8)
        rows = slice(rank * 8 // world, (rank + 1) * 8 // world)
        assert batch.labels is not None
        part = Batch([view[rows] for view in batch.views], batch.labels[rows], None)  # type: ignore[index]
        loss = method.step(seen(name, part)).loss
        loss.backward()
        values = {"loss": loss.detach()}
        values |= {key: p.grad for key, p in method.named_parameters() if p.grad is not None}
        if world > 1:
            for value in values.values():
                torch.distributed.all_reduce(value)
                value.div_(world)
        results[name] = values
    return results


def test_two_ranks_equal_one_process_in_loss_and_gradient() -> None:
    alone = step_on_rank(0, 1)
    both = run_on_ranks(step_on_rank, 2)
    for name in NAMES:
        assert both[0][name].keys() == alone[name].keys()
        for key, value in alone[name].items():
            torch.testing.assert_close(both[0][name][key], value, rtol=1e-4, atol=1e-6, msg=f"{name} {key}")
            torch.testing.assert_close(both[1][name][key], both[0][name][key])
