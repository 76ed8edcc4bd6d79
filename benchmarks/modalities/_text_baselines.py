"""Baselines without a network: TF-IDF with SVD, and means of word vectors that were learnt by counting."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

Embed = Callable[[Sequence[str]], np.ndarray]

WIDTH = 256


def tfidf(texts: Sequence[str]) -> Embed:
    """TF-IDF of words; as many numbers as words stand in two training texts or more."""
    words = TfidfVectorizer(sublinear_tf=True, min_df=2, max_features=10_000).fit(texts)
    return lambda some: words.transform(some).toarray().astype(np.float32)


def tfidf_svd(texts: Sequence[str]) -> Embed:
    """The same, reduced to 256 numbers by an SVD of the training texts."""
    words = TfidfVectorizer(sublinear_tf=True, min_df=2, max_features=10_000)
    counts = words.fit_transform(texts)
    svd = TruncatedSVD(min(WIDTH, counts.shape[1] - 1), random_state=0).fit(counts)
    return lambda some: svd.transform(words.transform(some)).astype(np.float32)


def word_vectors(texts: Sequence[str], window: int = 4) -> Embed:
    """Means of word vectors, rare words weighing more: the SVD of positive mutual information within four words.

    Levy, Goldberg, "Neural Word Embedding as Implicit Matrix Factorization", NeurIPS 2014, section 4; weights
    a / (a + p), a = 0.001, of Arora, Liang, Ma, "A Simple but Tough-to-Beat Baseline for Sentence Embeddings", ICLR
    2017.
    """
    words = CountVectorizer(min_df=2, max_features=10_000)
    words.fit(texts)
    place, analyse = words.vocabulary_, words.build_analyzer()
    rows, columns = [], []
    for text in texts:
        found = [place[word] for word in analyse(text) if word in place]
        for at, word in enumerate(found):
            near = found[max(0, at - window) : at]
            rows += [word] * len(near)
            columns += near
    size = len(place)
    pairs = scipy.sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), (size, size)).tocsr()
    pairs = (pairs + pairs.T).tocoo()
    total, of_word = pairs.sum(), np.asarray(pairs.sum(axis=1)).ravel()
    values = np.log(pairs.data * total / (of_word[pairs.row] * of_word[pairs.col]))
    positive = scipy.sparse.csr_matrix((np.maximum(values, 0), (pairs.row, pairs.col)), (size, size))
    svd = TruncatedSVD(WIDTH, random_state=0)
    vectors = svd.fit_transform(positive) / np.sqrt(np.maximum(svd.singular_values_, 1e-12))
    share = of_word / of_word.sum()
    vectors *= (1e-3 / (1e-3 + share))[:, None]

    def embed(some: Sequence[str]) -> np.ndarray:
        means = np.zeros((len(some), WIDTH), np.float32)
        for row, text in enumerate(some):
            found = [place[word] for word in analyse(text) if word in place]
            if found:
                means[row] = vectors[found].mean(axis=0)
        return means

    return embed
