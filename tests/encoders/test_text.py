"""Encoders of texts: pooling by hand, padding without effect, and the same numbers as Hugging Face's BERT."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

from nearfar.encoders.text import TextTransformer, bert_config, bert_state, pool
from nearfar.errors import InputError


def tokens(n: int = 5, length: int = 8, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, length + 1, (n,), generator=generator)
    mask = (torch.arange(length)[None] < counts[:, None]).long()
    return {"input_ids": torch.randint(5, 40, (n, length), generator=generator) * mask, "attention_mask": mask}


def encoder(**settings: Any) -> TextTransformer:
    torch.manual_seed(0)
    return TextTransformer(vocabulary=40, length=16, width=8, heads=2, hidden=12, **settings).eval()


def test_pooling_by_a_slow_loop() -> None:
    x = tokens()
    mask = x["attention_mask"]
    states = torch.randn(5, 8, 3, generator=torch.Generator().manual_seed(1))
    for row in range(5):
        there = states[row][mask[row].bool()]
        torch.testing.assert_close(pool(states, mask, "mean")[row], there.mean(0))
        torch.testing.assert_close(pool(states, mask, "cls")[row], there[0])
        torch.testing.assert_close(pool(states, mask, "last")[row], there[-1])
    left = mask.flip(1)
    for row in range(5):
        there = states[row][left[row].bool()]
        torch.testing.assert_close(pool(states, left, "cls")[row], there[0])
        torch.testing.assert_close(pool(states, left, "last")[row], there[-1])


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_padding_changes_nothing(depth: int, pooling: Any) -> None:
    model, x = encoder(depth=depth, pooling=pooling), tokens()
    more = {key: torch.nn.functional.pad(part, (0, 8)) for key, part in x.items()}
    other = {
        "input_ids": more["input_ids"] + 7 * (1 - more["attention_mask"]),
        "attention_mask": more["attention_mask"],
    }
    h = model(x)
    assert h.shape == (5, 8)
    torch.testing.assert_close(model(more), h)
    torch.testing.assert_close(model(other), h)


def test_dropout_makes_two_views_and_evaluation_makes_one() -> None:
    model, x = encoder(), tokens()
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))
    assert torch.equal(encoder(dropout=0.0).train()(x), encoder(dropout=0.0).train()(x))


def test_the_order_of_words_counts_unless_there_is_no_layer() -> None:
    x = tokens(1)
    ids = x["input_ids"][:, x["attention_mask"][0].bool()]
    forth, back = ({"input_ids": part, "attention_mask": torch.ones_like(part)} for part in (ids, ids.flip(1)))
    assert not torch.allclose(encoder()(forth), encoder()(back), atol=1e-5)


def test_too_long_texts_and_wrong_settings_are_refused() -> None:
    with pytest.raises(InputError, match="tokens a text must be <= 16, got 20"):
        encoder()(tokens(2, 20))
    with pytest.raises(InputError, match="width must be divisible by heads, 3, got 8"):
        TextTransformer(width=8, heads=3)
    with pytest.raises(InputError, match=r"dropout must be in \[0, 1\), got 1"):
        TextTransformer(dropout=1)


def test_it_needs_neither_transformers_nor_tokenizers() -> None:
    import subprocess

    code = (
        "import sys; sys.modules['transformers'] = sys.modules['tokenizers'] = None; "
        "from nearfar.encoders.text import TextTransformer; TextTransformer(vocabulary=10, width=8)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("depth", [0, 2])
def test_its_weights_are_hugging_faces_bert(depth: int) -> None:
    transformers = pytest.importorskip("transformers")
    model, x = encoder(depth=depth), tokens()
    config = bert_config(model)
    bert = transformers.BertModel(transformers.BertConfig(**config), add_pooling_layer=False).eval()
    bert.load_state_dict(bert_state(model))
    with torch.no_grad():
        states = bert(**x).last_hidden_state
        torch.testing.assert_close(pool(states, x["attention_mask"], "mean"), model(x), rtol=1e-4, atol=1e-5)
