"""Spoken digits: which digit is said by speakers never heard, and who speaks, from 1, 5 and 10 labels per class.

FOLDER holds ``fsdd/recordings`` (github.com/Jakobovski/free-spoken-digit-dataset): ``{digit}_{speaker}_{take}.wav``,
ten digits by six speakers, fifty takes each, the first five of them for testing.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.record import Timer, table, write
from nearfar.data import Source, take
from nearfar.data.sounds import open_sound_splits
from nearfar.evaluation import Labelled, evaluate
from nearfar.evaluation.fewshot import FewShot, draw_labels
from nearfar.evaluation.verification import Verification
from nearfar.modalities import inputs_of
from nearfar.modalities.audio import AudioInputs
from nearfar.pipeline.features import Subject, features, open_subject, raw, untrained
from nearfar.pipeline.pretrain import pretrain
from nearfar.pipeline.scratch import train_from_scratch
from nearfar.pipeline.settings import PretrainConfig
from nearfar.recipes import sounds as recipes

UNHEARD = ("theo", "yweweler")
"""The last two by name: no view, encoder or setting was chosen on them."""

SHOTS = (1, 5, 10)
STEPS = 60
"""Of training from scratch, at most 100 sounds each: about 40 passes over 100 labels."""

Floats = NDArray[np.float32]


class Data(NamedTuple):
    """The recordings and their digits, speakers and takes."""

    source: Source
    digit: NDArray[np.int64]
    speaker: NDArray[np.int64]
    heard: NDArray[np.bool_]
    early: NDArray[np.bool_]

    @property
    def training(self) -> NDArray[np.int64]:
        """What encoders are pretrained on: the heard speakers' later takes."""
        return np.flatnonzero(self.heard & ~self.early)


def run(folder: Path, seeds: int, *, quick: bool = False) -> None:
    """Measure and write ``modalities_audio``; with ``quick`` one epoch of each recipe, printed alone."""
    with Timer() as timer:
        data = load(folder)
    seconds, found = timer.seconds, []
    for seed in range(seeds):
        with Timer() as timer:
            found.append(measure(data, seed, quick=quick))
        seconds += timer.seconds
        if quick:
            for name, numbers in found[-1].items():
                print(name, numbers, flush=True)
            return
        _write(found, seconds)  # after each seed, so that a stopped script leaves what it has


def _write(found: list[dict[str, dict[str, dict[str, float]]]], seconds: float) -> None:
    """Write what is measured so far."""
    names = list(found[0])
    tables = []
    for task, columns in COLUMNS.items():
        rows = [[name, *(_cell([one[name][task][column] for one in found]) for column in columns)] for name in names]
        tables.append(table(TITLES[task], ["row", *columns], rows))
    write(
        "modalities_audio",
        title="Sound: spoken digits, by digit and by speaker",
        tables=tables,
        notes=[*NOTES, f"{len(found)} seeds of weights, views, order and labels; whole script: {seconds:.0f} s"],
        command=f"uv run python -m benchmarks.modalities audio FOLDER --seeds {len(found)}",
    )


COLUMNS = {
    "digit": [f"{n} per digit" for n in SHOTS],
    "speaker": [f"{n} per speaker" for n in SHOTS],
    "verification": ["EER", "ROC-AUC"],
}
TITLES = {
    "digit": "Which digit? Accuracy on two speakers never heard, %",
    "speaker": "Who speaks? Accuracy over six speakers, two of them new to the encoder, %",
    "verification": "The same speaker? Pairs of recordings of two speakers never heard, %",
}
NOTES = (
    "pretraining: 1,800 recordings (takes 5 to 49 of george, jackson, lucas and nicolas) without labels; theo and "
    "yweweler are never heard in it, and nothing was chosen on them: views and settings were chosen by training on "
    "george, jackson and lucas and testing on nicolas",
    "digit: labels from the four heard speakers, test on all 1,000 recordings of the two others; speaker: labels from "
    "takes 5 to 49 of all six, test on takes 0 to 4 of all six (300)",
    "a linear probe (multinomial logistic regression, C = 1) on n labelled recordings per class, five draws a seed, on "
    "representations whose columns are centred and scaled by the pretraining recordings, for every row alike; the last "
    "epoch, nothing is tuned; ± is the standard deviation over seeds",
    "verification: cosine of the same scaled representations, all 499,500 pairs of 1,000 recordings",
    f"from scratch: the same encoder with a linear layer, cross-entropy on the first draw's labels, {STEPS} steps of "
    "at most 64 recordings, views as simclr/audio's for digits, crops as cola/audio's for speakers; it learns classes, "
    "so it has no place in verification",
    "baselines: mean and standard deviation over time of 40 log-mels, and of 20 MFCCs made from them",
)


def load(folder: Path) -> Data:
    """Decode all recordings once."""
    opened = open_sound_splits(folder / "fsdd" / "recordings", pattern="{label}_{group}_{take}")[""]
    assert opened.labels is not None
    names = np.array(opened.groups)  # type: ignore[attr-defined]
    takes = np.array([int(Path(name).stem.split("_")[2]) for name in opened.ids])
    held = _inputs(opened.rate, 0.7).keep(opened)  # type: ignore[attr-defined]
    speaker = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return Data(held, opened.labels, speaker, ~np.isin(names, UNHEARD), takes < 5)


def _inputs(rate: int, seconds: float) -> AudioInputs:
    return AudioInputs(rate=rate, seconds=seconds, mels=40)


def measure(data: Data, seed: int, *, quick: bool = False) -> dict[str, dict[str, dict[str, float]]]:
    """Return row, task and column to the number of one seed."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    runs = {
        "SimCLR, views of speech": recipes.simclr(),
        "BYOL, views of speech": recipes.byol_words(),
        "SimCLR as COLA, crops": recipes.cola(),
    }
    with tempfile.TemporaryDirectory() as temporary:
        subjects: dict[str, Subject] = {}
        for name, config in runs.items():
            made = pretrain(
                take(data.source, data.training), out=Path(temporary) / name,
                config=dataclasses.replace(config, seed=seed, probe=False, threads=1, accelerator="cpu",
                                           epochs=1 if quick else config.epochs),
            )  # fmt: skip
            subjects[name] = open_subject(made.path)
    first = next(iter(subjects.values()))
    inputs = inputs_of(first.spec)
    mels = features(raw(inputs), data.source)[1]
    found["log-mels, mean and sd"] = score(data, mels, seed)
    found["MFCCs, mean and sd"] = score(data, cepstra(inputs, data.source), seed)
    found["untrained encoder"] = score(data, features(untrained(first.spec, seed=seed), data.source)[1], seed)
    found["from scratch on the same labels"] = scratch(data, first, seed, steps=2 if quick else STEPS)
    for name, subject in subjects.items():
        found[name] = score(data, features(subject, data.source)[1], seed)
    return found


def cepstra(inputs: Any, source: Source, count: int = 20) -> Floats:
    """Return mean and deviation over time of the first cepstral coefficients: an orthonormal DCT of the log-mels."""
    view = inputs.evaluation_view()
    basis = np.cos(np.pi / view.mels * (np.arange(view.mels) + 0.5)[None] * np.arange(count)[:, None])
    basis *= np.where(np.arange(count) == 0, np.sqrt(1 / view.mels), np.sqrt(2 / view.mels))[:, None]
    rows = []
    for index in range(len(source)):
        made = inputs.make_views([source.read(index)], [view], np.random.default_rng(0))[0]
        mfcc = basis @ made["mel"][0, 0, :, : int(made["frames"][0])].numpy()
        rows.append(np.concatenate([mfcc.mean(1), mfcc.std(1)]))
    return np.array(rows, np.float32)


def _scaled(data: Data, vectors: Floats) -> Floats:
    known = vectors[data.training]
    made: Floats = ((vectors - known.mean(0)) / np.maximum(known.std(0), 1e-6)).astype(np.float32)
    return made


def score(data: Data, vectors: Floats, seed: int) -> dict[str, dict[str, float]]:
    """Score one set of representations in the three tasks."""
    x = _scaled(data, vectors)
    found: dict[str, dict[str, float]] = {}
    for task, labels, fit, test in tasks(data):
        report = evaluate(
            Labelled(x[fit], labels[fit], split="train"), Labelled(x[test], labels[test], split="test"),
            [FewShot(per_class=SHOTS, seed=seed)], subject=task,
        )  # fmt: skip
        found[task] = {f"{n} per {task}": 100 * report[f"linear, {n} per class"].value for n in SHOTS}
    unheard = np.flatnonzero(~data.heard)
    pairs = Labelled(x[unheard], data.speaker[unheard], split="test")
    report = evaluate(pairs, pairs, [Verification(resamples=0)], subject="verification")
    found["verification"] = {"EER": 100 * report["eer"].value, "ROC-AUC": 100 * report["roc-auc"].value}
    return found


def tasks(data: Data) -> list[tuple[str, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Return task, labels, the rows that labels are drawn from and those that are tested."""
    return [
        ("digit", data.digit, data.training, np.flatnonzero(~data.heard)),
        ("speaker", data.speaker, np.flatnonzero(~data.early), np.flatnonzero(data.early)),
    ]


def scratch(data: Data, like: Subject, seed: int, *, steps: int = STEPS) -> dict[str, dict[str, float]]:
    """Train from scratch on the first draw's labels of every number."""
    found: dict[str, dict[str, float]] = {"verification": {"EER": np.nan, "ROC-AUC": np.nan}}
    recipe: dict[str, PretrainConfig] = {"digit": recipes.simclr(), "speaker": recipes.cola()}
    for task, labels, fit, test in tasks(data):
        found[task] = {}
        for n in SHOTS:
            rows = fit[draw_labels(labels[fit], n, draw=0, seed=seed)]
            config = dataclasses.replace(
                recipe[task],
                seed=seed,
                batch_size=min(64, len(rows)),
                threads=1,
                accelerator="cpu",
                precision="32-true",
            )
            trained = train_from_scratch(like.spec, Labels(take(data.source, rows), labels[rows]), config, steps=steps)
            answers = trained.predict(features(trained.subject, take(data.source, test))[1])
            right = answers == labels[test]
            found[task][f"{n} per {task}"] = 100 * float(right.mean())
    return found


class Labels:
    """The rows of a source under other labels."""

    def __init__(self, source: Source, labels: NDArray[np.int64]) -> None:
        self.source, self.labels = source, labels
        self.ids = source.ids
        self.class_names: tuple[str, ...] = tuple(str(number) for number in range(int(labels.max()) + 1))
        self.rate = 8000

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> Any:
        """Return one sound."""
        return self.source.read(index)

    def fingerprint(self) -> str | None:
        """None: it is not needed."""
        return None


def _cell(values: list[float]) -> str | None:
    if np.isnan(values).any():
        return None
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else f"{values[0]:.1f}"
