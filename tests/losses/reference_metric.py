"""Slow double loops in float64, one per loss and miner, written from the equations; torch only for the gradient."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor


def dot(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True))


def norm(x):
    return torch.sqrt(dot(x, x))


def cosine(x, y):
    return dot(x, y) / (norm(x) * norm(y))


def squared(x, y):
    return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))


def euclidean(x, y):
    return torch.sqrt(squared(x, y))


def variance(x):
    mean = sum(x) / len(x)
    return sum((a - mean) ** 2 for a in x) / len(x)


def snr(x, y):
    return variance(y - x) / variance(x)


DISTANCE = {
    "squared_euclidean": squared,
    "euclidean": euclidean,
    "cosine": lambda x, y: 1 - cosine(x, y),
    "dot": lambda x, y: -dot(x, y),
    "manhattan": lambda x, y: sum(abs(a - b) for a, b in zip(x, y, strict=True)),
    "snr": snr,
}


def hinge(x):
    return torch.clamp(torch.as_tensor(x, dtype=torch.float64), min=0)


def unit(z: Tensor) -> Tensor:
    return torch.stack([x / norm(x) for x in z])


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else torch.tensor(0.0, dtype=torch.float64)


def positives(labels, a):
    return [p for p in range(len(labels)) if p != a and labels[p] == labels[a]]


def negatives(labels, a):
    return [n for n in range(len(labels)) if labels[n] != labels[a]]


def triplets(labels):
    for a in range(len(labels)):
        for p in positives(labels, a):
            for n in negatives(labels, a):
                yield a, p, n


# Pairs ----------------------------------------------------------------------------------------------------------------


def contrastive(x, y, different, margin=1.0, form="linear", distance=None):
    values = []
    for a, b, apart in zip(x, y, different.tolist(), strict=True):
        if form == "linear":
            d = DISTANCE[distance or "squared_euclidean"](a, b)
            values.append((1 - apart) * d + apart * hinge(margin - d))
        else:
            d = DISTANCE[distance or "euclidean"](a, b)
            values.append(0.5 * (1 - apart) * d**2 + 0.5 * apart * hinge(margin - d) ** 2)
    return mean(values)


def online_contrastive(x, y, different, margin=0.5):
    d = [1 - cosine(a, b) for a, b in zip(x, y, strict=True)]
    near = [v for v, apart in zip(d, different, strict=True) if not apart]
    far = [v for v, apart in zip(d, different, strict=True) if apart]
    total = sum(v**2 for v in near if v > min(far))
    return total + sum(hinge(margin - v) ** 2 for v in far if v < max(near))


def snr_contrastive(x, y, different, margin=1.0, zero_mean=0.0):
    extra = [zero_mean * (abs(sum(a)) + abs(sum(b))) / 2 for a, b in zip(x, y, strict=True)]
    return contrastive(x, y, different, margin, distance="snr") + mean(extra)


def cosine_regression(x, y, score):
    return mean((cosine(a, b) - s) ** 2 for a, b, s in zip(x, y, score, strict=True))


def ordered(likeness, score, scale):
    total = 1.0
    for i, j in itertools.product(range(len(score)), repeat=2):
        if score[i] > score[j]:
            total = total + torch.exp(scale * (likeness[j] - likeness[i]))
    return torch.log(torch.as_tensor(total, dtype=torch.float64))


def cosent(x, y, score, scale=20.0):
    return ordered([cosine(a, b) for a, b in zip(x, y, strict=True)], score, scale)


def angle(x, y, score, scale=20.0):
    half = x.shape[1] // 2
    likeness = []
    for a, b in zip(x, y, strict=True):
        z, w = torch.complex(a[:half], a[half:]), torch.complex(b[:half], b[half:])
        quotient = sum(p * q.conj() for p, q in zip(z, w, strict=True)) / (norm(a) * norm(b))
        likeness.append(abs(quotient.real + quotient.imag))
    return ordered(likeness, score, scale)


def margin_beta(x, y, different, beta=1.2, margin=0.2, nu=0.0, nonzero=True):
    boundary = beta if isinstance(beta, Tensor) else torch.full((len(x),), beta, dtype=torch.float64)
    values = []
    for a, b, apart, edge in zip(x, y, different.tolist(), boundary, strict=True):
        values.append(hinge(margin + (-1 if apart else 1) * (euclidean(a, b) - edge)))
    return mean(v for v in values if v > 0 or not nonzero) + nu * mean(boundary)


# Triplets -------------------------------------------------------------------------------------------------------------


def triplet(anchor, positive, negative, margin=0.2, distance="squared_euclidean", soft_margin=False, swap=False,
            nonzero=False):  # fmt: skip
    d, values = DISTANCE[distance], []
    for a, p, n in zip(anchor, positive, negative, strict=True):
        far = min(d(a, n), d(p, n)) if swap else d(a, n)
        values.append(torch.log(1 + torch.exp(d(a, p) - far)) if soft_margin else hinge(d(a, p) - far + margin))
    return mean(v for v in values if v > 0 or not nonzero)


def mined(z, labels, mining, d):
    for a in range(len(z)):
        near, far = positives(labels, a), negatives(labels, a)
        if not near or not far:
            continue
        nearest = min(far, key=lambda n: d(z[a], z[n]))
        if mining == "hard":
            yield a, max(near, key=lambda p: d(z[a], z[p])), nearest
            continue
        for p in near:
            beyond = [n for n in far if d(z[a], z[n]) > d(z[a], z[p])]
            if mining == "hard_negative":
                yield a, p, nearest
            elif beyond:
                yield a, p, min(beyond, key=lambda n: d(z[a], z[n]))
            else:
                yield a, p, max(far, key=lambda n: d(z[a], z[n]))


def triplet_from_labels(z, labels, mining="semihard", distance="squared_euclidean", **settings):
    found = list(triplets(labels) if mining == "all" else mined(z, labels, mining, DISTANCE[distance]))
    a, p, n = ([z[t[k]] for t in found] for k in range(3))
    return triplet(a, p, n, distance=distance, **settings)


def pn(anchor, positive, negative, margin=1.0, form="hinge"):
    values = []
    for a, p, n in zip(anchor, positive, negative, strict=True):
        near, far = euclidean(a, p), min(euclidean(a, n), euclidean(p, n))
        if form == "hinge":
            values.append(hinge(near - far + margin))
        else:
            total = torch.exp(near) + torch.exp(far)
            values.append((torch.exp(near) / total) ** 2 + (torch.exp(far) / total - 1) ** 2)
    return mean(values)


# Batches of pairs -----------------------------------------------------------------------------------------------------


def n_pairs(anchor, positive, labels=None, regularization=0.0):
    values = []
    for i in range(len(anchor)):
        others = [j for j in range(len(anchor)) if j != i and (labels is None or labels[j] != labels[i])]
        rest = sum(torch.exp(dot(anchor[i], positive[j]) - dot(anchor[i], positive[i])) for j in others)
        length = dot(anchor[i], anchor[i]) + dot(positive[i], positive[i])
        values.append(torch.log(1 + torch.as_tensor(rest)) + regularization / 2 * length)
    return mean(values)


def mega_batch_margin(anchor, positive, labels=None, positive_margin=0.8, negative_margin=0.3):
    values = []
    for i in range(len(anchor)):
        others = [j for j in range(len(anchor)) if j != i and (labels is None or labels[j] != labels[i])]
        value = hinge(positive_margin - cosine(anchor[i], positive[i]))
        if others:
            value = value + hinge(max(cosine(anchor[i], positive[j]) for j in others) - negative_margin)
        values.append(value)
    return mean(values)


# Batches with labels --------------------------------------------------------------------------------------------------


def lifted_structure(z, labels, margin=1.0):
    values = []
    for i, j in itertools.combinations(range(len(z)), 2):
        if labels[i] == labels[j] and negatives(labels, i):
            push = sum(torch.exp(margin - euclidean(z[i], z[k])) for k in negatives(labels, i))
            push = push + sum(torch.exp(margin - euclidean(z[j], z[k])) for k in negatives(labels, j))
            values.append(hinge(torch.log(push) + euclidean(z[i], z[j])) ** 2)
    return mean(values) / 2


def generalized_lifted_structure(z, labels, margin=1.0):
    values = []
    for a in range(len(z)):
        if positives(labels, a) and negatives(labels, a):
            pull = sum(torch.exp(euclidean(z[a], z[p])) for p in positives(labels, a))
            push = sum(torch.exp(margin - euclidean(z[a], z[n])) for n in negatives(labels, a))
            values.append(hinge(torch.log(pull) + torch.log(push)))
    return mean(values)


def circle(z, labels, margin=0.4, gamma=80.0):
    values = []
    for a in range(len(z)):
        total = 0.0
        if not (positives(labels, a) and negatives(labels, a)):
            continue
        for p in positives(labels, a):
            for n in negatives(labels, a):
                s_p, s_n = cosine(z[a], z[p]), cosine(z[a], z[n])
                w_p, w_n = hinge(1 + margin - s_p.detach()), hinge(s_n.detach() + margin)
                total = total + torch.exp(gamma * (w_n * (s_n - margin) - w_p * (s_p - (1 - margin))))
        values.append(torch.log(1 + total))
    return mean(values)


def multi_similarity(z, labels, alpha=2.0, beta=50.0, base=0.5, epsilon=0.1):
    values = []
    for a in range(len(z)):
        near = [cosine(z[a], z[p]) for p in positives(labels, a)]
        far = [cosine(z[a], z[n]) for n in negatives(labels, a)]
        if epsilon is not None:
            low, high = min(near, default=math.inf), max(far, default=-math.inf)
            near, far = [s for s in near if s < high + epsilon], [s for s in far if s > low - epsilon]
        pull = torch.log(torch.as_tensor(1 + sum(torch.exp(-alpha * (s - base)) for s in near), dtype=torch.float64))
        push = torch.log(torch.as_tensor(1 + sum(torch.exp(beta * (s - base)) for s in far), dtype=torch.float64))
        values.append(pull / alpha + push / beta)
    return mean(values)


def tuplet_margin(z, labels, margin=0.1, scale=64.0):
    values = []
    for a in range(len(z)):
        for p in positives(labels, a):
            if negatives(labels, a):
                near = torch.cos(torch.acos(cosine(z[a], z[p])) - margin)
                rest = sum(torch.exp(scale * (cosine(z[a], z[n]) - near)) for n in negatives(labels, a))
                values.append(torch.log(1 + rest))
    return mean(values)


def intra_pair_variance(z, labels, positive_epsilon=0.01, negative_epsilon=0.01):
    near = [cosine(z[a], z[p]) for a in range(len(z)) for p in positives(labels, a)]
    far = [cosine(z[a], z[n]) for a in range(len(z)) for n in negatives(labels, a)]
    low = mean(hinge((1 - positive_epsilon) * mean(near) - s) ** 2 for s in near)
    return low + mean(hinge(s - (1 + negative_epsilon) * mean(far)) ** 2 for s in far)


def angular(z, labels, degrees=40.0):
    z, tan2, values = unit(z), math.tan(math.radians(degrees)) ** 2, []
    for a in range(len(z)):
        for p in positives(labels, a):
            if negatives(labels, a):
                rest = 0.0
                for n in negatives(labels, a):
                    f = 4 * tan2 * dot(z[a] + z[p], z[n]) - 2 * (1 + tan2) * dot(z[a], z[p])
                    rest = rest + torch.exp(f)
                values.append(torch.log(1 + rest))
    return mean(values)


def ranked_list(z, labels, alpha=1.2, margin=0.4, balance=0.5, positive_temperature=0.0, negative_temperature=10.0):
    values = []
    for a in range(len(z)):
        near = [euclidean(z[a], z[p]) - (alpha - margin) for p in positives(labels, a)]
        far = [alpha - euclidean(z[a], z[n]) for n in negatives(labels, a)]
        value = 0.0
        for excess, temperature, share in (
            ([e for e in near if e > 0], positive_temperature, 1 - balance),
            ([e for e in far if e > 0], negative_temperature, balance),
        ):
            weights = [torch.exp(temperature * e.detach()) for e in excess]
            value = value + share * sum(w * e / sum(weights) for w, e in zip(weights, excess, strict=True))
        values.append(torch.as_tensor(value, dtype=torch.float64))
    return mean(values)


def nca(z, labels, scale=1.0, form="log"):
    values = []
    for a in range(len(z)):
        if positives(labels, a):
            same = sum(torch.exp(-scale * squared(z[a], z[p])) for p in positives(labels, a))
            everyone = sum(torch.exp(-scale * squared(z[a], z[k])) for k in range(len(z)) if k != a)
            values.append(-torch.log(same / everyone) if form == "log" else 1 - same / everyone)
    return mean(values)


def soft_nearest_neighbour(z, labels, temperature=1.0):
    return nca(z, labels, 1 / temperature)


def fast_ap(z, labels, bins=10):
    z, values, width = unit(z), [], 4 / bins

    def pulse(d, node):
        return hinge(1 - abs(d - node * width) / width)

    for a in range(len(z)):
        near, far = positives(labels, a), negatives(labels, a)
        precision = 0.0
        for node in range(bins + 1):
            h = sum(pulse(squared(z[a], z[p]), node) for p in near)
            before = sum(pulse(squared(z[a], z[p]), k) for p in near for k in range(node + 1))
            everyone = before + sum(pulse(squared(z[a], z[n]), k) for n in far for k in range(node + 1))
            if everyone > 0:
                precision = precision + before * h / everyone
        if near:
            values.append(1 - precision / len(near))
    return mean(values)


def smooth_ap(z, labels, temperature=0.01, with_query=False):
    values = []
    for a in range(len(z)):
        near, far = positives(labels, a), negatives(labels, a)
        if not near:
            continue
        near = [*near, a] if with_query else near
        precisions = []
        for i in near:
            above = {
                j: torch.sigmoid((cosine(z[a], z[j]) - cosine(z[a], z[i])) / temperature)
                for j in [*near, *far]
                if j != i
            }
            rank = 1 + sum(above[j] for j in near if j != i)
            precisions.append(rank / (1 + sum(above.values())))
        values.append(1 - mean(precisions))
    return mean(values)


def histogram(z, labels, bins=100):
    width = 2 / bins
    pairs = list(itertools.combinations(range(len(z)), 2))
    near = [cosine(z[i], z[j]) for i, j in pairs if labels[i] == labels[j]]
    far = [cosine(z[i], z[j]) for i, j in pairs if labels[i] != labels[j]]

    def density(values, node):
        return mean(hinge(1 - abs(s - (-1 + node * width)) / width) for s in values)

    total, running = torch.tensor(0.0, dtype=torch.float64), 0.0
    for node in range(bins + 1):
        running = running + density(near, node)
        total = total + density(far, node) * running
    return total


# Classifiers and proxies ----------------------------------------------------------------------------------------------


def cross_entropy(logits, label):
    return -torch.log(torch.exp(logits[label]) / sum(torch.exp(v) for v in logits))


def normalized_softmax(z, labels, weight, temperature=0.05):
    rows = zip(z, labels.tolist(), strict=True)
    return mean(cross_entropy([cosine(x, w) / temperature for w in weight], y) for x, y in rows)


def arc(rows, labels, margin, scale):
    values = []
    for cosines, y in zip(rows, labels.tolist(), strict=True):
        theta = torch.acos(cosines[y])
        own = torch.cos(theta + margin) if theta + margin < math.pi else cosines[y] - margin * math.sin(margin)
        values.append(cross_entropy([scale * (own if c == y else v) for c, v in enumerate(cosines)], y))
    return mean(values)


def arcface(z, labels, weight, margin=0.5, scale=64.0):
    return arc([[cosine(x, w) for w in weight] for x in z], labels, margin, scale)


def sub_center_arcface(z, labels, weight, margin=0.5, scale=64.0):
    return arc([[max(cosine(x, w) for w in centers) for centers in weight] for x in z], labels, margin, scale)


def cosface(z, labels, weight, margin=0.35, scale=64.0):
    return mean(
        cross_entropy([scale * (cosine(x, w) - margin * (c == y)) for c, w in enumerate(weight)], y)
        for x, y in zip(z, labels.tolist(), strict=True)
    )


def sphereface(z, labels, weight, margin=4, blend=0.0):
    values = []
    for x, y in zip(z, labels.tolist(), strict=True):
        theta = torch.acos(cosine(x, weight[y]))
        k = next(k for k in range(margin) if k * math.pi / margin <= theta <= (k + 1) * math.pi / margin)
        psi = (-1) ** k * torch.cos(margin * theta) - 2 * k
        own = (psi + blend * torch.cos(theta)) / (1 + blend)
        values.append(cross_entropy([norm(x) * (own if c == y else cosine(x, w)) for c, w in enumerate(weight)], y))
    return mean(values)


def proxy_nca(z, labels, proxies, form="nca++", temperature=None):
    t = temperature or (1 if form == "nca" else 1 / 9)
    z, proxies, values = unit(z), unit(proxies), []
    for x, y in zip(z, labels.tolist(), strict=True):
        e = [torch.exp(-squared(x, p) / t) for p in proxies]
        values.append(-torch.log(e[y] / sum(v for c, v in enumerate(e) if form == "nca++" or c != y)))
    return mean(values)


def proxy_anchor(z, labels, proxies, alpha=32.0, margin=0.1):
    near, far = [], []
    for c, p in enumerate(proxies):
        pull = [torch.exp(-alpha * (cosine(x, p) - margin)) for x, y in zip(z, labels, strict=True) if y == c]
        push = [torch.exp(alpha * (cosine(x, p) + margin)) for x, y in zip(z, labels, strict=True) if y != c]
        if pull:
            near.append(torch.log(1 + sum(pull)))
        far.append(torch.log(torch.as_tensor(1 + sum(push), dtype=torch.float64)))
    return mean(near) + mean(far)


def soft_triple(z, labels, centers, scale=20.0, gamma=0.1, margin=0.01, tau=0.2):
    values = []
    for x, y in zip(z, labels.tolist(), strict=True):
        logits = []
        for c, ws in enumerate(centers):
            s = [cosine(x, w) for w in ws]
            e = [torch.exp(v / gamma) for v in s]
            logits.append(scale * (sum(a * b for a, b in zip(e, s, strict=True)) / sum(e) - margin * (c == y)))
        values.append(cross_entropy(logits, y))
    spread = 0.0
    count = centers.shape[1]
    for ws in unit(centers.flatten(0, 1)).view_as(centers):
        spread = spread + sum(torch.sqrt(2 - 2 * dot(a, b)) for a, b in itertools.combinations(ws, 2))
    return mean(values) + tau * spread / (len(centers) * count * (count - 1))


# Distillation ---------------------------------------------------------------------------------------------------------


def distill_kl(student, teacher, temperature=1.0, form="kl", rescale=True):
    values = []
    for s, t in zip(student, teacher, strict=True):
        p = [torch.exp(v / temperature) for v in t]
        q = [torch.exp(v / temperature) for v in s]
        p, q = [v / sum(p) for v in p], [v / sum(q) for v in q]
        values.append(sum(a * (torch.log(a) * (form == "kl") - torch.log(b)) for a, b in zip(p, q, strict=True)))
    return mean(values) * (temperature**2 if rescale else 1)


def distill_mse(student, teacher):
    return mean((a - b) ** 2 for s, t in zip(student, teacher, strict=True) for a, b in zip(s, t, strict=True))


def margin_mse(anchor, positive, negative, teacher_margin):
    rows = zip(anchor, positive, negative, teacher_margin, strict=True)
    return mean((dot(a, p) - dot(a, n) - t) ** 2 for a, p, n, t in rows)


def huber(a, b):
    return (a - b) ** 2 / 2 if abs(a - b) <= 1 else abs(a - b) - 0.5


def rkd_distance(student, teacher):
    pairs = list(itertools.permutations(range(len(student)), 2))
    s = {pair: euclidean(student[pair[0]], student[pair[1]]) for pair in pairs}
    t = {pair: euclidean(teacher[pair[0]], teacher[pair[1]]) for pair in pairs}
    mean_s, mean_t = mean(s.values()), mean(t.values())
    return mean(huber(s[pair] / mean_s, t[pair] / mean_t) for pair in pairs)


def rkd_angle(student, teacher):
    def corner(z, i, j, k):
        return cosine(z[i] - z[j], z[k] - z[j])

    return mean(huber(corner(student, *t), corner(teacher, *t)) for t in itertools.permutations(range(len(student)), 3))


def similarity_preserving(student, teacher):
    def row(z, i):
        g = torch.stack([dot(z[i], z[j]) for j in range(len(z))])
        return g / norm(g)

    return sum(squared(row(student, i), row(teacher, i)) for i in range(len(student))) / len(student) ** 2


# Miners: sets of tuples -----------------------------------------------------------------------------------------------


def margin_pairs(z, labels, positive_margin, negative_margin, d):
    near = {(a, p, False) for a in range(len(z)) for p in positives(labels, a) if d(z[a], z[p]) > positive_margin}
    return near | {(a, n, True) for a in range(len(z)) for n in negatives(labels, a) if d(z[a], z[n]) < negative_margin}


def multi_similarity_pairs(z, labels, epsilon):
    found = set()
    for a in range(len(z)):
        near = {p: cosine(z[a], z[p]) for p in positives(labels, a)}
        far = {n: cosine(z[a], z[n]) for n in negatives(labels, a)}
        if near and far:
            found |= {(a, p, False) for p, s in near.items() if s < max(far.values()) + epsilon}
            found |= {(a, n, True) for n, s in far.items() if s > min(near.values()) - epsilon}
    return found


def margin_triplets(z, labels, margin, kind, d):
    found = set()
    for a, p, n in triplets(labels):
        gap = d(z[a], z[n]) - d(z[a], z[p])
        fits = {
            "all": gap <= margin,
            "easy": gap > margin,
            "hard": gap <= min(0, margin),
            "semihard": 0 < gap <= margin,
        }
        if fits[kind]:
            found.add((a, p, n))
    return found


def angular_triplets(z, labels, degrees):
    z, found = unit(z), set()
    for a, p, n in triplets(labels):
        alpha = torch.atan2(euclidean(z[a], z[p]), 2 * euclidean(z[n], (z[a] + z[p]) / 2))
        if math.degrees(alpha) > degrees:
            found.add((a, p, n))
    return found


def easy_hard_triplets(z, labels, positive, negative, d):
    found = set()
    for a in range(len(z)):
        near = {p: float(d(z[a], z[p])) for p in positives(labels, a)}
        far = {n: float(d(z[a], z[n])) for n in negatives(labels, a)}
        if not near or not far:
            continue
        chosen = list(near)
        if positive == "semihard":
            limit = min(far.values()) if negative == "hard" else max(far.values())
            chosen = [p for p in near if near[p] < limit]
        if positive != "all" and chosen:
            chosen = [(min if positive == "easy" else max)(chosen, key=near.get)]
        for p in chosen:
            others = [n for n in far if negative != "semihard" or far[n] > near[p]]
            if negative != "all" and others:
                others = [(max if negative == "easy" else min)(others, key=far.get)]
            found |= {(a, p, n) for n in others}
    return found
