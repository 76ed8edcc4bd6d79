"""Results one can look at: contact sheets, plots, tables, and a report in one HTML file that needs no network.

Everything here takes arrays, numbers, text and the small records of `records`; it knows no encoder, no run, no index
and no training. It may import numpy and layer 2; matplotlib, Pillow, scikit-learn and rich only inside functions. Plots
are drawn on `matplotlib.figure.Figure`, never through pyplot, so no window system is needed.
"""

from nearfar.report.calibration import reliability_diagram
from nearfar.report.compare import compare_page
from nearfar.report.demo import demo_page
from nearfar.report.few_labels import Mistakes, few_labels_page
from nearfar.report.page import Page, Section
from nearfar.report.pictures import to_image, to_png
from nearfar.report.plots import Line, bars, curves, distance_histogram, loss_curve, precision_recall, roc
from nearfar.report.point_map import PointMap, map_figure
from nearfar.report.projection import project
from nearfar.report.records import Neighbour, Query, ViewGrid
from nearfar.report.score_figures import Bars
from nearfar.report.sheets import neighbours_sheet, sheet, views_sheet
from nearfar.report.style import figure_png, figure_svg, write_figure
from nearfar.report.tables import Cell, Column, MeanSd, Table, to_html, to_markdown, to_rich
from nearfar.report.verdict import Measured, verdict

__all__ = [
    "Bars",
    "Cell",
    "Column",
    "Line",
    "MeanSd",
    "Measured",
    "Mistakes",
    "Neighbour",
    "Page",
    "PointMap",
    "Query",
    "Section",
    "Table",
    "ViewGrid",
    "bars",
    "compare_page",
    "curves",
    "demo_page",
    "distance_histogram",
    "few_labels_page",
    "figure_png",
    "figure_svg",
    "loss_curve",
    "map_figure",
    "neighbours_sheet",
    "precision_recall",
    "project",
    "reliability_diagram",
    "roc",
    "sheet",
    "to_html",
    "to_image",
    "to_markdown",
    "to_png",
    "to_rich",
    "verdict",
    "views_sheet",
    "write_figure",
]
