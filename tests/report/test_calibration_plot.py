from __future__ import annotations

import numpy as np
import pytest

from nearfar.errors import InputError
from nearfar.report import figure_svg, reliability_diagram


def test_empty_bins_are_left_out_and_the_diagonal_is_there() -> None:
    confidence = np.array([np.nan, 0.5, 0.9])
    accuracy = np.array([np.nan, 0.4, 0.95])
    figure = reliability_diagram({"teacher": (confidence, accuracy)})
    lines = figure.axes[0].lines
    assert lines[0].get_xdata().tolist() == [0.5, 0.9]
    assert lines[0].get_ydata().tolist() == [0.4, 0.95]
    assert list(lines[-1].get_xdata()) == [0, 1]
    assert figure_svg(figure).startswith("<svg")


def test_a_model_without_any_answer() -> None:
    with pytest.raises(InputError, match="reliability_diagram: teacher must be one bin or more that is not empty"):
        reliability_diagram({"teacher": (np.array([np.nan]), np.array([np.nan]))})
