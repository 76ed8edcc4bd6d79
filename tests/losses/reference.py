"""The in-batch softmax losses written as slow loops over single numbers, in float64, straight from the equations.

Every function returns the list of per-anchor values; rows are normalised here, by the loop as well. Tensors are used
as numbers only, so that autograd gives the loops' gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor


def dot(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum()


def cosine(x: Tensor, y: Tensor) -> Tensor:
    return dot(x, y) / (dot(x, x) * dot(y, y)).sqrt()


def log_sum(logits: list[Tensor]) -> Tensor:
    top = max(float(v.detach()) for v in logits)
    return top + torch.log(sum((torch.exp(v - top) for v in logits), torch.zeros((), dtype=torch.float64)))


def nt_xent(z1: Tensor, z2: Tensor, tau: float) -> list[Tensor]:
    z, n, values = torch.cat([z1, z2]), len(z1), []
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        values.append(log_sum([cosine(z[i], z[k]) / tau for k in range(2 * n) if k != i]) - cosine(z[i], z[j]) / tau)
    return values


def info_nce(
    q: Tensor,
    k: Tensor,
    tau: float,
    *,
    negatives: Tensor | None = None,
    queue: Tensor | None = None,
    in_batch: bool = True,
    symmetric: bool = False,
) -> list[Tensor]:
    values, n = [], len(q)
    for i in range(n):
        positive = cosine(q[i], k[i]) / tau
        logits = [positive]
        logits += [cosine(q[i], k[j]) / tau for j in range(n) if j != i and in_batch]
        for more in (negatives, queue):
            logits += [] if more is None else [cosine(q[i], c) / tau for c in more]
        value = log_sum(logits) - positive
        if symmetric:
            value = (value + log_sum([cosine(q[j], k[i]) / tau for j in range(n)]) - positive) / 2
        values.append(value)
    return values


def bilinear_nce(q: Tensor, k: Tensor, weight: Tensor) -> list[Tensor]:
    def likeness(i: int, j: int) -> Tensor:
        width = range(len(weight))
        return sum((q[i, a] * weight[a, b] * k[j, b] for a in width for b in width), torch.zeros((), dtype=q.dtype))

    return [log_sum([likeness(i, j) for j in range(len(k))]) - likeness(i, i) for i in range(len(q))]


def sup_con(z: Tensor, labels: list[int], tau: float, variant: str) -> list[Tensor | None]:
    values: list[Tensor | None] = []
    for i in range(len(z)):
        positives = [p for p in range(len(z)) if p != i and labels[p] == labels[i]]
        if not positives:
            values.append(None)
            continue
        total = log_sum([cosine(z[i], z[a]) / tau for a in range(len(z)) if a != i])
        terms = [cosine(z[i], z[p]) / tau - total for p in positives]
        if variant == "out":
            values.append(-sum(terms) / len(terms))
        else:
            values.append(-torch.log(sum(torch.exp(t) for t in terms) / len(terms)))
    return values


def multi_label_sup_con(z: Tensor, weights: Tensor, tau: float) -> list[Tensor | None]:
    values: list[Tensor | None] = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        mass = sum(float(weights[i, p]) for p in others)
        if mass == 0:
            values.append(None)
            continue
        total = log_sum([cosine(z[i], z[a]) / tau for a in others])
        values.append(-sum(float(weights[i, p]) * (cosine(z[i], z[p]) / tau - total) for p in others) / mass)
    return values


def dcl(z1: Tensor, z2: Tensor, tau: float, sigma: float | None = None) -> list[Tensor]:
    z, n, values = torch.cat([z1, z2]), len(z1), []
    easy = [float(torch.exp(cosine(z1[m], z2[m]) / sigma).detach()) for m in range(n)] if sigma else []
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        weight = 2 - easy[i % n] / (sum(easy) / n) if sigma else 1.0
        negative = log_sum([cosine(z[i], z[k]) / tau for k in range(2 * n) if k not in (i, j)])
        values.append(negative - weight * cosine(z[i], z[j]) / tau)
    return values


def clip(x: Tensor, y: Tensor, scale: float | Tensor) -> list[Tensor]:
    values, n = [], len(x)
    for i in range(n):
        row = log_sum([cosine(x[i], y[j]) * scale for j in range(n)])
        col = log_sum([cosine(x[j], y[i]) * scale for j in range(n)])
        values.append((row + col) / 2 - cosine(x[i], y[i]) * scale)
    return values


def siglip(x: Tensor, y: Tensor, scale: float | Tensor, bias: float | Tensor) -> list[Tensor]:
    values = []
    for i in range(len(x)):
        value = torch.zeros((), dtype=torch.float64)
        for j in range(len(x)):
            sign = 1 if i == j else -1
            value = value + torch.log(1 + torch.exp(-sign * (scale * cosine(x[i], y[j]) + bias)))
        values.append(value)
    return values


def gist(
    q: Tensor,
    k: Tensor,
    gq: Tensor,
    gk: Tensor,
    tau: float,
    *,
    margin: float = 0.0,
    relative: bool = False,
    negatives: Tensor | None = None,
    guide_negatives: Tensor | None = None,
) -> list[Tensor]:
    values, n = [], len(q)
    for i in range(n):
        near = float(cosine(gq[i], gk[i]))
        limit = near * (1 - margin) if relative else near - margin
        positive = cosine(q[i], k[i]) / tau
        logits = [positive]
        for j in range(n):
            if j == i:
                continue
            for a, b, ga, gb in ((q, k, gq, gk), (q, q, gq, gq), (k, k, gk, gk)):
                if float(cosine(ga[i], gb[j])) <= limit:
                    logits.append(cosine(a[i], b[j]) / tau)
        for j in range(0 if negatives is None else len(negatives)):
            if float(cosine(gq[i], guide_negatives[j])) <= limit:
                logits.append(cosine(q[i], negatives[j]) / tau)
        values.append(log_sum(logits) - positive)
    return values


def distribution(anchor: Tensor, others: list[Tensor], tau: float) -> list[Tensor]:
    logits = [cosine(anchor, c) / tau for c in others]
    total = log_sum(logits)
    return [torch.exp(v - total) for v in logits]


def ressl(s: Tensor, t: Tensor, queue: Tensor, tau_s: float, tau_t: float) -> list[Tensor]:
    values = []
    for i in range(len(s)):
        p, q = distribution(t[i], list(queue), tau_t), distribution(s[i], list(queue), tau_s)
        values.append(-sum(a.detach() * torch.log(b) for a, b in zip(p, q, strict=True)))
    return values


def co2(q: Tensor, k: Tensor, tau: float, queue: Tensor | None = None) -> list[Tensor]:
    values = []
    for i in range(len(q)):
        to_q = list(queue) if queue is not None else [k[j] for j in range(len(q)) if j != i]
        to_k = list(queue) if queue is not None else [q[j] for j in range(len(q)) if j != i]
        a, b = distribution(q[i], to_q, tau), distribution(k[i], to_k, tau)
        there = sum(y * torch.log(y / x) for x, y in zip(a, b, strict=True))
        back = sum(x * torch.log(x / y) for x, y in zip(a, b, strict=True))
        values.append((there + back) / 2)
    return values
