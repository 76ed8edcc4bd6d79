"""The metrics again, as slow loops in float64 that follow the definitions word by word."""

from __future__ import annotations

import math

import numpy as np


def cosine(a, b):
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def knn(x, y, queries, k, temperature):
    answers = []
    for query in queries.astype(float):
        near = sorted(range(len(x)), key=lambda i: (-cosine(query, x[i].astype(float)), i))[:k]
        votes = {}
        for i in near:
            votes[int(y[i])] = votes.get(int(y[i]), 0.0) + math.exp(cosine(query, x[i].astype(float)) / temperature)
        answers.append(max(sorted(votes), key=votes.get))
    return answers


def ranking(x, query):
    return sorted((i for i in range(len(x)) if i != query), key=lambda i: (-cosine(x[query], x[i]), i))


def retrieval(x, y, ks):
    x = x.astype(float)
    rows = []
    for query in range(len(x)):
        relevant = [int(y[i] == y[query]) for i in ranking(x, query)]
        R = sum(relevant)
        if R == 0:
            continue
        recalls = [float(any(relevant[:k])) for k in ks]
        precisions = [sum(relevant[: i + 1]) / (i + 1) if relevant[i] else 0.0 for i in range(R)]
        rows.append([*recalls, sum(precisions) / R, sum(relevant[:R]) / R, 1 / (relevant.index(1) + 1)])
    return np.array(rows)


def pairs(x, y):
    x = x.astype(float)
    found = [(cosine(x[i], x[j]), y[i] == y[j]) for i in range(len(x)) for j in range(i + 1, len(x))]
    return np.array([s for s, _ in found]), np.array([bool(t) for _, t in found])


def auc(similarities, same):
    wins = total = 0.0
    for a in similarities[same]:
        for b in similarities[~same]:
            wins += 1.0 if a > b else 0.5 if a == b else 0.0
            total += 1
    return wins / total


def uniformity(x, t):
    u = x.astype(float) / np.linalg.norm(x.astype(float), axis=1, keepdims=True)
    n = len(u)
    values = [math.exp(-t * float(np.sum((u[i] - u[j]) ** 2))) for i in range(n) for j in range(i + 1, n)]
    return math.log(sum(values) / len(values))


def class_alignment(x, y):
    u = x.astype(float) / np.linalg.norm(x.astype(float), axis=1, keepdims=True)
    n = len(u)
    values = [float(np.sum((u[i] - u[j]) ** 2)) for i in range(n) for j in range(i + 1, n) if y[i] == y[j]]
    return sum(values) / len(values)
