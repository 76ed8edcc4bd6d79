"""The command line: one file per verb, each a thin layer over the Python function of the same name.

Nothing imports this package. Heavy imports stand inside the commands, so that ``nearfar --help`` needs no torch.
"""

from nearfar.cli.app import main

__all__ = ["main"]
