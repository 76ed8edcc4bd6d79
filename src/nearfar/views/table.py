"""Views of rows of a table: which numbers are replaced, hidden or shaken; made on whole batches with numpy.

A step acts on the columns as they stand in the table, before scaling and one-hot codes, so that the numbers of one
category, and a number and the mark that it was missing, always change together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require
from nearfar.registry import Registry

__all__ = ["TABLE_VIEWS", "TableView", "change", "clean", "noise", "scarf", "scarf_both", "subtab", "vime"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableView:
    """One view of a row; with its defaults the row as it is.

    Attributes:
        corrupt: the share of columns replaced by draws from each column's own values in the training rows, independent
            of each other (its empirical marginal).
        exact: replace exactly floor(corrupt * F) columns of every row, as SCARF does; else each with that probability,
            as VIME does.
        keep: the share of columns that stay; the others are hidden, which looks like missing. They are neighbours in
            the table from a place drawn for each row, as SubTab's subsets are.
        noise: standard deviation of normal noise, in standard deviations of each number's training values.

    Raises:
        InputError: when a value is out of its range.
    """

    corrupt: float = 0.0
    exact: bool = True
    keep: float = 1.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        require(0 <= self.corrupt < 1, "TableView", "corrupt", "in [0, 1)", self.corrupt)
        require(0 < self.keep <= 1, "TableView", "keep", "in (0, 1]", self.keep)
        require(self.noise >= 0, "TableView", "noise", ">= 0", self.noise)


def change(
    rows: NDArray[np.float64],
    view: TableView,
    marginals: NDArray[np.float64],
    deviations: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return one view of every row.

    Args:
        rows: (n, F), NaN where missing.
        view: what happens to them.
        marginals: (m, F) values of the training rows, each column by itself in any order.
        deviations: (F,) standard deviations of numbers; 0 for categories, which get no noise.
        rng: all that is random is drawn from it.

    Returns:
        (n, F), a new array unless nothing was to be done.
    """
    n, width = rows.shape
    if view.corrupt > 0:
        chosen = _columns(n, width, view, rng)
        drawn = marginals[rng.integers(0, len(marginals), rows.shape), np.arange(width)]
        rows = np.where(chosen, drawn, rows)
    if view.noise > 0:
        rows = rows + view.noise * deviations * rng.standard_normal(rows.shape)
    if view.keep < 1:
        size = max(1, round(view.keep * width))
        start = rng.integers(0, width, (n, 1))
        rows = np.where((np.arange(width) - start) % width < size, rows, np.nan)
    return rows


def _columns(n: int, width: int, view: TableView, rng: np.random.Generator) -> NDArray[np.bool_]:
    if not view.exact:
        return rng.random((n, width)) < view.corrupt
    count = int(view.corrupt * width + 1e-9)
    chosen = np.zeros((n, width), dtype=bool)
    if count:
        order = np.argpartition(rng.random((n, width), dtype=np.float32), count - 1, axis=1)[:, :count]
        np.put_along_axis(chosen, order, True, axis=1)
    return chosen


def scarf() -> list[TableView]:
    """SCARF: the row itself, and the row with 60 % of its columns replaced by draws from their marginals.

    Bahri, Jiang, Tay, Metzler, "SCARF: Self-Supervised Contrastive Learning using Random Feature Corruption", ICLR
    2022, section 3, https://arxiv.org/abs/2106.15147
    """
    return [TableView(), TableView(corrupt=0.6)]


def scarf_both() -> list[TableView]:
    """Both views with 60 % of the columns replaced: SCARF's ablation."""
    return [TableView(corrupt=0.6)] * 2


def vime() -> list[TableView]:
    """VIME's corruption: each column replaced with probability 0.3, in both views.

    Yoon, Zhang, Jordon, van der Schaar, "VIME: Extending the Success of Self- and Semi-supervised Learning to Tabular
    Domain", NeurIPS 2020, section 4.1. Its estimate of the mask is another method, not a view.
    """
    return [TableView(corrupt=0.3, exact=False)] * 2


def subtab() -> list[TableView]:
    """SubTab's subsets: a quarter of the columns with an overlap of 75 %, of which 30 % are replaced.

    Ucar, Hajiramezanali, Edwards, "SubTab: Subsetting Features of Tabular Data for Self-Supervised Representation
    Learning", NeurIPS 2021, https://arxiv.org/abs/2110.04361. Departures: the place of a subset is drawn for each row,
    and the other columns are hidden instead of cut off, so that any encoder and method takes them.
    """
    return [TableView(corrupt=0.3, exact=False, keep=0.4375)] * 2


def noise() -> list[TableView]:
    """Normal noise of 0.3 standard deviations on every number, in both views."""
    return [TableView(noise=0.3)] * 2


def clean() -> list[TableView]:
    """The row as it is, twice: for methods that hide things by themselves, and for training on labels."""
    return [TableView()] * 2


TABLE_VIEWS: Registry[Callable[[], list[TableView]]] = Registry(
    "views of a table",
    group="nearfar.views.table",
    builtin={
        "scarf": "nearfar.views.table:scarf",
        "scarf-both": "nearfar.views.table:scarf_both",
        "vime": "nearfar.views.table:vime",
        "subtab": "nearfar.views.table:subtab",
        "noise": "nearfar.views.table:noise",
        "clean": "nearfar.views.table:clean",
    },
)
"""Views of tables by name."""
