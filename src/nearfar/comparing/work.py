"""Doing what is not done yet: probes, runs, baselines and scores, each in its place in the folder."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nearfar.comparing.contenders import Contender, encoder_spec, shared
from nearfar.comparing.folder import Folder, read_json, write_json
from nearfar.comparing.parts import Parts
from nearfar.comparing.process import ChildError, run_child
from nearfar.comparing.scoring import Scorer
from nearfar.comparing.settings import Budget, CompareConfig
from nearfar.comparing.timing import epochs_within, trial
from nearfar.config import to_mapping
from nearfar.errors import ConfigError, RunError, require
from nearfar.pipeline.features import open_subject, raw, untrained
from nearfar.pipeline.settings import PretrainConfig
from nearfar.progress import say

__all__ = ["PIXELS", "SCRATCH", "UNTRAINED", "Work", "data_path"]

PIXELS, UNTRAINED, SCRATCH = "raw-pixels", "untrained", "from-scratch"
"""The baselines, as their results are called."""

DIVERGED = "the loss must be finite"
"""What a run says that cannot be trained as it is set: this is a result, not an accident."""


class Work:
    """What a comparison has to do, in an order in which early failures come first.

    Args:
        folder: where everything stands.
        data: a path that every process can open.
        config: the settings.
        parts: the data, opened.
        entries: the methods.
    """

    def __init__(
        self, folder: Folder, data: str, config: CompareConfig, parts: Parts, entries: Sequence[Contender]
    ) -> None:
        self.folder, self.data, self.config, self.parts, self.entries = folder, data, config, parts, entries
        self.shared = shared(config, parts)
        self.budget = Budget.parse(config.budget)
        self.scorer = Scorer(parts, self.shared)
        self.done = 0
        self.total = config.seeds * (len(entries) + 3)

    def do(self) -> dict[str, int]:
        """Do all that is missing; return the epochs of each method.

        Raises:
            ConfigError: when the budget holds no epoch of some method.
            RunError: when a run fails.
        """
        epochs = {entry.name: self._epochs(entry) for entry in self.entries}
        for seed in self.config.each_seed:
            for entry in self.entries:
                self._method(entry, seed, epochs[entry.name])
            self._baseline(SCRATCH, seed, partial(self._scratch, seed))
            self._baseline(UNTRAINED, seed, partial(self._untrained, seed))
            self._baseline(PIXELS, seed, partial(self._pixels, seed))
        return epochs

    def _method(self, entry: Contender, seed: int, epochs: int) -> None:
        """Pretrain and score one method with one seed, unless both are done."""
        name, run = f"{entry.name}, seed {seed}", self.folder.run(entry.name, seed)
        path = self.folder.result(entry.name, seed)
        found = read_json(path) or {}
        card = read_json(run.path / "encoder.json") or {}
        self.done += 1
        fresh = run.finished and found.get("fingerprint") == card.get("fingerprint")
        if fresh or "failed" in found:
            return
        if not run.finished:
            self._say(f"{name}: {'goes on' if run.path.is_dir() else 'pretrain'}")
            config = dataclasses.replace(entry.config, epochs=epochs, seed=seed)
            failed = self._child("pretrain", name, config).get("failed")
            if failed is not None:
                write_json(path, {"failed": failed})
                return
        self._say(f"{name}: score")
        subject = dataclasses.replace(open_subject(run.path), name=entry.name)
        write_json(path, self.scorer.score(subject, seed))

    def _baseline(self, name: str, seed: int, make: Callable[[], dict[str, Any]]) -> None:
        path = self.folder.result(name, seed)
        self.done += 1
        if read_json(path) is None:
            self._say(f"{name.replace('-', ' ')}, seed {seed}")
            write_json(path, make())

    def _pixels(self, seed: int) -> dict[str, Any]:
        return self.scorer.score(raw(self.parts.inputs), seed, keep=True)

    def _untrained(self, seed: int) -> dict[str, Any]:
        spec = encoder_spec(self.config, self.parts)
        return self.scorer.score(untrained(spec, seed=seed, inputs=self.parts.inputs), seed)

    def _scratch(self, seed: int) -> dict[str, Any]:
        config = dataclasses.replace(self.shared, epochs=self.budget.epochs or 1, seed=seed)
        name = f"from scratch, seed {seed}"
        return self._child("scratch", name, config, seconds=self.budget.seconds)

    def _epochs(self, entry: Contender) -> int:
        """Return the epochs of a method: those of the budget, or as many as fit into its minutes."""
        if self.budget.epochs is not None:
            return self.budget.epochs
        assert self.budget.seconds is not None
        path, batch = self.folder.probe(entry.name), self.config.batch_size
        found = read_json(path)
        if found is None:
            say(f"{entry.name}: how long does an epoch take?")
            found = self._probe(entry)
        fit = epochs_within(self.budget.seconds, found["seconds"], items=len(self.parts.train), batch_size=batch)
        write_json(path, {**found, **fit._asdict()})
        must = f"enough for an epoch of {entry.name}, about {fit.epoch_seconds:.0f} s here"
        fix = "give more, or fewer items by --limit"
        require(fit.epochs >= 1, "compare", "budget", must, self.config.budget, fix, error=ConfigError)
        return fit.epochs

    def _probe(self, entry: Contender) -> dict[str, Any]:
        items, epochs = trial(len(self.parts.train), self.config.batch_size)
        out = self.folder.path / "probes" / entry.name
        config = dataclasses.replace(entry.config, epochs=epochs, checkpoint_seconds=3600.0)
        found = self._child("probe", f"{entry.name}, probe", config, items=items, out=str(out))
        shutil.rmtree(out, ignore_errors=True)
        if "failed" in found:
            raise RunError(f"{entry.name}: {found['failed']}")
        return {**found, "timed_items": items}

    def _child(self, kind: str, name: str, config: PretrainConfig, **more: Any) -> dict[str, Any]:
        """Do a job in a process of its own; a loss that is not finite comes back as ``failed``."""
        job = {
            "kind": kind,
            "name": name,
            "data": self.data,
            "folder": str(self.folder.path),
            "settings": to_mapping(self.config),
            "config": to_mapping(config),
            **more,
        }
        try:
            return run_child(job)
        except ChildError as error:
            if DIVERGED in str(error):
                say(f"{name}: {error}")
                return {"failed": str(error)}
            raise RunError(f"{name}: {error}") from None

    def _say(self, text: str) -> None:
        say(f"[{self.done}/{self.total}] {text}")


def data_path(data: Any, folder: Folder) -> str:
    """Return what the processes open: the path that was given, or the file of images that were in memory."""
    return str(data) if isinstance(data, str | Path) else str(folder.data)
