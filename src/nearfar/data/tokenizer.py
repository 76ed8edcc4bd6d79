"""From texts to numbers of tokens: a byte-pair tokenizer trained on the data, or the one that a model came with.

Sennrich, Haddow, Birch, "Neural Machine Translation of Rare Words with Subword Units", ACL 2016,
https://arxiv.org/abs/1508.07909; on bytes, as in Radford et al., "Language Models are Unsupervised Multitask Learners",
2019, section 2.2, so that no text has a character that is unknown.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.errors import RunError, extra, require

__all__ = ["SPECIAL", "Tokenizer", "train_tokenizer"]

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""The tokens that are no text, with the numbers 0 to 4, as BERT has them."""

_STEP = 8
_SHOWN_AT_ONCE = 1_000


class Tokenizer:
    """Texts in, rows of token numbers out; the same text always gives the same row.

    Args:
        inner: a ``tokenizers.Tokenizer``.
        pad: the number of the token that short rows are filled up with.
        left: fill up on the left, as some models that read from left to right want it.
        lowercase: whether texts are put into lower case; told to other libraries.
    """

    def __init__(self, inner: Any, *, pad: int = 0, left: bool = False, lowercase: bool = False) -> None:
        self.inner, self.pad, self.left, self.lowercase = inner, pad, left, lowercase
        inner.no_padding()
        inner.no_truncation()
        self._length = 0
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """The number of tokens, special ones included."""
        return int(self.inner.get_vocab_size(with_added_tokens=True))

    def __call__(self, *groups: Sequence[str], length: int) -> list[dict[str, Tensor]]:
        """Return each group's rows of at most ``length`` tokens; all groups are filled up to one length.

        Returns:
            For each group ``input_ids`` (N, L) int64 and ``attention_mask`` (N, L) int64, 1 where a token stands. L is
            the longest row's, rounded up to a multiple of 8, and at most ``length``.
        """
        texts = [text for group in groups for text in group]
        with self._lock:  # the loader's threads share one; the work inside runs on all cores by itself
            if self._length != length:
                self.inner.enable_truncation(length)
                self._length = length
            rows = [encoding.ids for encoding in self.inner.encode_batch_fast(texts)]
        longest = max((len(row) for row in rows), default=1)
        width = min(length, -(-max(longest, 1) // _STEP) * _STEP)
        ids = np.full((len(rows), width), self.pad, np.int64)
        mask = np.zeros((len(rows), width), np.int64)
        for row, numbers in enumerate(rows):
            place = slice(width - len(numbers), width) if self.left else slice(len(numbers))
            ids[row, place], mask[row, place] = numbers, 1
        return _split(ids, mask, [len(group) for group in groups])

    def facts(self) -> dict[str, Any]:
        """Return what `from_json` needs beside the text."""
        return {"pad": self.pad, "left": self.left, "lowercase": self.lowercase}

    def to_json(self) -> str:
        """Return ``tokenizer.json`` as other libraries read it."""
        with self._lock:
            self.inner.no_truncation()
            self._length = 0
            text: str = self.inner.to_str()
        return text

    @classmethod
    def from_json(cls, text: str, facts: Mapping[str, Any], who: str = "tokenizer") -> Tokenizer:
        """Read what `to_json` wrote, with the `facts`.

        Raises:
            MissingExtraError: when ``tokenizers`` is not installed.
            RunError: when it is something else.
        """
        library: Any = extra("tokenizers", "text", who)
        try:
            return cls(library.Tokenizer.from_str(text), **facts)
        except Exception as error:  # the library raises plain exceptions
            first = (str(error).splitlines() or [""])[0]
            raise RunError(f"{who}: cannot be read as a tokenizer ({first}); copy the run's folder again") from None


def _split(ids: NDArray[np.int64], mask: NDArray[np.int64], sizes: Sequence[int]) -> list[dict[str, Tensor]]:
    ends = list(itertools.accumulate(sizes))
    parts = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    return [
        {"input_ids": torch.from_numpy(ids[part]), "attention_mask": torch.from_numpy(mask[part])} for part in parts
    ]


def train_tokenizer(
    texts: Iterable[str], *, vocabulary: int = 8192, lowercase: bool = True, who: str = "tokenizer"
) -> Tokenizer:
    """Train a byte-pair tokenizer; the same texts give the same one.

    Args:
        texts: to learn from.
        vocabulary: how many tokens to make at most: 5 special ones, 256 bytes, and merges.
        lowercase: put texts into lower case first, which is worth much where texts are few.
        who: what stands first in errors.

    Raises:
        InputError: when ``vocabulary`` leaves no room for merges.
        MissingExtraError: when ``tokenizers`` is not installed.
    """
    least = len(SPECIAL) + 257
    require(vocabulary >= least, who, "vocabulary", f">= {least}", vocabulary)
    library: Any = extra("tokenizers", "text", who)
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

    inner = library.Tokenizer(models.BPE())
    steps: list[Any] = [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])]
    inner.normalizer = normalizers.Sequence(steps)
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(_parts(texts), trainer)
    numbers = [(name, inner.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=numbers
    )
    return Tokenizer(inner, pad=int(inner.token_to_id("[PAD]")), lowercase=lowercase)


def _parts(texts: Iterable[str]) -> Iterable[list[str]]:
    rest = iter(texts)
    while part := list(itertools.islice(rest, _SHOWN_AT_ONCE)):
        yield part
