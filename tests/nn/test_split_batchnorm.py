from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from nearfar.encoders.small import SmallConvNet
from nearfar.errors import ConfigError, InputError
from nearfar.nn import SplitBatchNorm, split_batch_norms
from tests.ranks import run_on_ranks


def batch(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + 1


def layer(make: type[nn.BatchNorm1d | nn.BatchNorm2d] = nn.BatchNorm2d, **settings: object) -> nn.Module:
    torch.manual_seed(1)
    norm = make(4, **settings)  # type: ignore[arg-type]
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm


@pytest.mark.parametrize("shape", [(12, 4, 3, 5), (13, 4, 2, 2)])
@pytest.mark.parametrize("affine", [True, False])
def test_every_part_is_normalised_by_itself(shape: tuple[int, ...], affine: bool) -> None:
    plain = layer(affine=affine)
    split = SplitBatchNorm(copy.deepcopy(plain), 4)  # type: ignore[arg-type]
    x = batch(*shape).requires_grad_()
    wanted = torch.cat([copy.deepcopy(plain)(part) for part in x.tensor_split(4)])
    got = split(x)
    torch.testing.assert_close(got, wanted)
    direction = batch(*shape, seed=2)
    gradients = [torch.autograd.grad((out * direction).sum(), x)[0] for out in (got, wanted)]
    torch.testing.assert_close(*gradients)


def test_vectors_are_normalised_in_parts_as_well() -> None:
    plain = layer(nn.BatchNorm1d)
    x = batch(9, 4)
    wanted = torch.cat([copy.deepcopy(plain)(part) for part in x.tensor_split(3)])
    torch.testing.assert_close(SplitBatchNorm(plain, 3)(x), wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize("momentum", [0.3, None])
def test_running_statistics_follow_the_mean_over_parts(momentum: float | None) -> None:
    split = SplitBatchNorm(layer(momentum=momentum), 3)  # type: ignore[arg-type]
    mean, variance = torch.zeros(4), torch.ones(4)
    for count in (1, 2):
        x = batch(12, 4, 2, 2, seed=count)
        split(x)
        parts = [part.transpose(0, 1).flatten(1) for part in x.split(4)]
        share = 1 / count if momentum is None else momentum
        mean = (1 - share) * mean + share * torch.stack([p.mean(1) for p in parts]).mean(0)
        variance = (1 - share) * variance + share * torch.stack([p.var(1) for p in parts]).mean(0)
    torch.testing.assert_close(split.running_mean, mean)
    torch.testing.assert_close(split.running_var, variance)
    assert int(split.num_batches_tracked) == 2  # type: ignore[arg-type]


def test_in_eval_mode_it_is_the_ordinary_layer() -> None:
    plain = layer()
    plain(batch(8, 4, 2, 2))
    x = batch(6, 4, 2, 2, seed=3)
    wanted = plain.eval()(x)
    assert torch.equal(SplitBatchNorm(plain, 3)(x), wanted)  # type: ignore[arg-type]


def test_a_small_batch_is_cut_into_fewer_parts() -> None:
    plain = layer(nn.BatchNorm1d)
    x = batch(5, 4)
    wanted = torch.cat([copy.deepcopy(plain)(part) for part in x.tensor_split(2)])
    torch.testing.assert_close(SplitBatchNorm(plain, 8)(x), wanted)  # type: ignore[arg-type]


def test_without_running_statistics_the_batch_counts_in_eval_mode_too() -> None:
    split = SplitBatchNorm(layer(track_running_stats=False, eps=0.5), 2)  # type: ignore[arg-type]
    x = batch(8, 4, 2, 2)
    out = split(x)
    assert not torch.equal(out[:4], copy.deepcopy(split)(x[2:6]))
    torch.testing.assert_close(split.eval()(x), out)
    torch.testing.assert_close(SplitBatchNorm(layer(eps=0.5), 2)(x), out)  # type: ignore[arg-type]


def test_replacing_keeps_weights_names_and_gradients() -> None:
    torch.manual_seed(0)
    plain = SmallConvNet(image_size=8, width=4)
    split = split_batch_norms(copy.deepcopy(plain), 2)
    assert sum(isinstance(module, SplitBatchNorm) for module in split.modules()) == 4
    assert not any(isinstance(module, nn.BatchNorm2d) for module in split.modules())
    assert list(split.state_dict()) == list(plain.state_dict())
    split(batch(8, 3, 8, 8)).sum().backward()
    assert all(p.grad is not None for p in split.parameters())
    plain.load_state_dict(split.state_dict())
    x = batch(4, 3, 8, 8, seed=4)
    torch.testing.assert_close(plain.eval()(x), split.eval()(x))
    split.load_state_dict(plain.state_dict())


def test_a_module_that_is_a_layer_is_returned_replaced() -> None:
    norm = layer()
    split = split_batch_norms(norm, 2)
    assert isinstance(split, SplitBatchNorm)
    assert split.weight is norm.weight
    assert split_batch_norms(split, 5) is split
    assert split.parts == 5


def test_conversion_to_statistics_over_all_devices_leaves_it_alone() -> None:
    split = split_batch_norms(SmallConvNet(image_size=8, width=4), 1)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(split, nn.BatchNorm1d(3)))
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in converted.modules()) == 1
    assert sum(isinstance(module, SplitBatchNorm) for module in converted.modules()) == 4


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="normalisation must be plain BatchNorm, got SyncBatchNorm"):
        split_batch_norms(nn.Sequential(nn.SyncBatchNorm(3)), 2)
    with pytest.raises(InputError, match="parts must be >= 1, got 0"):
        split_batch_norms(nn.BatchNorm1d(3), 0)


def test_under_autocast_the_output_keeps_the_input_s_type() -> None:
    split = SplitBatchNorm(layer(), 2)  # type: ignore[arg-type]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert split(batch(8, 4, 2, 2).bfloat16()).dtype == torch.bfloat16
    assert split.running_mean is not None
    assert split.running_mean.dtype == torch.float32


def parts_on_rank(rank: int, world: int) -> Tensor:
    split = SplitBatchNorm(layer(nn.BatchNorm1d), 4)  # type: ignore[arg-type]
    return split(batch(16, 4).chunk(world)[rank]).detach()


def test_parts_are_the_same_on_one_rank_and_on_two() -> None:
    torch.testing.assert_close(torch.cat(run_on_ranks(parts_on_rank, 2)), parts_on_rank(0, 1))
