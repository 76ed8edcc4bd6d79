"""SimCLR and SupCon on 10,000 images of Fashion-MNIST, beside raw pixels, untrained and from-scratch encoders.

Run with: uv run python -m benchmarks.fashion_mnist FOLDER, which holds train/ and test/ with a folder per class.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.main_job import compare, load
from benchmarks.record import table, write
from nearfar.recipes.small import simclr_gray, supcon_gray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    train, test = load(arguments.folder, limit=10_000)
    configs = {"SimCLR (no labels)": simclr_gray(), "SupCon (all labels)": supcon_gray()}
    columns, rows, notes = compare(train, test, configs, arguments.seeds)
    write(
        "fashion_mnist",
        title="Fashion-MNIST: 10,000 training images, small encoder, 20 epochs",
        tables=[table("Test accuracy, % (10,000 test images)", columns, rows)],
        notes=notes,
        command="uv run python -m benchmarks.fashion_mnist FOLDER",
    )


if __name__ == "__main__":
    main()
