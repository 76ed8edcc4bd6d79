"""Results one can look at: contact sheets, plots, tables, and a report in one HTML file that needs no network.

Everything here takes arrays, numbers, text and the small records of `records`; it knows no encoder, no run, no index and
no training. It may import numpy and layer 2; matplotlib, Pillow, scikit-learn and rich only inside functions. Plots are
drawn on `matplotlib.figure.Figure`, never through pyplot, so no window system and no global state is touched.
"""

from nearfar.report.pictures import to_image, to_png
from nearfar.report.records import Neighbour, Query, ViewGrid
from nearfar.report.sheets import neighbours_sheet, sheet, views_sheet

__all__ = [
    "Neighbour",
    "Query",
    "ViewGrid",
    "neighbours_sheet",
    "sheet",
    "to_image",
    "to_png",
    "views_sheet",
]
