"""Calling the command line in this process."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from nearfar.cli import main


class Outcome(NamedTuple):
    """What a call gave."""

    code: int
    out: str
    err: str


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """Run ``nearfar ARGUMENTS`` to its exit."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return Outcome(int(caught.value.code or 0), out, err)


def refused(outcome: Outcome, code: int = 1) -> str:
    """Return the one sentence of an error."""
    assert outcome.code == code, outcome
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    lines = outcome.err.strip().splitlines()
    assert [line.startswith("error: ") for line in lines].index(True) == len(lines) - 1, outcome.err
    return lines[-1]
