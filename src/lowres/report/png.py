"""Charts as PNG files, drawn by matplotlib: for papers, slides and a README."""

from __future__ import annotations

import io
import math
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from lowres.report.chart import (
    COLOURS,
    Arrow,
    Band,
    Chart,
    Dots,
    Line,
    Mark,
    Scale,
    Series,
    Span,
    Style,
)

GREY = "#777777"
MARKERS = {
    "circle": "o",
    "square": "s",
    "triangle": "^",
    "diamond": "D",
    "down": "v",
    "plus": "P",
    "star": "*",
}
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}
DPI = 160
WIDTH_INCHES, HEIGHT_INCHES, ROW_INCHES = 7.0, 4.0, 0.28


def draw(chart: Chart) -> bytes:
    """Draw a chart as a PNG file."""
    rows = len(chart.y.names)
    height = 1.2 + ROW_INCHES * rows if rows else HEIGHT_INCHES
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(chart.title)
        x_ends, y_ends = chart.domains()
        _scale(axes.xaxis, chart.x, x_ends)
        _scale(axes.yaxis, chart.y, y_ends)
        if chart.x.logarithmic:
            axes.set_xscale("log")
            _scale(axes.xaxis, chart.x, x_ends)
        axes.set_xlim(*x_ends)
        axes.set_ylim(*y_ends)
        if chart.zero:
            axes.axvline(0, color=GREY)
        for series in chart.series:
            axes.plot([], [], label=series.name, **_look(series))
            for mark in series.marks:
                _mark(axes, mark, series.style, y_ends[1])
        if chart.note:
            axes.text(0.0, 1.0, chart.note, transform=axes.transAxes, va="bottom", fontsize=7)
            axes.set_title(chart.title, pad=16)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def _scale(axis: Axis, scale: Scale, ends: tuple[float, float]) -> None:
    ticks = scale.ticks(ends)
    axis.set_label_text(scale.title)
    axis.set_major_locator(FixedLocator([value for value, _ in ticks]))
    axis.set_major_formatter(FixedFormatter([text for _, text in ticks]))
    axis.set_minor_locator(NullLocator())


def _colour(style: Style) -> str:
    return GREY if style.colour is None else COLOURS[style.colour]


def _look(series: Series) -> dict[str, Any]:
    """Return the look of a series in the legend."""
    style, kinds = series.style, {type(mark) for mark in series.marks}
    dots = [mark.kind for mark in series.marks if isinstance(mark, Dots)]
    filled = bool(dots) and dots[-1] == "full"
    return {
        "color": _colour(style),
        "marker": MARKERS[style.marker] if dots or Span in kinds else None,
        "markerfacecolor": _colour(style) if filled else "white",
        "linestyle": _dashes(style) if kinds & {Line, Span} else "none",
    }


def _dashes(style: Style) -> str | tuple[float, tuple[float, ...]]:
    return (0, tuple(float(part) for part in style.dash.split())) if style.dash else "-"


def _mark(axes: Axes, mark: Mark, style: Style, top: float) -> None:
    colour = _colour(style)
    if isinstance(mark, Line):
        how = "steps-post" if mark.steps else "default"
        xs, ys = zip(*mark.points, strict=True)
        axes.plot(xs, ys, color=colour, linestyle=_dashes(style), drawstyle=how)
    elif isinstance(mark, Band):
        xs, lows, highs = zip(*mark.points, strict=True)
        axes.fill_between(xs, lows, highs, color=colour, alpha=0.15, linewidth=0)
    elif isinstance(mark, Dots):
        _dots(axes, mark, style, top)
    elif isinstance(mark, Span):
        axes.plot((mark.low, mark.high), (mark.y, mark.y), "|-", color=colour, linewidth=2)
        axes.plot(mark.value, mark.y, "D", color="white", markeredgecolor=colour)
    elif isinstance(mark, Arrow):
        axes.plot(mark.x, mark.y, ">" if mark.right else "<", color=colour, markersize=11)


def _dots(axes: Axes, mark: Dots, style: Style, top: float) -> None:
    colour, marker = _colour(style), MARKERS[style.marker]
    size = {"full": 5.0, "hollow": 3.5, "ring": 10.0}[mark.kind]
    filled = colour if mark.kind == "full" else "none"
    points = [(x, y) for x, y, _ in mark.dots if math.isfinite(y)]
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        marker,
        color=colour,
        markersize=size,
        markerfacecolor=filled,
    )
    lost = [x for x, y, _ in mark.dots if math.isinf(y)]
    axes.plot(lost, [top] * len(lost), "x", color=colour, clip_on=False)
