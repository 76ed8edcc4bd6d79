"""Slow loops for methods with negatives, and tiny encoders in float64 to run both on."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.data.batch import Batch
from nearfar.methods import METHODS, Method
from tests.losses.reference import cosine, log_sum

SMALL: dict[str, dict[str, Any]] = {
    "simclr-v2": {"output_dim": 5, "memory": 20, "momentum": 0.9},
    "dcl": {"output_dim": 5},
    "nnclr": {"hidden_dim": 7, "predictor_dim": 8, "output_dim": 5, "head_layers": 2, "queue_size": 20},
    "moco-v2": {"output_dim": 5, "queue_size": 20, "momentum": 0.9},
    "moco-v3": {"hidden_dim": 7, "output_dim": 5, "momentum": 0.9, "temperature": 0.2},
    "densecl": {"output_dim": 5, "queue_size": 20, "momentum": 0.9},
    "ressl": {"hidden_dim": 7, "output_dim": 5, "queue_size": 20, "momentum": 0.9},
    "cpc": {"grid": 3, "context_dim": 5, "layers": 2, "output_dim": 4, "least_distance": 1, "most_distance": 2},
}
WITH_TEACHER = ["simclr-v2", "moco-v2", "moco-v3", "densecl", "ressl"]


class Tiny(nn.Module):
    """Two convolutions with BatchNorm between them; h is the mean of the map."""

    def __init__(self, dim: int = 6) -> None:
        super().__init__()
        self.dim = dim
        self.layers = nn.Sequential(nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, dim, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.feature_map(x).mean(dim=(2, 3))

    def feature_map(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Given(nn.Module):
    """An encoder that returns its input, so that a test decides on the embeddings."""

    dim = 8

    def forward(self, x: Tensor) -> Tensor:
        return x


def make(name: str, encoder: nn.Module | None = None, **options: Any) -> Method:
    torch.manual_seed(0)
    encoder = Tiny() if encoder is None else encoder
    return METHODS.get(name)(encoder, **{**SMALL[name], **options}).double()  # type: ignore[call-arg]


def without_heads(name: str, **options: Any) -> Method:
    """A method whose embeddings are the views themselves."""
    method = make(name, Given(), output_dim=8, **options)
    for part in ("head", "predictor"):
        if hasattr(method, part):
            setattr(method, part, nn.Identity())
    for part in ("teacher", "teacher_head"):
        if hasattr(method, part):
            setattr(method, part, nn.Identity())
    return method


def batch_of(seed: int, n: int = 6, views: int = 2, side: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch([torch.randn(n, 2, side, side, generator=generator, dtype=torch.float64) for _ in range(views)])


def trained(name: str, steps: int = 1, views: int = 2, side: int = 4, **options: Any) -> Method:
    """A method after some steps, whose teacher differs from its encoder and whose queue is filled."""
    method = make(name, **options)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.5)
    for seed in range(steps):
        optimizer.zero_grad()
        method.step(batch_of(100 + seed, views=views, side=side)).loss.backward()
        optimizer.step()
        method.after_step(0.5)
    method.zero_grad()
    return method


def frozen_copy(method: Method) -> Method:
    """A copy to compute the expected values with, so that running statistics and queues stay apart."""
    return copy.deepcopy(method)


def moco(q: Tensor, k: Tensor, negatives: Tensor, tau: float) -> Tensor:
    values = []
    for i in range(len(q)):
        positive = cosine(q[i], k[i]) / tau
        values.append(log_sum([positive, *(cosine(q[i], c) / tau for c in negatives)]) - positive)
    return torch.stack(values).mean()


def in_batch(q: Tensor, k: Tensor, tau: float) -> Tensor:
    values = [
        log_sum([cosine(q[i], k[j]) / tau for j in range(len(k))]) - cosine(q[i], k[i]) / tau for i in range(len(q))
    ]
    return torch.stack(values).mean()


def decoupled(z1: Tensor, z2: Tensor, tau: float, sigma: float | None = None) -> Tensor:
    z, n, values = torch.cat([z1, z2]), len(z1), []
    strengths = [torch.exp(cosine(z1[i], z2[i]) / (sigma or 1)).detach() for i in range(n)]
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        weight = 1 if sigma is None else 2 - strengths[i % n] / (sum(strengths) / n)
        denominator = log_sum([cosine(z[i], z[k]) / tau for k in range(2 * n) if k not in (i, j)])
        values.append(denominator - weight * cosine(z[i], z[j]) / tau)
    return torch.stack(values).mean()


def soft(student: Tensor, teacher: Tensor, queue: Tensor, hot: float, cold: float) -> Tensor:
    values = []
    for s, t in zip(student, teacher, strict=True):
        targets = torch.stack([cosine(t, c) / cold for c in queue]).softmax(0)
        logits = [cosine(s, c) / hot for c in queue]
        values.append(-sum(p * (x - log_sum(logits)) for p, x in zip(targets, logits, strict=True)))
    return torch.stack(values).mean()


def nearest_positions(queries: Tensor, keys: Tensor) -> list[list[int]]:
    """For maps (N, C, S): where, for every item and position, the key's most similar position is."""
    found = []
    for q, k in zip(queries, keys, strict=True):
        similar = [[cosine(q[:, s], k[:, t]).item() for t in range(k.shape[1])] for s in range(q.shape[1])]
        found.append([row.index(max(row)) for row in similar])
    return found


def split_norm(x: Tensor, norm: Any, parts: int) -> Tensor:
    pieces = [
        F.batch_norm(part, None, None, norm.weight, norm.bias, True, eps=norm.eps) for part in x.tensor_split(parts)
    ]
    return torch.cat(pieces)


def encoded(encoder: Any, head: nn.Module, x: Tensor, parts: int) -> Tensor:
    """What encoder and head give where the rows of every part are normalised by themselves."""
    first, norm, act, last = encoder.layers
    return head(last(act(split_norm(first(x), norm, parts))).mean(dim=(2, 3)))


def close(got: Tensor, wanted: Tensor | float, tolerance: float = 1e-9) -> None:
    wanted = torch.as_tensor(wanted, dtype=got.dtype)
    torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


def same_gradients(method: Method, other: Method, loss: Tensor, wanted: Tensor) -> None:
    """Compare a method's gradient with that of a loop on a copy of the method."""
    loss.backward()
    wanted.backward()
    pairs = zip(method.named_parameters(), other.parameters(), strict=True)
    for (name, ours), theirs in pairs:
        if ours.requires_grad:
            assert ours.grad is not None, name
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-7, atol=1e-9, msg=name)
