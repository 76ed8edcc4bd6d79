"""The settings of a comparison: one frozen record, kept in ``compare.yaml``."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Literal, NamedTuple

from nearfar.errors import ConfigError, require
from nearfar.pipeline.settings import SHORT

__all__ = ["Budget", "CompareConfig"]

_BUDGET = re.compile(r"(?P<epochs>[1-9][0-9]*)epochs|(?P<minutes>[0-9]+(\.[0-9]+)?)min")


class Budget(NamedTuple):
    """How much training every method gets: one of the two is set.

    Attributes:
        epochs: passes over the data.
        seconds: of training on this machine.
    """

    epochs: int | None
    seconds: float | None

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read ``20epochs`` or ``10min``.

        Raises:
            ConfigError: on anything else.
        """
        found = _BUDGET.fullmatch(text)
        minutes = float(found["minutes"]) if found and found["minutes"] else None
        ok = found is not None and minutes != 0
        must = "a whole number with 'epochs' or a number with 'min'"
        require(ok, "compare", "budget", must, repr(text), "write 20epochs or 10min", error=ConfigError)
        assert found is not None
        return cls(None, minutes * 60) if minutes is not None else cls(int(found["epochs"]), None)

    @property
    def words(self) -> str:
        """The budget for people: ``20 epochs``."""
        if self.seconds is not None:
            return f"{self.seconds / 60:g} min"
        return f"{self.epochs} epoch{'' if self.epochs == 1 else 's'}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Everything that decides what a comparison's numbers are; the same for all methods.

    Attributes:
        methods: names of methods.
        modality: what the data are; ``auto`` looks at them, as in pretraining.
        input_options: how the data are read, as in pretraining.
        budget: ``20epochs``, or ``10min`` of training.
        seeds: how many; they are ``first_seed``, ``first_seed + 1``, ...
        first_seed: to run other seeds in another folder, perhaps elsewhere.
        recipe_set: where a recipe METHOD/SET exists, the method's options, views and optimiser are those of it;
            ``none`` takes every method's defaults.
        encoder: what to train; ``auto`` as in pretraining.
        encoder_options: settings of the encoder.
        views: for all methods, in place of their recipes' own; ``auto`` leaves these, and takes what fits the images
            where they have none.
        view_options: settings of every view; only with ``views``.
        batch_size: items a step.
        image_size: side of the square views; the images' own, but at most 224, when absent.
        channels: to convert all images to; the images' own when absent.
        train_split: what to learn from; ``train``, or all but a held-out fifth.
        test_split: what is scored; ``test``, ``val`` or the held-out fifth.
        limit: learn from that many items only, the same for all seeds.
        per_class: the numbers of labels per class; those of 1, 10 and 100 that every class has, when empty.
        precision: as in pretraining.
        accelerator: as in pretraining; every run has one device.
        threads: that read images; they change no number.
    """

    methods: tuple[str, ...]
    modality: str = "auto"
    input_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    budget: str = "20epochs"
    seeds: int = 3
    first_seed: int = 0
    recipe_set: str = "small"
    encoder: str = "auto"
    encoder_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    views: str = "auto"
    view_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    batch_size: int = 256
    image_size: int | None = None
    channels: int | None = None
    train_split: str | None = None
    test_split: str | None = None
    limit: int | None = None
    per_class: tuple[int, ...] = ()
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    threads: int | None = None

    @property
    def each_seed(self) -> range:
        """The seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def reading(self) -> dict[str, Any]:
        """How the data are read: ``input_options``, and those of images that have flags of their own."""
        own = {name: getattr(self, name) for name in SHORT if getattr(self, name) is not None}
        return {**self.input_options, **own}

    def __post_init__(self) -> None:
        """Check what has a range.

        Raises:
            ConfigError: on the first that is wrong.
        """
        Budget.parse(self.budget)
        require(len(self.methods) >= 1, "compare", "methods", "one or more", "none", error=ConfigError)
        twice = next((name for name in self.methods if self.methods.count(name) > 1), None)
        require(twice is None, "compare", "methods", "different ones", f"{twice} twice", error=ConfigError)
        at_least = {"seeds": 1, "batch_size": 2, "image_size": 1, "channels": 1, "limit": 2, "threads": 1}
        at_least |= {"first_seed": 0}
        for name, least in at_least.items():
            value = getattr(self, name)
            require(value is None or value >= least, "compare", name, f">= {least}", value, error=ConfigError)
        shots = min(self.per_class, default=1)
        require(shots >= 1, "compare", "per_class", "numbers >= 1", self.per_class, error=ConfigError)
        alone = not self.view_options or self.views != "auto"
        fix = "name the views as well, as in --views cifar"
        require(alone, "compare", "view_options", "given with views", "views auto", fix, error=ConfigError)
