"""SimCLRv2's three phases on Fashion-MNIST and on chest X-rays, beside every baseline on the same labels.

Run with: uv run python -m benchmarks.few_labels FASHION XRAYS, folders with train/ and test/ (Fashion-MNIST), and with
val/ and test/ (Kermany's X-rays, which are split anew by patient). ``--only fashion`` or ``--only xrays`` does one.
Stopped at any moment, the same command with the same --work goes on.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nearfar
from benchmarks.record import Timer, table, write
from nearfar.data import ArraySource, decode_all, open_images, open_splits, take
from nearfar.evaluation.seeds import paired_difference
from nearfar.fewlabels.semi import Semi
from nearfar.fewlabels.summary import Row, interval_of
from nearfar.pipeline.data import limit_source

TESTED = 5_000
SIDE = 48
"""Of the X-rays, in pixels."""

TEACHER, QUARTER = {"width": 16}, {"width": 8}
"""The small encoder at half its usual width, and one with a quarter of its parameters."""


TUNE = {"batch_size": 64, "epochs": 20, "unlabelled_batch": 64, "unlabelled_epochs": 1}
"""Of fine-tuning in every form: fewer passes than the defaults, to save time."""


def fashion(folder: Path, path: Path, count: int) -> None:
    """Write so many training and 5,000 test images, drawn evenly over the classes by seed 0, as one array file."""
    parts = open_splits(folder)
    train = decode_all(limit_source(parts["train"], count, seed=0))
    test = decode_all(limit_source(parts["test"], TESTED, seed=0))
    _save(path, train, test, [str(n) for n in range(10)])


def xrays(folder: Path, path: Path) -> None:
    """Write X-rays at 64 pixels: a fifth of the patients is scored (seed 0), the others are learnt from."""
    source = open_images(folder, channels=1)
    decoded = decode_all(source, side=SIDE)
    patients = np.array([patient(name) for name in decoded.ids])
    sick = np.array(["PNEUMONIA" in name for name in decoded.ids]).astype(np.int64)
    labelled = ArraySource(np.stack([_square(decoded.read(row)) for row in range(len(decoded))]), sick)
    held = np.zeros(len(sick), bool)
    rng = np.random.default_rng(0)
    for kind in (0, 1):
        names = rng.permutation(np.unique(patients[sick == kind]))
        held |= np.isin(patients, names[: round(len(names) / 5)])
    _save(path, take(labelled, np.flatnonzero(~held)), take(labelled, np.flatnonzero(held)), ["normal", "pneumonia"])


def patient(name: str) -> str:
    """Return the patient of a file name: personNNN of pneumonia, the number behind IM of the healthy ones."""
    found = re.search(r"person(\d+)", name) or re.search(r"(IM-\d+|NORMAL2-IM-\d+)", name)
    assert found is not None, name
    return found.group(0)


def _square(image: NDArray[Any]) -> NDArray[Any]:
    """Cut the middle square out and bring it to the size."""
    from PIL import Image

    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    middle = Image.fromarray(image[top : top + side, left : left + side, 0])
    return np.asarray(middle.resize((SIDE, SIDE), Image.Resampling.BICUBIC))[..., None]


def _save(path: Path, train: Any, test: Any, names: Sequence[str]) -> None:
    arrays = {}
    for split, source in (("train", train), ("test", test)):
        arrays[f"{split}_images"] = np.stack([source.read(row) for row in range(len(source))])
        arrays[f"{split}_labels"] = source.labels
    np.savez(path, **arrays, class_names=np.array(names))


def settings(seed: int, epochs: Mapping[str, int], views: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of both benchmarks: views, epochs and the size of the second student."""
    return {
        "recipe": "simclr-v2/gray",
        "pretrain": {"epochs": epochs["pretrain"], "encoder_options": TEACHER, "view_options": dict(views)},
        "finetune": TUNE,
        "distill": {"epochs": epochs["distill"]},
        "student": "small",
        "student_options": QUARTER,
        "seed": seed,
    }


def rows_of(found: Semi, name: str) -> list[list[Any]]:
    """Return one line a phase, one number an amount."""
    amounts = list(dict.fromkeys(row.amount for row in found.rows))
    phases = list(dict.fromkeys(row.phase for row in found.rows))
    lines = []
    for phase in phases:
        cells = []
        for amount in amounts:
            row = next(one for one in found.rows if (one.amount, one.phase) == (amount, phase))
            cells.append(_cell(row, name))
        size = next(row.parameters for row in found.rows if row.phase == phase)
        lines.append([phase, *cells, None if size is None else f"{size / 1e6:.3f}"])
    return lines


def _cell(row: Row, name: str) -> str:
    one = interval_of(row, name)
    spread = "" if one.sd is None else f" ± {100 * one.sd:.1f}"
    return f"{100 * one.mean:.1f}{spread}"


def layers(found: Semi, data: Path, work: Path, amounts: Sequence[int], draws: int, name: str) -> list[list[Any]]:
    """Fine-tune from layers 0, 1 and 2 of the head, each on the same draws of the labels."""
    lines = []
    for layer in (0, 1, 2):
        cells = []
        for amount in amounts:
            values = []
            for draw in range(draws):
                out = work / f"layer-{layer}-{amount}-{draw}"
                done = nearfar.finetune(
                    found.path / "pretrained", data, out=out, per_class=amount, draw=draw, from_layer=layer,
                    resume=(out / "config.yaml").is_file(), **TUNE,
                )  # fmt: skip
                values.append(done[name].value)
            cells.append(f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f}")
        lines.append([f"from layer {layer}", *cells])
    return lines


TRIED: dict[str, dict[str, Any]] = {
    "LARS, 0.04 (default)": {}, "LARS, 0.16": {"lr": 0.16}, "AdamW, 0.001": {"optimizer": "adamw"},
    "AdamW, 0.001, 60 epochs": {"optimizer": "adamw", "epochs": 60, "least_steps": 600},
}  # fmt: skip
"""Ways to fine-tune, when asking why it fell short."""


def tuned(work: Path, draws: int) -> list[list[str]]:
    """Fine-tune Fashion-MNIST's encoder in other ways."""
    rows = []
    for number, (name, options) in enumerate(TRIED.items()):
        cells = []
        for amount in (10, 100):
            found = [
                nearfar.finetune(
                    work / "fashion" / "pretrained", work / "fashion.npz", out=work / f"tried-{number}-{amount}-{draw}",
                    per_class=amount, draw=draw, from_layer=1, overwrite=True, **TUNE | options,
                )["top-1"].value
                for draw in range(draws)
            ]  # fmt: skip
            cells.append(f"{100 * np.mean(found):.1f} ± {100 * np.std(found, ddof=1):.1f}")
        rows.append([name, *cells])
    return rows


def distilled(work: Path) -> list[list[str]]:
    """Distil one teacher for longer, and at another temperature."""
    rows = []
    for epochs in (8, 24):
        for temperature in (0.1, 1.0):
            done = nearfar.distill(
                work / "fashion" / "100-per-class-0" / "finetuned", work / "fashion.npz",
                out=work / f"tried-{epochs}-{temperature}", epochs=epochs, temperature=temperature, overwrite=True,
            )  # fmt: skip
            rows.append([f"{epochs} epochs, temperature {temperature}", f"{100 * done['top-1'].value:.1f}"])
    return rows


def reasons(work: Path, draws: int) -> None:
    """Ask why phases fell short on Fashion-MNIST, in the folder of its benchmark."""
    write(
        "few_labels_reasons",
        title="Few labels: why some phases fell short on Fashion-MNIST",
        tables=[
            table(
                "Fine-tuning from layer 1, test accuracy, %", ["", "10 per class", "100 per class"], tuned(work, draws)
            ),
            table("Distilled from the teacher of 100 per class, one draw, %", ["", "top-1"], distilled(work)),
        ],
        notes=[
            f"encoder, labels and test images as in the table above; mean ± standard deviation over {draws} draws; "
            "a look for reasons on the test images, not a choice of settings"
        ],
        command="uv run python -m benchmarks.few_labels FASHION XRAYS --only reasons --work WORK",
    )


def claims(found: Semi, name: str) -> list[str]:
    """Say of each expectation whether it held, with the paired difference over draws."""
    said = []
    for first, second in (("distilled", "fine-tuned"), ("student", "fine-tuned"), ("fine-tuned", "from scratch"),
                          ("fine-tuned", "linear probe")):  # fmt: skip
        parts = []
        for amount in dict.fromkeys(row.amount for row in found.rows):
            mine = {row.phase: row for row in found.rows if row.amount == amount}
            difference = paired_difference(mine[first].values(name), mine[second].values(name))
            if difference is not None:
                ends = f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}"
                parts.append(f"{amount} {100 * difference.mean:+.1f} ({ends})")
        said.append(f"{name}, {first} minus {second}, points, mean over draws (95 % t-interval): {'; '.join(parts)}")
    return said


def on_fashion(
    folder: Path, work: Path, count: int, sweep: Sequence[int], draws: int, epochs: Mapping[str, int]
) -> None:
    data = work / "fashion.npz"
    if not data.is_file():
        fashion(folder, data, count)
    views = {"rotate": 0.0, "scale": (0.2, 1.0)}
    with Timer() as timer:
        found = nearfar.semi(data, out=work / "fashion", sweep=tuple(sweep), draws=draws, **settings(0, epochs, views))
        by_layer = layers(found, data, work, sweep[:2], draws, "top-1")
    amounts = [f"{n} per class" for n in sweep]
    write(
        "few_labels_fashion",
        title=f"Few labels: Fashion-MNIST, {count:,} unlabelled images",
        tables=[
            table("Test accuracy, %", ["", *amounts, "parameters, M"], rows_of(found, "top-1")),
            table("Fine-tuning from a layer of the head, %", ["", *amounts[:2]], by_layer),
            table("Calibration: ECE, % (after temperature scaling)", ["", *amounts], calibration(found)),
        ],
        notes=[*notes(draws, epochs, timer.seconds), *claims(found, "top-1")],
        command=f"uv run python -m benchmarks.few_labels FASHION XRAYS --only fashion --unlabelled {count} --sweep "
        f"{' '.join(map(str, sweep))} --draws {draws} --pretrain {epochs['pretrain']} --distill {epochs['distill']}",
    )


def on_xrays(folder: Path, work: Path, draws: int, epochs: Mapping[str, int]) -> None:
    data = work / "xrays.npz"
    if not data.is_file():
        xrays(folder, data)
    with Timer() as timer:
        found = [
            nearfar.semi(
                data, out=work / f"xrays-{share}", fraction=share, draws=draws,
                **(settings(0, epochs, {"scale": (0.3, 1.0)}) | also(work, share)),
            )
            for share in (0.01, 0.1)
        ]  # fmt: skip
    both = Semi(work, [row for one in found for row in one.rows])
    amounts = list(dict.fromkeys(row.amount for row in both.rows))
    columns = ["", *(f"{amount} ({_labels(both, amount)})" for amount in amounts), "parameters, M"]
    names = ["roc-auc", "sensitivity at 90% specificity", "top-1"]
    write(
        "few_labels_xrays",
        title="Few labels: chest X-rays, normal or pneumonia, split by patient, 48 pixels",
        tables=[table(f"{name}, % (number of labels)", columns, rows_of(both, name)) for name in names],
        notes=[
            *notes(draws, epochs, timer.seconds),
            *claims(both, "roc-auc"),
            "a fifth of the patients is scored, the others are learnt from: patients are the personNNN or IM-NNNN of "
            "the file names; the folders val and test of the source, which share patients, are joined first",
        ],
        command="uv run python -m benchmarks.few_labels FASHION XRAYS --only xrays",
    )


def also(work: Path, share: float) -> dict[str, Any]:
    """Let the second amount begin from the first one's encoder."""
    first = work / "xrays-0.01" / "pretrained"
    return {} if share == 0.01 else {"run": str(first), "recipe": None, "pretrain": {}}


def _labels(found: Semi, amount: str) -> int:
    return next(row.labels for row in found.rows if row.amount == amount)


def calibration(found: Semi) -> list[list[Any]]:
    amounts = list(dict.fromkeys(row.amount for row in found.rows))
    lines = []
    for phase in ("fine-tuned", "distilled", "from scratch", "linear probe"):
        cells = []
        for amount in amounts:
            row = next(one for one in found.rows if (one.amount, one.phase) == (amount, phase))
            cells.append(f"{100 * (row.ece('before') or 0):.1f} ({100 * (row.ece('after') or 0):.1f})")
        lines.append([phase, *cells])
    return lines


def notes(draws: int, epochs: Mapping[str, int], seconds: float) -> list[str]:
    return [
        f"mean ± standard deviation over {draws} draws of the labels; one pretraining, seed 0, for all draws",
        f"phases: SimCLRv2 (recipe simclr-v2/gray) for {epochs['pretrain']} epochs without labels, fine-tuning "
        f"with LARS in 200 steps or 20 epochs of 64 from layer 1, distillation for {epochs['distill']} epochs, pseudo-"
        "labels in 200 steps; the paper has 800 and 400 epochs, so what follows is about small budgets",
        "encoders: small, width 16; student: width 8, a quarter of the parameters, from the distilled model",
        "the last step is scored; kNN, linear probe and label propagation are on the frozen pretrained features",
        f"it took {seconds / 60:.0f} minutes beside other work on the machine, less what an interrupted call had done",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fashion", type=Path)
    parser.add_argument("xrays", type=Path)
    parser.add_argument("--only", choices=["fashion", "xrays", "reasons"])
    parser.add_argument("--unlabelled", type=int, default=10_000)
    parser.add_argument("--sweep", type=int, nargs="+", default=[1, 4, 10, 25, 100])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--pretrain", type=int, default=20)
    parser.add_argument("--distill", type=int, default=20)
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    epochs = {"pretrain": arguments.pretrain, "distill": arguments.distill}
    if arguments.only == "reasons":
        reasons(work, arguments.draws)
    if arguments.only in (None, "fashion"):
        on_fashion(arguments.fashion, work, arguments.unlabelled, arguments.sweep, arguments.draws, epochs)
    if arguments.only in (None, "xrays"):
        on_xrays(arguments.xrays, work, arguments.draws, epochs)


if __name__ == "__main__":
    main()
