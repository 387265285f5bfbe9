"""Charts as SVG: scales, marks where their numbers say, colours and texts."""

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from lowres.report import svg
from lowres.report.chart import COLOURS, Arrow, Chart, Dots, Line, Scale, Series, Span, Style


def chart(*marks, x=None, bounds=()):
    series = (Series("a <series>", Style.of(0), marks),)
    return Chart("slug", "a & b", x or Scale("x, s"), Scale("y, %"), series, bounds=bounds)


def places(text):
    found = re.findall(r'class="(\w+)" transform="translate\(([\d.]+) ([\d.]+)\)"', text)
    return [(kind, float(x), float(y)) for kind, x, y in found]


@pytest.mark.parametrize(
    ("scale", "ends", "texts"),
    [
        (Scale("", logarithmic=True), (0.004, 0.6), "0.005 0.01 0.02 0.05 0.1 0.2 0.5"),
        (Scale("", logarithmic=True), (0.9, 1100), "1 3 10 30 100 300 1000"),
        (Scale("", logarithmic=True), (2.1, 4.4), "2.5 3 3.5 4"),
        (Scale("", logarithmic=True), (9e-5, 1.1), "0.0001 0.001 0.01 0.1 1"),
        (Scale(""), (38.0, 91.0), "40 60 80"),
        (Scale("", whole=True), (0.9, 3.1), "1 2 3"),
        (Scale("", names=("p", "q")), (-0.6, 1.6), "p q"),
    ],
)
def test_ticks(scale, ends, texts):
    assert " ".join(text for _, text in scale.ticks(ends)) == texts


def test_every_logarithmic_scale_has_ticks_inside():
    for decades in range(1, 30):
        ends = (0.7e-3, 1.3e-3 * 10**decades)
        ticks = Scale("", logarithmic=True).ticks(ends)
        assert 2 <= len(ticks) <= 12
        assert all(ends[0] <= value <= ends[1] for value, _ in ticks)


def test_marks_lie_where_their_numbers_are():
    text = svg.draw(chart(Dots(((0, 10, "low"), (4, 30, "high"), (2, 20, "middle")))))
    (_, x0, y0), (_, x1, y1), (_, x2, y2) = places(text)
    assert x0 < x2 < x1
    assert y1 < y2 < y0, "up is more"
    assert x2 == pytest.approx((x0 + x1) / 2, abs=0.1)
    assert y2 == pytest.approx((y0 + y1) / 2, abs=0.1)


def test_logarithmic_places():
    dots = Dots(tuple((x, 1, "") for x in (1, 10, 100)))
    xs = [x for _, x, _ in places(svg.draw(chart(dots, x=Scale("", logarithmic=True))))]
    assert xs[1] == pytest.approx((xs[0] + xs[2]) / 2, abs=0.1)


def test_what_diverged_is_a_cross_at_the_top():
    (kind, _, y), _ = places(svg.draw(chart(Dots(((1, math.inf, "lost"), (2, 5, "kept"))))))
    assert (kind, y) == ("cross", svg.TOP)


def test_intervals_end_at_the_edge_of_the_scale():
    x = Scale("", logarithmic=True)
    span = Span(1e-9, 1e9, 0.1, 5, "wide")
    text = svg.draw(chart(Dots(((0.01, 5, ""), (1, 6, ""))), span, x=x, bounds=(0.01, 1)))
    start, end = re.search(r'class="span" d="M([\d.]+) .*?H([\d.]+)m', text).groups()
    assert float(start) == svg.LEFT
    assert float(end) == svg.WIDTH - svg.RIGHT


def test_a_chart_is_well_formed_and_escaped():
    marks = (Dots(((1, 2, '"<&>'),)), Line(((1, 2), (2, 3)), steps=True), Arrow(2, 3, False, "->"))
    root = ElementTree.fromstring(svg.draw(chart(*marks)))
    assert root.get("aria-label").startswith("a & b")
    tips = [element.get("data-tip") for element in root.iter() if element.get("data-tip")]
    assert tips == ['"<&>', "->"]
    assert [g.get("data-series") for g in root.iter("g")] == ["a <series>"]


def test_series_differ_in_more_than_colour():
    looks = [Style.of(number) for number in range(24)]
    assert len(set(looks)) == 24
    assert len({(look.marker, look.dash) for look in looks}) == 24


def luminance(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("colour", COLOURS)
def test_colours_stand_out_on_white(colour):
    assert 1.05 / (luminance(colour) + 0.05) >= 3, "WCAG 2.2, 1.4.11: marks of a chart"
