"""The parts of a chart: series of marks on two scales; svg.py draws it and png.py as files.

Nothing in a chart depends on the time or on chance: equal numbers make equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

COLOURS = ("#0072B2", "#C44E00", "#007A59", "#A8527F", "#8A6100", "#2F7FB5", "#444444")
"""Okabe and Ito's hues, which people with colour blindness can distinguish, darkened to a contrast
of 3:1 or more with white; page.css has lighter ones for a dark page."""

MARKERS = ("circle", "square", "triangle", "diamond", "down", "plus", "star")
DASHES = ("", "6 3", "2 3", "8 3 2 3")

LEAST = 1e-100
"""Smaller values are drawn as this one on a logarithmic scale."""

MOST_TICKS = 9
"""On a logarithmic scale."""

MOST_LETTERS = 52
"""Of the ticks of such a scale, if each were as long as the longest: more would overlap."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a series looks; series differ in colour, marker and dashes, never in colour alone.

    Attributes:
        colour: index into `COLOURS`; None for grey.
        marker: one of `MARKERS`.
        dash: one of `DASHES`.
    """

    colour: int | None
    marker: str = "circle"
    dash: str = ""

    @classmethod
    def of(cls, number: int) -> Style:
        """Return the style of the n-th series, from 0."""
        dash = DASHES[number // len(COLOURS) % len(DASHES)]
        return cls(number % len(COLOURS), MARKERS[number % len(MARKERS)], dash)


@dataclass(frozen=True, slots=True)
class Dots:
    """Markers, each with a text to show on hovering.

    Attributes:
        dots: x, y and text of each; a y of inf becomes a cross at the top.
        kind: full, hollow (small, for single runs) or ring (around other dots).
    """

    dots: tuple[tuple[float, float, str], ...]
    kind: str = "full"


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points, or steps that keep their height until the next point."""

    points: tuple[tuple[float, float], ...]
    steps: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """An area between two heights at each x."""

    points: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Span:
    """A horizontal interval with its estimate, at one height, and a text for hovering."""

    low: float
    high: float
    value: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Arrow:
    """Shows that the optimum may lie beyond the left or the right edge."""

    x: float
    y: float
    right: bool
    text: str


Mark = Dots | Line | Band | Span | Arrow


@dataclass(frozen=True, slots=True)
class Series:
    """Marks of one name and style."""

    name: str
    style: Style
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Scale:
    """One direction of a chart.

    Attributes:
        title: the quantity and its unit.
        logarithmic: whether equal factors are equally far apart.
        names: for a list of things, the names of 0, 1, 2 and so on.
        whole: whether only whole numbers are marked, as for ranks.
    """

    title: str
    logarithmic: bool = False
    names: tuple[str, ...] = ()
    whole: bool = False

    def domain(self, values: Sequence[float]) -> tuple[float, float]:
        """Return both ends of the scale: the range of the values with a margin."""
        if self.names:
            return -0.6, len(self.names) - 0.4
        low, high = (min(values), max(values)) if values else (1.0, 2.0)
        if self.logarithmic:
            low, high = max(low, LEAST), max(high, LEAST)
            margin = max(0.06 * math.log(high / low), 0.05)
            return low / math.exp(margin), high * math.exp(margin)
        margin = 0.06 * (high - low) or 0.5
        return low - margin, high + margin

    def place(self, value: float, domain: tuple[float, float]) -> float:
        """Return the position of a value: 0 at the lower end, 1 at the upper end."""
        low, high = domain
        if self.logarithmic:
            value, low, high = (math.log(max(each, LEAST)) for each in (value, low, high))
        return (value - low) / (high - low)

    def ticks(self, domain: tuple[float, float]) -> list[tuple[float, str]]:
        """Return the values to mark, with their text."""
        if self.names:
            return list(enumerate(self.names))
        low, high = domain
        found = _logarithmic_ticks(low, high) if self.logarithmic else []
        if len(found) < 2:
            found = _plain_ticks(low, high, 1.0 if self.whole else 0.0)
        return [(value, f"{value:g}") for value in found]


def _logarithmic_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        every = [float(f"{factor}e{power}") for power in powers for factor in factors]
        found = [value for value in every if low <= value <= high]
        letters = max((len(f"{value:g}") for value in found), default=0) + 1
        if len(found) <= MOST_TICKS and len(found) * letters <= MOST_LETTERS:
            return found
    return found[:: len(found) // (MOST_TICKS - 1) + 1]


def _plain_ticks(low: float, high: float, least_step: float) -> list[float]:
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = max(least_step, next(f * power for f in (1, 2, 5, 10) if f * power >= rough))
    return [round(n * step, 10) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart.

    Attributes:
        slug: its file name as an image.
        title: its heading.
        x: the horizontal scale.
        y: the vertical scale.
        series: its marks, the last on top.
        note: a line below it.
        bounds: values that the x scale covers; marks may reach beyond. All marks if empty.
        zero: whether a vertical line marks 0, which the x scale then covers.
    """

    slug: str
    title: str
    x: Scale
    y: Scale
    series: tuple[Series, ...]
    note: str = ""
    bounds: tuple[float, ...] = ()
    zero: bool = False

    def domains(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the ends of both scales."""
        marks = [mark for series in self.series for mark in series.marks]
        points = [point for mark in marks for point in _points(mark)]
        xs = [x for x, _ in points if math.isfinite(x)] + [0.0] * self.zero
        ys = [y for _, y in points if math.isfinite(y)]
        return self.x.domain(self.bounds or xs), self.y.domain(ys)


def _points(mark: Mark) -> Iterator[tuple[float, float]]:
    """Return the points that a mark covers."""
    if isinstance(mark, Dots):
        yield from ((x, y) for x, y, _ in mark.dots)
    elif isinstance(mark, Line):
        yield from mark.points
    elif isinstance(mark, Band):
        yield from ((x, y) for x, low, high in mark.points for y in (low, high))
    elif isinstance(mark, Span):
        yield from ((x, mark.y) for x in (mark.low, mark.high))
    else:
        yield mark.x, mark.y
