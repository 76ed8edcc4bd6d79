"""Cached gradients: the value and gradient of the whole batch, with the activations of one chunk."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nearfar import losses
from nearfar.errors import InputError


def encoder(*extra: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), *extra, nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 8)).double()


def data(n: int = 11) -> Tensor:
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def gradients(module: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(module.parameters())))


def spread(z: Tensor) -> Tensor:
    """A user's own loss, which mixes all rows."""
    return torch.pdist(z).sin().sum() + z.logsumexp(0).pow(2).sum()


LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "nt_xent": lambda z: losses.nt_xent(z, z.roll(1, 1) + 0.1),
    "sup_con": lambda z: losses.sup_con(z, torch.arange(len(z)) % 3),
    "the user's own": spread,
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("chunk_size", [1, 3, 11, 50])
def test_equals_the_whole_batch(name: str, chunk_size: int) -> None:
    module, x = encoder(), data()
    wanted = LOSSES[name](module(x))
    got = LOSSES[name](losses.cached_forward(module, x, chunk_size=chunk_size))
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients(module, got), gradients(module, wanted), rtol=1e-9, atol=1e-12)


def test_two_encoders_two_views_and_the_gradient_of_the_input() -> None:
    one, two = encoder(), encoder(nn.Tanh())
    x, y = data().requires_grad_(), data(11).flip(0).requires_grad_()
    wanted = losses.info_nce(one(x), two(y))
    got = losses.info_nce(
        losses.cached_forward(one, x, chunk_size=4), losses.cached_forward(two, y, chunk_size=3)
    )  # fmt: skip
    leaves = [x, y, *one.parameters(), *two.parameters()]
    torch.testing.assert_close(torch.autograd.grad(got, leaves), torch.autograd.grad(wanted, leaves))


def test_dropout_draws_the_same_in_both_passes() -> None:
    """Against the same chunks encoded without the cache, from the same seed."""
    module, x = encoder(nn.Dropout(0.5)), data()
    torch.manual_seed(7)
    wanted = spread(torch.cat([module(chunk) for chunk in x.split(4)]))
    torch.manual_seed(7)
    got = spread(losses.cached_forward(module, x, chunk_size=4))
    after = torch.random.get_rng_state()
    assert torch.equal(got, wanted)
    torch.testing.assert_close(gradients(module, got), gradients(module, wanted), rtol=1e-12, atol=1e-14)
    assert torch.equal(torch.random.get_rng_state(), after), "the replay must leave the random state alone"


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_moves_once_per_chunk_and_the_gradient_is_exact(momentum: float | None) -> None:
    module = encoder(nn.BatchNorm1d(16, momentum=momentum, dtype=torch.float64))
    other = copy.deepcopy(module)
    x = data(12)
    wanted = spread(torch.cat([other(chunk) for chunk in x.split(4)]))
    got = spread(losses.cached_forward(module, x, chunk_size=4))
    torch.testing.assert_close(gradients(module, got), gradients(other, wanted), rtol=1e-10, atol=1e-12)
    assert module[1].num_batches_tracked.item() == 3
    for name, buffer in module.named_buffers():
        assert torch.equal(buffer, other.get_buffer(name)), name


def test_batch_norm_in_eval_mode_equals_the_whole_batch() -> None:
    module = encoder(nn.BatchNorm1d(16, dtype=torch.float64)).eval()
    x = data(12)
    got = gradients(module, spread(losses.cached_forward(module, x, chunk_size=5)))
    torch.testing.assert_close(got, gradients(module, spread(module(x))))


class Counter(nn.Module):
    """A buffer that the output depends on and that every forward moves."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6, dtype=torch.float64))
        self.register_buffer("calls", torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return x * self.weight * self.calls


def test_state_that_the_output_depends_on_is_replayed() -> None:
    module, other, x = Counter(), Counter(), data()
    wanted = spread(torch.cat([other(chunk) for chunk in x.split(4)]))
    got = spread(losses.cached_forward(module, x, chunk_size=4))
    torch.testing.assert_close(gradients(module, got), gradients(other, wanted))
    assert module.calls.item() == 3


class Watched(nn.Module):
    """An encoder that counts the rows of activations alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 16, dtype=torch.float64)
        self.alive = 0
        self.most = 0

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.linear(x).exp()
        rows = len(hidden)
        self.alive += rows
        self.most = max(self.most, self.alive)
        weakref.finalize(hidden.untyped_storage(), self.gone, rows)
        return hidden.pow(2).sum(1, keepdim=True) + x

    def gone(self, rows: int) -> None:
        self.alive -= rows


def test_only_one_chunk_of_activations_lives_at_a_time() -> None:
    module, x = Watched(), data(40)
    spread(losses.cached_forward(module, x, chunk_size=4)).backward()
    assert module.most <= 8  # the chunk in hand, and the one whose last reference is about to go
    module.most = 0
    spread(torch.cat([module(chunk) for chunk in x.split(4)])).backward()
    assert module.most == 40


def test_sequences_and_mappings() -> None:
    layer = nn.Linear(6, 3, dtype=torch.float64)
    x, y = data(), data().flip(0)
    from_list = losses.cached_forward(lambda pair: layer(pair[0]) + pair[1][:, :3], [x, y], chunk_size=4)
    from_dict = losses.cached_forward(lambda d: layer(d["x"]) + d["y"][:, :3], {"x": x, "y": y}, chunk_size=4)
    torch.testing.assert_close(from_list, layer(x) + y[:, :3])
    torch.testing.assert_close(from_dict, from_list)


def test_without_gradients_it_only_encodes() -> None:
    module, x = encoder(), data()
    with torch.no_grad():
        got = losses.cached_forward(module, x, chunk_size=4)
    assert not got.requires_grad
    torch.testing.assert_close(got, module(x))


def test_autocast_is_replayed() -> None:
    module = nn.Linear(6, 4)
    x = data().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wanted = spread(module(x).float())
        got = spread(losses.cached_forward(module, x, chunk_size=4).float())
    torch.testing.assert_close(gradients(module, got), gradients(module, wanted), rtol=2e-2, atol=2e-2)


def test_wrong_input() -> None:
    module, x = encoder(), data()
    with pytest.raises(InputError, match="chunk_size must be >= 1, got 0"):
        losses.cached_forward(module, x, chunk_size=0)
    with pytest.raises(InputError, match="batch must be tensors with the same number of rows"):
        losses.cached_forward(module, [x, x[:3]], chunk_size=2)
    with pytest.raises(InputError, match="batch must be tensors with the same number of rows"):
        losses.cached_forward(module, x[:0], chunk_size=2)
    with pytest.raises(InputError, match="batch must be a tensor, or a sequence or mapping"):
        losses.cached_forward(module, ["text"], chunk_size=2)
    with pytest.raises(InputError, match="encode's result must be a tensor of 2 rows"):
        losses.cached_forward(lambda chunk: chunk.sum(), x, chunk_size=2)
