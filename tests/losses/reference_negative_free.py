"""The losses without negatives as slow double loops over numbers, in float64, written from their equations alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Rows = list[list[float]]


def rows(z: Tensor) -> Rows:
    return [[float(x) for x in row] for row in z]


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def column(z: Rows, j: int) -> list[float]:
    return [row[j] for row in z]


def product_moment(a: list[float], b: list[float], divisor: float) -> float:
    ma, mb = mean(a), mean(b)
    return sum((x - ma) * (y - mb) for x, y in zip(a, b, strict=True)) / divisor


def negative_cosine(p: Tensor, z: Tensor) -> float:
    return mean([-cosine(a, b) for a, b in zip(rows(p), rows(z), strict=True)])


def byol(p: Tensor, z: Tensor) -> float:
    values = []
    for a, b in zip(rows(p), rows(z), strict=True):
        la, lb = math.sqrt(dot(a, a)), math.sqrt(dot(b, b))
        values.append(sum((x / la - y / lb) ** 2 for x, y in zip(a, b, strict=True)))
    return mean(values)


def barlow_twins(z1: Tensor, z2: Tensor, weight: float, eps: float) -> float:
    a, b = rows(z1), rows(z2)
    n, d = len(a), len(a[0])
    loss = 0.0
    for i in range(d):
        for j in range(d):
            x, y = column(a, i), column(b, j)
            vx, vy = product_moment(x, x, n) + eps, product_moment(y, y, n) + eps
            c = product_moment(x, y, n) / math.sqrt(vx * vy)
            loss += (1 - c) ** 2 if i == j else weight * c**2
    return loss


def vicreg(z1: Tensor, z2: Tensor, weights: tuple[float, float, float], gamma: float, eps: float) -> float:
    a, b = rows(z1), rows(z2)
    n, d = len(a), len(a[0])
    invariance = mean([(a[k][j] - b[k][j]) ** 2 for k in range(n) for j in range(d)])
    variance = covariance = 0.0
    for z in (a, b):
        for i in range(d):
            x = column(z, i)
            variance += max(0.0, gamma - math.sqrt(product_moment(x, x, n - 1) + eps)) / d / 2
            for j in range(d):
                if i != j:
                    covariance += product_moment(x, column(z, j), n - 1) ** 2 / d
    return weights[0] * invariance + weights[1] * variance + weights[2] * covariance


def vibcreg(z1: Tensor, z2: Tensor, weights: tuple[float, float, float], gamma: float, eps: float) -> float:
    a, b = rows(z1), rows(z2)
    n, d = len(a), len(a[0])
    invariance = mean([(a[k][j] - b[k][j]) ** 2 for k in range(n) for j in range(d)])
    variance = correlation = 0.0
    for z in (a, b):
        for i in range(d):
            x = column(z, i)
            variance += max(0.0, gamma - math.sqrt(product_moment(x, x, n - 1) + eps)) / d
            for j in range(d):
                y = column(z, j)
                if i != j:
                    r2 = product_moment(x, y, n) ** 2 / (product_moment(x, x, n) * product_moment(y, y, n))
                    correlation += r2 / d**2
    return weights[0] * invariance + weights[1] * variance + weights[2] * correlation


def w_mse(views: Sequence[Tensor], blocks: Sequence[Sequence[int]], eps: float) -> float:
    """Whitening by hand: Cholesky-Banachiewicz, then forward substitution, row by row."""
    white: list[dict[int, list[float]]] = []
    for view in views:
        z, out = rows(view), {}
        d = len(z[0])
        for block in blocks:
            part = [z[k] for k in block]
            c = [
                [
                    (1 - eps) * product_moment(column(part, i), column(part, j), len(part) - 1) + eps * (i == j)
                    for j in range(d)
                ]
                for i in range(d)
            ]
            lower = [[0.0] * d for _ in range(d)]
            for i in range(d):
                for j in range(i + 1):
                    rest = c[i][j] - sum(lower[i][k] * lower[j][k] for k in range(j))
                    lower[i][j] = math.sqrt(rest) if i == j else rest / lower[j][j]
            centre = [mean(column(part, j)) for j in range(d)]
            for k in block:
                v: list[float] = []
                for i in range(d):
                    v.append((z[k][i] - centre[i] - sum(lower[i][j] * v[j] for j in range(i))) / lower[i][i])
                out[k] = v
        white.append(out)
    values = [
        2 - 2 * cosine(white[a][k], white[b][k])
        for a in range(len(views))
        for b in range(a + 1, len(views))
        for k in white[0]
    ]
    return mean(values)


def tico(z1: Tensor, z2: Tensor, before: Tensor, momentum: float, weight: float) -> float:
    a, b, c0 = rows(z1), rows(z2), rows(before)
    n, d = len(a), len(a[0])
    unit = [[x / math.sqrt(dot(row, row)) for x in row] for row in a]
    c = [[momentum * c0[i][j] + (1 - momentum) * mean([u[i] * u[j] for u in unit]) for j in range(d)] for i in range(d)]
    values = []
    for k in range(n):
        quadratic = sum(unit[k][i] * c[i][j] * unit[k][j] for i in range(d) for j in range(d))
        values.append(1 - cosine(a[k], b[k]) + weight * quadratic)
    return mean(values)


def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Rows:
    q = [[math.exp(s / epsilon) for s in row] for row in rows(scores)]
    n, k = len(q), len(q[0])
    for _ in range(iterations):
        sums = [sum(column(q, j)) for j in range(k)]
        q = [[row[j] / sums[j] / k for j in range(k)] for row in q]
        q = [[x / sum(row) / n for x in row] for row in q]
    return [[x * n for x in row] for row in q]


def softmax(values: Sequence[float]) -> list[float]:
    most = max(values)
    powers = [math.exp(v - most) for v in values]
    return [p / sum(powers) for p in powers]


def cross_entropy(target: Sequence[float], logits: Sequence[float]) -> float:
    return -sum(t * math.log(p) for t, p in zip(target, softmax(logits), strict=True))


def swav(scores: Sequence[Tensor], assign: int, temperature: float, epsilon: float, iterations: int) -> float:
    views = [rows(s) for s in scores]
    loss = 0.0
    for a in range(assign):
        codes = sinkhorn(scores[a], epsilon, iterations)
        for v, view in enumerate(views):
            if v != a:
                terms = [cross_entropy(q, [s / temperature for s in row]) for q, row in zip(codes, view, strict=True)]
                loss += mean(terms) / assign / (len(views) - 1)
    return loss


def dino(student: Sequence[Tensor], teacher: Sequence[Tensor], center: Tensor, tau_s: float, tau_t: float) -> float:
    c = [float(x) for x in center]
    terms = []
    for t, g_t in enumerate(teacher):
        for s, g_s in enumerate(student):
            if t != s:
                for a, b in zip(rows(g_t), rows(g_s), strict=True):
                    target = softmax([(x - m) / tau_t for x, m in zip(a, c, strict=True)])
                    terms.append(cross_entropy(target, [x / tau_s for x in b]))
    return mean(terms)


def koleo(z: Tensor, eps: float) -> float:
    a = [[x / math.sqrt(dot(row, row)) for x in row] for row in rows(z)]
    values = []
    for i, x in enumerate(a):
        nearest = min(math.dist(x, y) for j, y in enumerate(a) if j != i)
        values.append(-math.log(nearest + eps))
    return mean(values)


def sigreg(z: Tensor, directions: Tensor, points: int, end: float) -> float:
    """The trapezoidal rule over the whole of [-end, end], with complex numbers."""
    a = rows(z)
    n = len(a)
    statistics = []
    for direction in rows(directions.T):
        projected = [dot(row, direction) for row in a]
        step = 2 * end / (points - 1)
        integral = 0.0
        for k in range(points):
            t = -end + k * step
            phi = sum(complex(math.cos(t * x), math.sin(t * x)) for x in projected) / n
            value = abs(phi - math.exp(-(t**2) / 2)) ** 2 * math.exp(-(t**2) / 2)
            integral += step * value * (0.5 if k in (0, points - 1) else 1.0)
        statistics.append(n * integral)
    return mean(statistics)


def lejepa(views: Sequence[Tensor], directions: Tensor, global_views: int, weight: float) -> float:
    v = [rows(z) for z in views]
    n, d = len(v[0]), len(v[0][0])
    squares = []
    for z in v:
        for k in range(n):
            for j in range(d):
                mu = mean([v[g][k][j] for g in range(global_views)])
                squares.append((mu - z[k][j]) ** 2)
    tests = mean([sigreg(z, directions, 33, 3.0) for z in views])
    return weight * tests + (1 - weight) * mean(squares)


def spectral_contrastive(z1: Tensor, z2: Tensor) -> float:
    a, b = rows(z1), rows(z2)
    n = len(a)
    positive = mean([dot(a[i], b[i]) for i in range(n)])
    negative = mean([dot(a[i], b[j]) ** 2 for i in range(n) for j in range(n) if i != j])
    return -2 * positive + negative


def alignment(z1: Tensor, z2: Tensor, alpha: float) -> float:
    values = []
    for a, b in zip(rows(z1), rows(z2), strict=True):
        la, lb = math.sqrt(dot(a, a)), math.sqrt(dot(b, b))
        values.append(math.dist([x / la for x in a], [y / lb for y in b]) ** alpha)
    return mean(values)


def uniformity(z: Tensor, t: float) -> float:
    a = [[x / math.sqrt(dot(row, row)) for x in row] for row in rows(z)]
    n = len(a)
    return math.log(mean([math.exp(-t * math.dist(a[i], a[j]) ** 2) for i in range(n) for j in range(n) if i != j]))


def sup_con_with_references(
    z: Tensor, labels: Sequence[int], reference: Tensor, reference_labels: Sequence[int], temperature: float
) -> float:
    """SupCon's L_out whose anchors are ``z`` and whose candidates are the rest of ``z`` and all references."""
    own, stored = rows(z), rows(reference)
    values = []
    for i, anchor in enumerate(own):
        others = [(own[j], labels[j]) for j in range(len(own)) if j != i] + list(
            zip(stored, reference_labels, strict=True)
        )
        logits = [cosine(anchor, other) / temperature for other, _ in others]
        log_sum = math.log(sum(math.exp(x) for x in logits))
        positives = [x - log_sum for x, (_, label) in zip(logits, others, strict=True) if label == labels[i]]
        if positives:
            values.append(-mean(positives))
    return mean(values)


def golden_views() -> tuple[Tensor, Tensor]:
    """The two views on which golden values were computed."""
    n = torch.arange(32, dtype=torch.float64).reshape(4, 8)
    return torch.sin(n + 1.0), torch.cos(0.7 * n + 0.3)
