"""Texts: lines, columns, pairs and documents; seen through dropout, deletions and spans; encoded by transformers."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nearfar.config import from_mapping, to_mapping
from nearfar.data import DecodedSource, Glance, Source, Views
from nearfar.data.text_files import LINES, TABLES
from nearfar.data.texts import TEXTS, TextColumns, TextSource, open_text_splits
from nearfar.data.tokenizer import Tokenizer, train_tokenizer
from nearfar.encoders import ENCODERS, EncoderSpec
from nearfar.errors import ConfigError, DataError, RunError, require
from nearfar.modalities.base import Inputs, Media, Modality
from nearfar.modalities.drawn_text import text_picture
from nearfar.modalities.sentence_folder import sentence_folder
from nearfar.progress import say
from nearfar.views.text import TEXT_VIEWS, TextView, draw_texts

__all__ = ["TEXT", "TextInputs", "TextOptions"]

TOKENIZER = "tokenizer.json"
"""The tokenizer's file beside the encoder's."""

TRANSFORMERS = "transformers"
"""The encoder that wraps Hugging Face's models."""

COLUMNS = ("columns", "label", "score")
"""The settings that name columns."""

SHOWN_TO_TOKENIZER = 1_000_000
"""The tokenizer learns from that many texts, spread evenly over all."""

RAW_WIDTH = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextOptions:
    """How texts are read.

    Attributes:
        columns: which columns of a table hold texts: one, those of a pair or triplet, or several texts of one thing;
            in one text they are parted by commas.
        label: the column of classes.
        score: the column that says how alike the texts of a pair are.
        encoding: of the files.
        length: the most tokens of a text; the rest is cut off.
        vocabulary: how many tokens the tokenizer makes, when it is trained on the data.
        lowercase: put texts into lower case, when the tokenizer is trained on the data.
        model: a folder or hub name of a Hugging Face model to start from: its tokenizer and its weights.
    """

    columns: tuple[str, ...] | str = ()
    label: str | None = None
    score: str | None = None
    encoding: str = "utf-8"
    length: int = 64
    vocabulary: int = 8192
    lowercase: bool = True
    model: str = ""

    def __post_init__(self) -> None:
        """Part the columns' names, and check every number.

        Raises:
            ConfigError: on the first that is out of range.
        """
        if isinstance(self.columns, str):
            object.__setattr__(self, "columns", tuple(name.strip() for name in self.columns.split(",") if name.strip()))
        require(self.length >= 4, "data of text", "length", ">= 4", self.length, error=ConfigError)
        require(self.vocabulary >= 262, "data of text", "vocabulary", ">= 262", self.vocabulary, error=ConfigError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextInputs(Inputs):
    """What is known of texts.

    Attributes:
        read_with: the settings that the training texts were read with.
        width: texts a row.
        tokenizer: from texts to numbers; its file stands beside ``encoder.json``.
    """

    modality: ClassVar[str] = "text"
    raw_name: ClassVar[str] = "hashed word counts"

    read_with: TextOptions
    width: int
    tokenizer: Tokenizer

    @property
    def default_views(self) -> str:  # type: ignore[override]
        """The text twice; of rows with two texts or three, the pair; of more, any two."""
        return "dropout" if self.width == 1 else "pairs" if self.width <= 3 else "any"

    @property
    def default_encoder(self) -> str:  # type: ignore[override]
        """text-small, or the model that was named."""
        return TRANSFORMERS if self.read_with.model else "text-small"

    @property
    def options(self) -> dict[str, Any]:
        """All settings of reading."""
        return to_mapping(self.read_with)

    def reading(self, who: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the run's settings and those given; the run's columns are taken where further data have them."""
        named = any(given.get(key) for key in COLUMNS)
        return {**super().reading(who, given), "where_there": not named}

    def to_json(self) -> dict[str, Any]:
        """Return the settings of reading, the width, and what the tokenizer's file does not say."""
        return {"reading": to_mapping(self.read_with), "width": self.width, "tokenizer": self.tokenizer.facts()}

    def files(self) -> dict[str, bytes]:
        """Return the tokenizer."""
        return {TOKENIZER: self.tokenizer.to_json().encode()}

    def encoder_files(self, encoder: nn.Module) -> dict[str, bytes]:
        """Return the folder that sentence-transformers opens, for encoders of ours."""
        return sentence_folder(encoder, self.tokenizer, self.read_with.length)

    def views(self, name: str) -> tuple[TextView, ...]:
        """Return the views of a name, of these texts' length; pairs of longer rows have more views: hard negatives."""
        if name == "pairs" or (name == "auto" and self.default_views == "pairs"):
            return tuple(TextView(length=self.read_with.length, column=place) for place in range(self.width))
        return tuple(TEXT_VIEWS.get(self.default_views if name == "auto" else name)(self.read_with.length))

    def evaluation_view(self) -> TextView:
        """Return the whole of the first text."""
        return TextView(length=self.read_with.length)

    @property
    def view_words(self) -> str:
        """The evaluation view in words."""
        which = "the text" if self.width == 1 else "the first text of a row"
        return f"{which}, at most {self.read_with.length} tokens"

    def make_views(self, items: Any, views: Sequence[Any], rng: np.random.Generator) -> Sequence[Views]:
        """Return ``input_ids`` and ``attention_mask``, (N, L) int64, of each view; L is the same in all of them."""
        rows = [_row(item) for item in items]
        drawn = draw_texts(rows, views, rng)
        distinct = list({id(texts): texts for texts in drawn}.values())
        made = self.tokenizer(*distinct, length=max(view.length for view in views))
        place = {id(texts): number for number, texts in enumerate(distinct)}
        return [made[place[id(texts)]] for texts in drawn]

    def encoder_arguments(self) -> dict[str, Any]:
        """Return the numbers of tokens: of all, and of a text."""
        return {"vocabulary": self.tokenizer.size, "length": self.read_with.length}

    def build_encoder(
        self, name: str, options: Mapping[str, Any], *, pretrained: bool = False
    ) -> tuple[nn.Module, EncoderSpec]:
        """Build ``text-small``, ``transformers`` from scratch, or the model that the texts' settings name."""
        model = self.read_with.model
        if name != TRANSFORMERS or not model:
            return super().build_encoder(name, options, pretrained=pretrained)
        from nearfar.encoders.hub import read_config
        from nearfar.encoders.hugging_face import TransformersEncoder

        architecture, config = read_config(model)
        own = {"architecture": architecture, "config": config}
        encoder, spec = super().build_encoder(name, {**options, **own})
        assert isinstance(encoder, TransformersEncoder)
        encoder.load(model)
        return encoder, spec

    def describe(self) -> str:
        """Return what goes into the encoder."""
        made = f"of {self.read_with.model}" if self.read_with.model else "learnt from these texts"
        return f"{self.view_words}, {self.tokenizer.size:,} tokens {made}"

    def sides(self, item: Any) -> tuple[str, str]:
        """Return the first two texts of a row."""
        row = _row(item)
        fix = "name their columns: --input-options.columns"
        require(len(row) >= 2, "pairs", "items", "of two texts", "single texts", fix, error=DataError)
        return row[0], row[1]

    def raw(self, items: Any) -> NDArray[np.float32]:
        """Return (N, 4096) counts of words, hashed to columns, each row of norm 1."""
        from sklearn.feature_extraction.text import HashingVectorizer

        words = HashingVectorizer(n_features=RAW_WIDTH, alternate_sign=False)
        counts: NDArray[np.float32] = words.transform([_row(item)[0] for item in items]).toarray().astype(np.float32)
        return counts

    def keep(self, source: Source, **_: Any) -> DecodedSource:
        """Return the source, which is in memory already, with what its reader left out, and how many texts it cut."""
        found = source
        while not isinstance(found, TextSource) and hasattr(found, "source"):
            found = found.source
        cut = getattr(found, "cut", 0)
        return DecodedSource(source, getattr(found, "skipped", ()), "memory", notes={"cut": cut} if cut else None)

    def thumbnail(self, item: Any) -> NDArray[Any]:
        """Return the text as a picture."""
        return text_picture(self.words(item))

    def media(self, item: Any) -> Media | None:
        """Return the texts of a row, one a line."""
        return Media("text/plain", "\n".join(_row(item)).encode())

    def words(self, item: Any) -> str:
        """Return the texts of a row."""
        return " | ".join(_row(item))

    def picture(self, view: Views, row: int) -> NDArray[Any]:
        """Return the tokens of one row as the text that they make."""
        assert not isinstance(view, torch.Tensor)
        ids = view["input_ids"][row][view["attention_mask"][row].bool()].tolist()
        return text_picture(self.tokenizer.inner.decode(ids, skip_special_tokens=True))

    def preprocessing(self) -> dict[str, Any]:
        """Return what becomes of a text."""
        return {"tokenizer": TOKENIZER, "length": self.read_with.length, "padding_token": self.tokenizer.pad}


class TextModality(Modality):
    """Texts."""

    name = "text"
    items = "texts"
    labels_fix = "add a column label, or use simcse"
    query = "a text, or a file of texts"
    options = TextOptions
    inputs = TextInputs
    fixed = frozenset({"length", "column"})
    given = ("vocabulary", "length")

    def recognises(self, seen: Glance) -> bool:
        """Whether there are files of lines, or columns with the usual names of texts and none of images or numbers."""
        names = {name.strip().lower() for name in seen.columns}
        texts = any(all(name in names for name in group[:2]) for group in TEXTS)
        if "path" in names or "image" in names:
            return False
        if seen.kind == "object":
            return texts or _is_texts(seen.data)
        suffixes = [suffix for suffix in seen.suffixes if suffix != ".gz"] or list(_below_gz(seen))
        lines = bool(suffixes) and suffixes[0] in LINES | {".jsonl"}
        return lines or (texts and bool(suffixes) and suffixes[0] in TABLES)

    def open_splits(self, data: Any, options: Mapping[str, Any]) -> dict[str, Source]:
        """Open files, folders, lists and columns of texts."""
        names = tuple(options.get("columns") or ())
        there = bool(options.get("where_there"))
        columns = TextColumns(names, options.get("label"), options.get("score"), where_there=there)
        parts = open_text_splits(data, columns=columns, encoding=options.get("encoding") or "utf-8")
        whole = parts[""]
        if isinstance(whole, TextSource) and whole.cut:
            say(f"{whole.who}: {whole.cut} texts are longer than 10,000 characters, and were cut")
        return parts

    def fit(self, source: Source, options: Mapping[str, Any]) -> TextInputs:
        """Train a tokenizer on all texts of the rows, or take the one of the model that is named."""
        reading = from_mapping(TextOptions, options, "data of text")
        width = len(_row(source.read(0)))
        if reading.model:
            from nearfar.encoders.hugging_face import read_tokenizer

            inner, pad, left = read_tokenizer(reading.model)
            return TextInputs(read_with=reading, width=width, tokenizer=Tokenizer(inner, pad=pad, left=left))
        rows = np.unique(np.linspace(0, len(source) - 1, SHOWN_TO_TOKENIZER).round().astype(np.int64))
        texts = (text for row in rows for text in _row(source.read(int(row))))
        tokenizer = train_tokenizer(texts, vocabulary=reading.vocabulary, lowercase=reading.lowercase)
        return TextInputs(read_with=reading, width=width, tokenizer=tokenizer)

    def views(self, name: str) -> tuple[TextView, ...]:
        """Return the views of a name at the default length."""
        return tuple(TEXT_VIEWS.get(name)(TextOptions().length))

    def view_names(self) -> list[str]:
        """Return the names of the registry."""
        return TEXT_VIEWS.names()

    def check_encoder(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Check one of our encoders; a model's name belongs to the data, since its tokenizer goes with it."""
        if name not in ENCODERS and (os.sep in name or "/" in name or Path(name).is_dir()):
            fix = f"add --input-options.model {name}, which takes its tokenizer as well, and leave --encoder out"
            raise ConfigError(f"encoder: a model's name must be given with the data, got it as the encoder; {fix}")
        return super().check_encoder(name, options)

    def restore(self, values: Mapping[str, Any], folder: Path | None = None) -> TextInputs:
        """Read the tokenizer's file again."""
        require(folder is not None, "texts", "folder", "that of the run, which holds tokenizer.json", "none",
                error=RunError)  # fmt: skip
        assert folder is not None
        path = folder / TOKENIZER
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise RunError(f"{path}: cannot be read ({error.strerror}); copy the run's folder again") from None
        reading = from_mapping(TextOptions, values["reading"], str(folder / "encoder.json"))
        tokenizer = Tokenizer.from_json(text, values["tokenizer"], str(path))
        return TextInputs(read_with=reading, width=int(values["width"]), tokenizer=tokenizer)

    def open_query(self, query: Any, inputs: Inputs) -> Source:
        """Open a file of texts; anything else that is text is itself the query."""
        if isinstance(query, str) and not Path(query).exists():
            require(query.strip() != "", "search", "query", "a text", "an empty one", error=DataError)
            return TextSource([(query,)], [query[:200]])
        return self.open_splits(query, inputs.options)[""]


def _row(item: Any) -> tuple[str, ...]:
    return (item,) if isinstance(item, str) else tuple(item)


def _is_texts(data: Any) -> bool:
    if not isinstance(data, Sequence) or isinstance(data, str) or not data:
        return False
    first = data[0]
    parts = [first] if isinstance(first, str) else list(first) if isinstance(first, tuple | list) else []
    return bool(parts) and all(isinstance(part, str) for part in parts)


def _below_gz(seen: Glance) -> Sequence[str]:
    path = Path(seen.data) if isinstance(seen.data, str | os.PathLike) else Path()
    return (Path(path.stem).suffix.lower(),) if path.suffix.lower() == ".gz" else ()


TEXT = TextModality()
