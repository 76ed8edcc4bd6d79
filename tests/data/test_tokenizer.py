"""The byte-pair tokenizer: no unknown text, one length a batch, the same after saving."""

from __future__ import annotations

import pytest
import torch

from nearfar.data.tokenizer import SPECIAL, Tokenizer, train_tokenizer
from nearfar.errors import InputError, RunError

TEXTS = ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog", "the mat and the log"] * 5


def test_any_text_comes_back() -> None:
    tokenizer = train_tokenizer(TEXTS, vocabulary=300, lowercase=False)
    for text in ("the cat", "Grüße \U0001f600 \x07", "x" * 50):
        ids = tokenizer([text], length=200)[0]["input_ids"][0].tolist()
        assert tokenizer.inner.decode(ids, skip_special_tokens=True).strip() == text
    assert tokenizer.size <= 300
    assert [tokenizer.inner.token_to_id(name) for name in SPECIAL] == [0, 1, 2, 3, 4]


def test_rows_are_filled_up_and_cut() -> None:
    tokenizer = train_tokenizer(TEXTS, vocabulary=300)
    one, two = tokenizer(["the cat", "the"], ["the mat and the log " * 20], length=12)
    assert one["input_ids"].shape == (2, 12)
    assert two["input_ids"].shape == (1, 12)
    assert two["attention_mask"].sum() == 12
    assert two["input_ids"][0, -1] == tokenizer.inner.token_to_id("[SEP]")
    assert bool((one["input_ids"][one["attention_mask"] == 0] == 0).all())
    assert one["input_ids"].dtype == torch.int64
    assert tokenizer(["the"], length=64)[0]["input_ids"].shape == (1, 8)


def test_lower_case_is_a_choice() -> None:
    lower, kept = train_tokenizer(TEXTS), train_tokenizer(TEXTS, lowercase=False)
    assert torch.equal(lower(["The Cat"], length=8)[0]["input_ids"], lower(["the cat"], length=8)[0]["input_ids"])
    assert not torch.equal(kept(["The Cat"], length=16)[0]["input_ids"], kept(["the cat"], length=16)[0]["input_ids"])


def test_saving_keeps_every_number() -> None:
    tokenizer = train_tokenizer(TEXTS)
    again = Tokenizer.from_json(tokenizer.to_json(), tokenizer.facts())
    for mine, theirs in zip(tokenizer(TEXTS, length=8), again(TEXTS, length=8), strict=True):
        assert torch.equal(mine["input_ids"], theirs["input_ids"])
    assert train_tokenizer(TEXTS).to_json() == tokenizer.to_json()


def test_padding_on_the_left() -> None:
    tokenizer = train_tokenizer(TEXTS)
    left = Tokenizer.from_json(tokenizer.to_json(), {**tokenizer.facts(), "left": True})
    made = left(["the", "the cat sat on the mat"], length=8)[0]
    assert made["attention_mask"][0].tolist() == [0] * 5 + [1] * 3


def test_bad_settings_and_files() -> None:
    with pytest.raises(InputError, match="vocabulary must be >= 262, got 100"):
        train_tokenizer(TEXTS, vocabulary=100)
    with pytest.raises(RunError, match="cannot be read as a tokenizer"):
        Tokenizer.from_json("{}", {})
