"""The main job on a plain folder of colour photographs: 5,000 CIFAR-10 JPEG files.

Run with: uv run python -m benchmarks.cifar10 FOLDER, which holds train/ and test/ with a folder per class.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.main_job import compare, load
from benchmarks.record import table, write
from nearfar.recipes.small import simclr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    train, test = load(arguments.folder, limit=5_000)
    columns, rows, notes = compare(train, test, {"SimCLR (no labels)": simclr()}, [0], scratch=False)
    write(
        "cifar10",
        title="CIFAR-10 as a folder of JPEG files: 5,000 training images, small encoder, 20 epochs",
        tables=[table("Test accuracy, % (10,000 test images)", columns, rows)],
        notes=[*notes, "the files are re-encoded as JPEG, so numbers are not comparable with the original arrays"],
        command="uv run python -m benchmarks.cifar10 FOLDER",
    )


if __name__ == "__main__":
    main()
