"""What a modality is: how items are recognised and opened, and what follows once training rows were looked at."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from nearfar.config import check_options, from_mapping, settings, to_mapping
from nearfar.data import DecodedSource, Glance, Source, Views
from nearfar.encoders import ENCODERS, EncoderSpec, modality_of, rebuild
from nearfar.errors import ConfigError, DataError, nearest, require
from nearfar.modalities.pictures import heat_map

__all__ = ["CUSTOM", "Inputs", "Media", "Modality", "Seen"]

CUSTOM = "custom"
"""What the encoder of a user's own is called in a run."""


class Media(NamedTuple):
    """An item as a file that a browser shows or plays.

    Attributes:
        kind: its type, such as ``"image/png"``, ``"audio/wav"`` or ``"text/plain"``.
        content: the bytes.
    """

    kind: str
    content: bytes


class Seen(NamedTuple):
    """A few items and their views, as pictures.

    Attributes:
        originals: N pictures (H, W, C).
        views: for each view N pictures.
        captions: for each view N texts.
        value_range: the values of the views that are black and white; ``None`` takes their own.
    """

    originals: list[NDArray[Any]]
    views: list[list[NDArray[Any]]]
    captions: list[list[str]]
    value_range: tuple[float, float] | None = None


class Inputs(abc.ABC):
    """What is known about items once the training rows were looked at, and all that follows from it.

    A subclass is usually a frozen dataclass whose fields are plain values: `to_json` and `Modality.restore` then need
    no code. It is made by `Modality.fit`, saved with the encoder, and never changed afterwards, so that items are
    shown to the encoder in one way for ever.

    Attributes:
        modality: the modality's name.
        raw_name: what `raw` returns, in words: ``"raw columns"``.
        default_views: the name of the views that fit these items.
        default_encoder: the name of the encoder that fits these items.
    """

    modality: ClassVar[str]
    raw_name: ClassVar[str] = "raw values"
    default_views: str
    default_encoder: str

    # What is saved, and how data of the same sort are opened again.

    def to_json(self) -> dict[str, Any]:
        """Return all that `Modality.restore` needs beside `files`, as plain values."""
        return to_mapping(self)

    def files(self) -> dict[str, bytes]:
        """Return further files, name to content, that stand in the run's folder ``inputs``: a tokenizer, arrays."""
        return {}

    def encoder_files(self, encoder: nn.Module) -> dict[str, bytes]:
        """Return files, place to content, by which other libraries open the trained encoder; written beside it."""
        return {}

    @property
    def options(self) -> dict[str, Any]:
        """The settings that data are opened with, all written out; see `Modality.options`."""
        return {}

    def reading(self, who: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that further data are opened with: the run's own, and what was given for them.

        Args:
            who: the verb or encoder, for errors.
            given: checked settings.

        Raises:
            ConfigError: when they contradict what the encoder was trained on.
        """
        return {**self.options, **given}

    # Views.

    @abc.abstractmethod
    def views(self, name: str) -> tuple[Any, ...]:
        """Return the descriptions of views: frozen dataclasses whose fields are ``--view-options``.

        Raises:
            ConfigError: on an unknown name.
        """

    @abc.abstractmethod
    def evaluation_view(self) -> Any:
        """Return the description of the one view that embeddings are made from; nothing random is in it."""

    def light_view(self, view: Any) -> Any:
        """Return the description of the view that labels are learnt with; by default the one of evaluation.

        Args:
            view: the first view of pretraining, with the run's settings: what it must not do is not done here either.
        """
        return self.evaluation_view()

    @property
    @abc.abstractmethod
    def view_words(self) -> str:
        """The evaluation view in words; it stands beside every number."""

    @abc.abstractmethod
    def make_views(self, items: Any, views: Sequence[Any], rng: np.random.Generator) -> Sequence[Views]:
        """Make the views of a batch: a tensor whose first axis is the items, or a mapping of such tensors, for each.

        Called on several threads at once. Whatever is random is drawn from ``rng``, which depends on seed, epoch and
        batch alone: the same batch has the same views on any number of threads and after a resume.

        Args:
            items: what the source reads: a list of items, or one array whose first axis is the items.
            views: descriptions from `views` or `evaluation_view`.
            rng: the batch's own generator.
        """

    # Encoders.

    def encoder_arguments(self) -> dict[str, Any]:
        """Return what the constructor of an encoder is given besides its settings: numbers of columns, of channels."""
        return {}

    def build_encoder(
        self, name: str, options: Mapping[str, Any], *, pretrained: bool = False
    ) -> tuple[nn.Module, EncoderSpec]:
        """Build an encoder by name with fresh weights, and the specification that builds it again.

        Args:
            name: of `nearfar.encoders.ENCODERS`, see `Modality.check_encoder`.
            options: settings of the encoder, checked against its signature.
            pretrained: start from published weights, where the encoder has any.

        Raises:
            ConfigError: on an unknown name or setting.
        """
        require(not pretrained, f"encoder {name}", "pretrained", "false: it has no published weights", pretrained,
                error=ConfigError)  # fmt: skip
        arguments = self.encoder_arguments()
        factory = ENCODERS.get(name)
        checked = check_options(f"encoder {name}", factory, options, without=arguments)
        plain = {key: setting.default for key, setting in settings(factory).items() if key not in arguments}
        spec = dataclasses.replace(self.spec(name), options={**plain, **checked}, arguments=arguments)
        encoder = rebuild(spec)
        return encoder, dataclasses.replace(spec, dim=int(encoder.dim))  # type: ignore[arg-type]

    def spec(self, name: str, dim: int = 0) -> EncoderSpec:
        """Return the specification of an encoder of these inputs, such as one of the user's own."""
        return EncoderSpec(name=name, dim=dim, modality=self.modality, inputs=self.to_json())

    def describe(self) -> str:
        """Return what goes into the encoder, in a few words for the person who waits."""
        return self.view_words

    # Two sides of an item, where it has two.

    side_names: ClassVar[tuple[str, str]] = ("first", "second")

    def sides(self, item: Any) -> tuple[Any, Any]:
        """Return the two sides of an item, each as `make_views` takes it: two texts, a picture and its caption.

        Raises:
            DataError: when an item has no two sides.
        """
        raise DataError(f"pairs: items must be of two texts, or images with captions, got {self.modality}")

    # Baselines and pictures.

    @abc.abstractmethod
    def raw(self, items: Any) -> NDArray[np.float32]:
        """Return (N, d) plain features without any learning, the baseline: pixels, columns, word counts."""

    def keep(
        self,
        source: Source,
        *,
        cache: Literal["memory", "disk", "off"] = "memory",
        threads: int | None = None,
        limit_bytes: int | None = None,
        whole: bool = False,
    ) -> DecodedSource:
        """Return the source with what can be read once and kept; items are read whenever asked for by default.

        Args:
            source: the items.
            cache: where the run wants them.
            threads: that read.
            limit_bytes: the most memory.
            whole: as they stand, for scoring, and not only as much of them as training views need.
        """
        return DecodedSource(source, (), "memory")

    def thumbnail(self, item: Any) -> NDArray[Any]:
        """Return a small picture of an item, (H, W, C) uint8 with 1 or 3 channels."""
        return heat_map(np.asarray(item, dtype=np.float32))

    def media(self, item: Any) -> Media | None:
        """Return an item as a file that a browser shows or plays, ``None`` where its thumbnail must do."""
        return None

    def words(self, item: Any) -> str:
        """Return an item in a few words, for lists of neighbours; ``""`` where its picture must do."""
        return ""

    def picture(self, view: Views, row: int) -> NDArray[Any]:
        """Return one row of a view as a picture, (H, W, C) uint8 with 1 or 3 channels."""
        part = view[row] if isinstance(view, Tensor) else next(iter(view.values()))[row]
        return heat_map(part.float().numpy())

    def seen(self, items: Sequence[Any], views: Sequence[Any], rng: np.random.Generator) -> Seen:
        """Return a few items and their views as pictures: what the method sees."""
        made = self.make_views(list(items), views, rng)
        return Seen(
            [self.thumbnail(item) for item in items],
            [[self.picture(view, row) for row in range(len(items))] for view in made],
            [[f"view {number + 1}"] * len(items) for number in range(len(made))],
        )

    # Words for advice and for exports.

    def remedies(self, views: Sequence[Any]) -> list[str]:
        """Return what would make these views cheaper, strongest first, when training waits for them."""
        return []

    def preprocessing(self) -> dict[str, Any]:
        """Return how an item becomes what the encoder takes, as plain values for an export's description."""
        return {"view": self.view_words}

    def example(self, count: int) -> Views:
        """Return ``count`` made-up rows as the encoder takes them, for tracing a graph.

        Raises:
            ConfigError: when the encoder's inputs are not a single tensor of fixed size.
        """
        raise ConfigError(f"export: graphs of {self.modality} encoders are not supported; take safetensors")


class Modality(abc.ABC):
    """One kind of data: the only place that knows it. An instance has no state.

    Attributes:
        name: as in ``--modality``.
        items: what its items are called, in the plural: ``"images"``.
        labels_fix: what to do about missing labels.
        query: what `open_query` takes, in words.
        options: a frozen dataclass of the settings that data are opened and fitted with, ``--input-options``.
        inputs: the class of what `fit` returns.
        fixed: fields of a view's description that are no settings.
        given: what an encoder's constructor is given besides its settings, see `Inputs.encoder_arguments`.
    """

    name: ClassVar[str]
    items: ClassVar[str] = "items"
    labels_fix: ClassVar[str] = "add a label column, or use simclr"
    query: ClassVar[str] = "a file of items"
    options: ClassVar[type[Any]]
    inputs: ClassVar[type[Inputs]]
    fixed: ClassVar[frozenset[str]] = frozenset()
    given: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def recognises(self, seen: Glance) -> bool:
        """Whether these data are this modality's; asked where ``--modality`` is ``auto``."""

    @abc.abstractmethod
    def open_splits(self, data: Any, options: Mapping[str, Any]) -> dict[str, Source]:
        """Open data: everything under ``""``, and each split under its name where there are splits.

        Args:
            data: a path, an array, an object.
            options: checked settings (`check_options`); what is missing is at its default.

        Raises:
            DataError: when they cannot be used.
        """

    @abc.abstractmethod
    def fit(self, source: Source, options: Mapping[str, Any]) -> Inputs:
        """Look at the training rows, and at nothing else, and return what is known from now on.

        Raises:
            DataError: when they cannot be used.
        """

    def fit_for(self, encoder: str, source: Source, options: Mapping[str, Any]) -> Inputs:
        """Return what `fit` does, with what an encoder of that name prefers where the options leave it open.

        Raises:
            DataError: when the rows cannot be used.
        """
        return self.fit(source, options)

    @abc.abstractmethod
    def views(self, name: str) -> tuple[Any, ...]:
        """Return descriptions of views as `Inputs.views` does, before any data were seen, to check settings with."""

    @abc.abstractmethod
    def view_names(self) -> list[str]:
        """Return the names of all views."""

    def restore(self, values: Mapping[str, Any], folder: Path | None = None) -> Inputs:
        """Return the inputs that `Inputs.to_json` and `Inputs.files` were written from.

        Args:
            values: of `Inputs.to_json`.
            folder: where the files stand: the run's ``inputs``.

        Raises:
            RunError: when a file is missing or damaged.
        """
        return from_mapping(self.inputs, values, f"inputs of {self.name}")

    def from_spec(self, spec: EncoderSpec, folder: Path | None = None) -> Inputs:
        """Return the inputs of a saved encoder."""
        return self.restore(spec.inputs, folder)

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings of reading, converted to their types; those that are ``None`` are left out.

        Raises:
            ConfigError: on an unknown setting or a value of the wrong type.
        """
        given = {key: value for key, value in options.items() if value is not None}
        known = {field.name for field in dataclasses.fields(self.options)}
        for key in given:
            if key not in known:
                raise ConfigError(f"data of {self.name}: unknown setting {key!r}; {nearest(key, known)}")
        checked = to_mapping(from_mapping(self.options, given, f"data of {self.name}"))
        return {key: checked[key] for key in given}

    def check_encoder(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return an encoder's settings, converted to their types; called before any item is read.

        Raises:
            ConfigError: on an unknown encoder or setting, or an encoder for another modality.
        """
        if name not in ENCODERS or modality_of(name) != self.name:
            known = [key for key in ENCODERS.names() if modality_of(key) == self.name]
            raise ConfigError(f"encoder: must be one for {self.name}, got {name!r}; {nearest(name, known)}")
        return check_options(f"encoder {name}", ENCODERS.get(name), options, without=self.given)

    def open_query(self, query: Any, inputs: Inputs) -> Source:
        """Open what is searched for: by default whatever `open_splits` opens."""
        return self.open_splits(query, inputs.reading("search", {}))[""]

    def stock(self, name: str, options: Mapping[str, Any], *, pretrained: bool) -> tuple[nn.Module, EncoderSpec] | None:
        """Return an encoder that needs no training rows, by name; ``None`` where all need some."""
        return None
