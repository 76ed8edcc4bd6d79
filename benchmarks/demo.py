"""The demo: its table and its time.

Run with: uv run python -m benchmarks.demo
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nearfar
from benchmarks.record import Timer, peak_memory_mib, table, write


def main() -> None:
    with Timer() as timer:
        result = nearfar.demo(out=Path(tempfile.mkdtemp()) / "demo")
    names = [score.name for results in next(iter(result.numbers.values())).results for score in results.scores]
    rows = []
    for name in names:
        scores = [report[name] for report in result.numbers.values()]
        rows.append([name, *(f"{s.value:.1%}" + (f" ± {s.sd:.1%}" if s.sd is not None else "") for s in scores)])
    sentences = [f"{r.protocol}: {r.sentence}" for r in next(iter(result.numbers.values())).results]
    write(
        "demo",
        title="The demo: SimCLR on scikit-learn's digits",
        tables=[table("Test accuracy on 500 held-out digits", ["", *result.numbers], rows)],
        notes=[*sentences, f"the whole demo took {timer.seconds:.0f} s and {peak_memory_mib():.0f} MiB at its peak"],
        command="uv run python -m benchmarks.demo",
    )


if __name__ == "__main__":
    main()
