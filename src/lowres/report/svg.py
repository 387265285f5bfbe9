"""Charts as SVG for the page: colours are CSS variables, texts for hovering are attributes.

page.css has the colours for a light and a dark page; page.js shows the texts and hides series.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape

from lowres.report.chart import Band, Chart, Dots, Line, Mark, Series, Span, Style

WIDTH, HEIGHT = 460, 320
"""In pixels of a phone, so that text stays readable there."""

LEFT, RIGHT, TOP, BOTTOM = 52, 22, 14, 48
ROW = 26
"""Height of a line if the vertical scale is a list of names."""

LETTER = 7.4
"""Mean width of a letter 14 units high, the largest size in page.css."""

Place = Callable[[float, float], tuple[float, float]]

SHAPES = {
    "circle": "M-{r} 0a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z",
    "square": "M-{r} -{r}h{d}v{d}h-{d}z",
    "triangle": "M0 -{b}L{b} {r}L-{b} {r}z",
    "diamond": "M0 -{b}L{b} 0L0 {b}L-{b} 0z",
    "down": "M0 {b}L{b} -{r}L-{b} -{r}z",
    "plus": "M-{b} -{t}h{w}v-{w}h{u}v{w}h{w}v{u}h-{w}v{w}h-{u}v-{w}h-{w}z",
    "star": "M0 -{s}L{t} -{t}L{s} 0L{t} {t}L0 {s}L-{t} {t}L-{s} 0L-{t} -{t}z",
}


def shape(marker: str, radius: float) -> str:
    """Return the outline of a marker around the origin."""
    third = radius / 3
    sizes = {
        "r": radius,
        "d": 2 * radius,
        "b": 1.3 * radius,
        "t": third,
        "u": 2 * third,
        "s": 2 * radius,
    }
    sizes["w"] = 1.3 * radius - third
    return SHAPES[marker].format(**{name: _short(size) for name, size in sizes.items()})


def draw(chart: Chart) -> str:
    """Draw a chart as one SVG element."""
    rows = chart.y.names
    left = int(18 + LETTER * max(map(len, rows))) if rows else LEFT
    height = TOP + BOTTOM + ROW * len(rows) if rows else HEIGHT
    x_ends, y_ends = chart.domains()
    across, up = WIDTH - left - RIGHT, height - TOP - BOTTOM
    foot, right = height - BOTTOM, WIDTH - RIGHT

    def place(x: float, y: float) -> tuple[float, float]:
        # Points beyond the scale are drawn at its end.
        at_x = min(max(chart.x.place(x, x_ends), 0.0), 1.0)
        at_y = 1.0 if math.isinf(y) else chart.y.place(y, y_ends)
        return left + across * at_x, TOP + up * (1 - at_y)

    parts = []
    for value, text in chart.x.ticks(x_ends):
        at = _short(place(value, y_ends[0])[0])
        parts.append(f'<path class="grid" d="M{at} {TOP}V{foot}"/>')
        parts.append(f'<text x="{at}" y="{foot + 17}" text-anchor="middle">{text}</text>')
    for value, text in chart.y.ticks(y_ends):
        high = place(x_ends[0], value)[1]
        parts.append(f'<path class="grid" d="M{left} {_short(high)}H{right}"/>')
        parts.append(
            f'<text x="{left - 7}" y="{_short(high + 4)}" text-anchor="end">{escape(text)}</text>'
        )
    parts.append(f'<path class="axis" d="M{left} {TOP}V{foot}H{right}"/>')
    parts.append(
        f'<text class="title" x="{_short((left + right) / 2)}" y="{height - 8}" '
        f'text-anchor="middle">{escape(chart.x.title)}</text>'
    )
    if chart.y.title:
        turned = f"translate(14 {_short((TOP + foot) / 2)}) rotate(-90)"
        parts.append(
            f'<text class="title" transform="{turned}" text-anchor="middle">'
            f"{escape(chart.y.title)}</text>"
        )
    if chart.zero:
        at = _short(place(0.0, y_ends[0])[0])
        parts.append(f'<path class="axis" d="M{at} {TOP}v{up}"/>')
    for series in chart.series:
        marks = "".join(_mark(mark, series.style, place) for mark in series.marks)
        name = escape(series.name)
        parts.append(f'<g class="{_colour(series.style)}" data-series="{name}">{marks}</g>')
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" tabindex="0" '
        f'aria-label="{escape(chart.title)}; arrow keys go through its points">'
        f"{''.join(parts)}</svg>"
    )


def swatch(series: Series) -> str:
    """Draw the look of a series, for the legend."""
    style, kinds = series.style, {type(mark) for mark in series.marks}
    dash = f' stroke-dasharray="{style.dash}"' if style.dash else ""
    parts = []
    if kinds & {Line, Span}:
        parts.append(f'<path class="line" d="M1 8h26"{dash}/>')
    dots = [mark.kind for mark in series.marks if isinstance(mark, Dots)]
    if dots:
        kind, radius = dots[-1], 5 if dots[-1] == "ring" else 4
        outline = shape(style.marker, radius)
        parts.append(f'<path class="{kind}" transform="translate(14 8)" d="{outline}"/>')
    if Span in kinds and not dots:
        outline = shape("diamond", 4)
        parts.append(f'<path class="vertex" transform="translate(14 8)" d="{outline}"/>')
    return (
        f'<svg class="swatch {_colour(style)}" viewBox="0 0 28 16" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


def _short(value: float) -> str:
    return f"{round(value, 1) + 0.0:g}"


def _pair(point: tuple[float, float]) -> str:
    return f"{_short(point[0])} {_short(point[1])}"


def _colour(style: Style) -> str:
    return "grey" if style.colour is None else f"c{style.colour}"


def _mark(mark: Mark, style: Style, place: Place) -> str:
    if isinstance(mark, Dots):
        return _dots(mark, style, place)
    if isinstance(mark, Line):
        points = [place(*point) for point in mark.points]
        path = "M" + "L".join(map(_pair, points))
        if mark.steps:
            corners = "".join(f"H{_short(x)}V{_short(y)}" for x, y in points[1:])
            path = f"M{_pair(points[0])}{corners}"
        dash = f' stroke-dasharray="{style.dash}"' if style.dash else ""
        return f'<path class="line"{dash} d="{path}"/>'
    if isinstance(mark, Band):
        upper = [place(x, high) for x, _, high in mark.points]
        lower = [place(x, low) for x, low, _ in mark.points[::-1]]
        return f'<path class="band" d="M{"L".join(map(_pair, upper + lower))}z"/>'
    if isinstance(mark, Span):
        low, high, at = (place(x, mark.y) for x in (mark.low, mark.high, mark.value))
        caps = f"M{_short(low[0])} {_short(low[1] - 5)}v10m0 -5H{_short(high[0])}m0 -5v10"
        vertex = f'transform="translate({_pair(at)})" d="{shape("diamond", 5)}"'
        return (
            f'<path class="span" d="{caps}"/>'
            f'<path class="vertex" {vertex} data-tip="{escape(mark.text)}"/>'
        )
    ahead, back = ("", "-") if mark.right else ("-", "")
    return (
        f'<path class="arrow" transform="translate({_pair(place(mark.x, mark.y))})" '
        f'd="M{ahead}8 0h{ahead}16m{back}6 -5l{ahead}6 5l{back}6 5" '
        f'data-tip="{escape(mark.text)}"/>'
    )


def _dots(mark: Dots, style: Style, place: Place) -> str:
    radius = {"full": 3.6, "hollow": 2.4, "ring": 7.5}[mark.kind]
    outline = shape(style.marker, radius)
    parts = []
    for x, y, text in mark.dots:
        kind, drawn = mark.kind, outline
        if math.isinf(y):
            kind, drawn = "cross", "M-4 -4l8 8M4 -4l-8 8"
        parts.append(
            f'<path class="{kind}" transform="translate({_pair(place(x, y))})" d="{drawn}" '
            f'data-tip="{escape(text)}"/>'
        )
    return "".join(parts)
