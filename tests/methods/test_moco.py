"""MoCo v2, MoCo v3 and DenseCL against slow loops in float64, with statistics over parts of shuffled batches."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nearfar.data.batch import Batch
from nearfar.encoders.small import SmallConvNet
from nearfar.errors import ConfigError
from nearfar.methods import build
from nearfar.methods.densecl import correspond
from nearfar.nn import SplitBatchNorm
from tests.methods.negatives_reference import (
    batch_of,
    close,
    encoded,
    frozen_copy,
    in_batch,
    make,
    moco,
    nearest_positions,
    same_gradients,
    split_norm,
    trained,
)
from tests.methods.test_contract import vit

# MoCo


@pytest.mark.parametrize("batchnorm", ["split", "shuffle", "plain"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_a_step_of_moco_is_the_loop(batchnorm: str, symmetric: bool) -> None:
    for steps in (0, 1):
        method = trained("moco-v2", steps, batchnorm=batchnorm, parts=3, symmetric=symmetric)
        other = frozen_copy(method)
        batch = batch_of(7)
        torch.manual_seed(5)
        loss = method.step(batch).loss
        torch.manual_seed(5)
        parts = 3 if batchnorm == "split" else 1
        values = []
        for query, key in [(0, 1), (1, 0)][: 1 + symmetric]:
            order = torch.arange(6) if batchnorm == "plain" else torch.randperm(6)
            q = encoded(other.encoder, other.head, batch.views[query], parts)
            with torch.no_grad():
                teacher = other.teacher_encoder.module, other.teacher_head.module
                k = torch.empty(6, 5, dtype=torch.float64)
                k[order] = encoded(*teacher, batch.views[key][order], parts)
            queue = other.queue.contents().keys
            values.append(moco(q, k, queue, 0.2) if steps else in_batch(q, k, 0.2))
        wanted = torch.stack(values).mean()
        close(loss, wanted)
        same_gradients(method, other, loss, wanted)


def test_only_split_parts_change_what_shuffling_does_on_one_rank() -> None:
    losses = {}
    for batchnorm in ("split", "shuffle", "plain"):
        torch.manual_seed(5)
        losses[batchnorm] = trained("moco-v2", batchnorm=batchnorm, parts=3, steps=0).step(batch_of(7)).loss
    close(losses["shuffle"], losses["plain"])
    assert abs(losses["split"] - losses["plain"]) > 1e-6


def test_the_queue_holds_the_teacher_s_keys_of_the_last_batches() -> None:
    method = make("moco-v2", batchnorm="plain", queue_size=15, symmetric=True)
    other = frozen_copy(method)
    keys = []
    for seed in range(2):
        batch = batch_of(seed)
        method.step(batch)
        keys += [F.normalize(other.teacher_head(other.teacher_encoder(batch.views[v])), dim=1) for v in (1, 0)]
    held = method.queue.contents().keys
    last = torch.cat(keys)[-15:]
    assert len(held) == 15
    for key in last:
        assert (held - key).norm(dim=1).min() < 1e-12
    torch.testing.assert_close(held[:9], torch.cat(keys)[15:])  # 24 keys: the last 9 stand where the first were


def test_the_kept_encoder_of_moco_is_an_ordinary_one() -> None:
    torch.manual_seed(0)
    for name in ("moco-v2", "densecl"):
        method = build(name, SmallConvNet(image_size=8, width=2), {"queue_size": 20, "output_dim": 5})
        assert sum(isinstance(module, SplitBatchNorm) for module in method.modules()) == 8
        views = [torch.randn(16, 3, 8, 8) for _ in range(2)]
        method.step(Batch(views)).loss.backward()
        plain = SmallConvNet(image_size=8, width=2)
        plain.load_state_dict(method.kept.state_dict(), strict=True)
        torch.testing.assert_close(plain.eval()(views[0]), method.kept.eval()(views[0]))
        assert plain.layers[1].running_mean.abs().sum() > 0
        converted = nn.SyncBatchNorm.convert_sync_batchnorm(method)
        assert not any(isinstance(module, nn.SyncBatchNorm) for module in converted.modules())


def test_an_encoder_whose_normalisation_cannot_be_split_is_refused() -> None:
    encoder = nn.Sequential(nn.SyncBatchNorm(3))
    encoder.dim = 3  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="take batchnorm=plain"):
        build("moco-v2", encoder)
    assert build("moco-v2", encoder, {"batchnorm": "plain", "queue_size": 4}).encoder is encoder


# MoCo v3


def test_a_step_of_moco_v3_is_the_loop() -> None:
    method = trained("moco-v3")
    other = frozen_copy(method)
    batch = batch_of(7)
    q = [other.predictor(other.head(other.encoder(view))) for view in batch.views]
    k = [other.teacher_head(other.teacher_encoder(view)) for view in batch.views]
    wanted = 2 * 0.2 * (in_batch(q[0], k[1], 0.2) + in_batch(q[1], k[0], 0.2))
    loss = method.step(batch).loss
    close(loss, wanted)
    same_gradients(method, other, loss, wanted)


def test_moco_v3_keeps_the_patch_projection_of_a_transformer() -> None:
    for freeze in (True, False):
        method = build("moco-v3", vit(), {"hidden_dim": 8, "output_dim": 4, "freeze_patches": freeze})
        frozen = [name for name, p in method.encoder.named_parameters() if not p.requires_grad]
        assert bool(frozen) == freeze
        assert all("patch_embed" in name for name in frozen)
        method.step(Batch([torch.randn(4, 3, 8, 8) for _ in range(2)])).loss.backward()
        missing = [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None]
        assert not missing


# DenseCL


def test_positions_correspond_by_the_largest_cosine() -> None:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(3, 5, 7, generator=generator)
    keys = torch.randn(3, 5, 4, generator=generator) * torch.tensor([1.0, 9.0, 0.1, 3.0])
    assert correspond(queries, keys).tolist() == nearest_positions(queries, keys)
    assert correspond(queries, queries).tolist() == [list(range(7))] * 3


@pytest.mark.parametrize("batchnorm", ["split", "plain"])
def test_a_step_of_densecl_is_the_loop(batchnorm: str) -> None:
    for steps in (0, 1):
        method = trained("densecl", steps, batchnorm=batchnorm, parts=3, dense_weight=0.3)
        other = frozen_copy(method)
        batch = batch_of(7)
        torch.manual_seed(5)
        step = method.step(batch)
        torch.manual_seed(5)
        parts = 3 if batchnorm == "split" else 1
        order = torch.randperm(6) if batchnorm == "split" else torch.arange(6)
        first, norm, act, last = other.encoder.layers
        query_map = last(act(split_norm(first(batch.views[0]), norm, parts)))
        with torch.no_grad():
            first, norm, act, last = other.teacher_encoder.module.layers
            key_map = torch.empty_like(query_map)
            key_map[order] = last(act(split_norm(first(batch.views[1][order]), norm, parts)))
        z, k = other.head(query_map.mean(dim=(2, 3))), other.teacher_head(key_map.mean(dim=(2, 3)))
        r, t = other.dense_head(query_map).flatten(2), other.teacher_dense_head(key_map).flatten(2)
        places = nearest_positions(query_map.flatten(2).detach(), key_map.flatten(2))
        queries = torch.stack([r[i, :, s] for i in range(6) for s in range(4)])
        keys = torch.stack([t[i, :, places[i][s]] for i in range(6) for s in range(4)])
        queue, dense_queue = other.queue.contents().keys, other.dense_queue.contents().keys
        whole = moco(z, k, queue, 0.2) if steps else in_batch(z, k, 0.2)
        dense = moco(queries, keys, dense_queue if steps else t.mean(2), 0.2)
        close(step.logs["loss_whole"], whole.detach())
        close(step.logs["loss_dense"], dense.detach())
        close(step.loss, 0.7 * whole + 0.3 * dense)
        same_gradients(method, other, step.loss, 0.7 * whole + 0.3 * dense)
        newest = F.normalize(t.mean(2), dim=1)
        torch.testing.assert_close(method.dense_queue.contents().keys[-6:], newest)
