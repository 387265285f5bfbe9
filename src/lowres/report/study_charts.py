"""The charts of a report, made from its numbers. Errors are drawn in percent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lowres.report.analysis import Analysis
from lowres.report.chart import Arrow, Band, Chart, Dots, Line, Mark, Scale, Series, Span, Style
from lowres.report.curves import UNITS, ConfigurationCost, ResponseCurve, Unit
from lowres.report.fields import FieldResult
from lowres.report.pairs import JudgedPair
from lowres.report.reading import mean
from lowres.report.tables import figure
from lowres.text import number, percent, points, short

MOST = 24
"""Charts of one kind on a page, which would get long and heavy; the tables show the rest."""

COST_TITLES: dict[Unit, str] = {
    "seconds": "training, seconds",
    "flops": "training, TFLOP (10¹² operations)",
}
ERROR = Scale("top-1 error, %")


def variant_styles(analysis: Analysis) -> dict[str, Style]:
    """Return a style for each variant, the same in every chart."""
    return {name: Style.of(place) for place, name in enumerate(analysis.variants)}


def response_charts(analysis: Analysis) -> list[Chart]:
    """Draw error against learning rate: a chart for each setting, a series for each variant."""
    styles = variant_styles(analysis)
    settings = list(dict.fromkeys(curve.setting for curve in analysis.responses))
    charts = []
    for place, setting in enumerate(settings[:MOST], 1):
        curves = [curve for curve in analysis.responses if curve.setting == setting]
        series = tuple(
            Series(curve.variant, styles[curve.variant], _response_marks(curve)) for curve in curves
        )
        rates = tuple(rate for curve in curves for rate in curve.learning_rates)
        title = f"Error against learning rate{f', {setting}' if setting else ''}"
        x = Scale("learning rate, per step", logarithmic=True)
        charts.append(Chart(f"learning-rate-{place}", title, x, ERROR, series, bounds=rates))
    return charts


def _response_marks(curve: ResponseCurve) -> tuple[Mark, ...]:
    means, seeds = [], []
    for rate, errors in zip(curve.learning_rates, curve.errors, strict=True):
        means.append((rate, 100 * mean(errors)))
        for error in errors:
            text = f"{curve.label}, lr {rate:g}: {_error_text(error)} (one run)"
            seeds.append((rate, 100 * error, text))
    line = tuple((rate, error) for rate, error in means if math.isfinite(error))
    dots = tuple(
        (rate, error, f"{curve.label}, lr {rate:g}: mean {number(error, 2)} %")
        for rate, error in line
    )
    marks: list[Mark] = [Line(line), Dots(tuple(seeds), "hollow"), Dots(dots)]
    best = curve.optimum
    if best is not None and best.at_edge:
        right = best.best_lr >= math.sqrt(curve.learning_rates[0] * curve.learning_rates[-1])
        height = min(error for _, error in line)
        marks.append(Arrow(best.best_lr, height, right, f"{curve.label}: {best.reason}"))
    elif best is not None and best.lr is not None:
        ends = best.interval
        where = f" [{short(ends.low)}, {short(ends.high)}]" if ends else f" ({best.reason})"
        text = f"{curve.label}: fitted optimum {short(best.lr)}{where}"
        low, high = (ends.low, ends.high) if ends else (best.lr, best.lr)
        marks.append(Span(low, high, best.lr, min(error for _, error in line), text))
    return tuple(marks)


def _error_text(error: float) -> str:
    return percent(error) if math.isfinite(error) else "diverged"


def _ranks(errors: Sequence[float]) -> NDArray[np.float64]:
    """Return ranks from 1, the mean of their places where errors are equal."""
    places = np.sort(errors)
    return (np.searchsorted(places, errors) + np.searchsorted(places, errors, "right") + 1) / 2


def rank_charts(pairs: Sequence[JudgedPair]) -> list[Chart]:
    """Draw the ranks of configurations on proxy and target, a chart for each pair."""
    return [_rank_chart(pair, place) for place, pair in enumerate(pairs[:MOST], 1)]


def _rank_chart(pair: JudgedPair, place: int) -> Chart:
    verdict, count = pair.verdict, len(pair.configurations)
    x, y = (_ranks(errors) for errors in (pair.proxy_errors, pair.target_errors))
    dots = []
    for n, configuration in enumerate(pair.configurations):
        on_proxy = f"{verdict.proxy} {_error_text(pair.proxy_errors[n])}, rank {x[n]:g}"
        on_target = f"{verdict.target} {_error_text(pair.target_errors[n])}, rank {y[n]:g}"
        dots.append((float(x[n]), float(y[n]), f"{configuration}: {on_proxy}; {on_target}"))
    chosen, best = int(x.argmin()), int(y.argmin())
    ceiling = pair.ceiling
    limit = figure(ceiling) if ceiling.value is not None else f"none ({ceiling.reason})"
    tau = figure(pair.kendall) if pair.kendall.value is not None else pair.kendall.reason
    return Chart(
        f"ranks-{place}",
        f"{verdict.proxy} for {verdict.target}",
        Scale(f"rank on {verdict.proxy}, 1 is best", whole=True),
        Scale(f"rank on {verdict.target}, 1 is best", whole=True),
        (
            Series("equal ranks", Style(None, dash="4 4"), (Line(((1, 1), (count, count))),)),
            Series("configuration", Style.of(0), (Dots(tuple(dots)),)),
            Series("the proxy's choice", Style(1), (Dots((dots[chosen],), "ring"),)),
            Series("the target's best", Style(2, "diamond"), (Dots((dots[best],), "ring"),)),
        ),
        note=f"Kendall's tau {tau}; ceiling {limit}",
    )


def learning_curve_chart(analysis: Analysis) -> Chart | None:
    """Draw the error after each epoch, for the best configuration of each variant."""
    styles, series = variant_styles(analysis), []
    for curve in analysis.learning_curves:
        line = tuple((epoch, 100 * error) for epoch, error in enumerate(curve.errors, 1))
        count = len(line)
        marked = sorted({max(1, n * count // 4) for n in (1, 2, 3, 4)})
        dots = tuple(
            (
                epoch,
                line[epoch - 1][1],
                f"{curve.label}: {number(line[epoch - 1][1], 2)} % after epoch {epoch}",
            )
            for epoch in marked
        )
        series.append(Series(curve.variant, styles[curve.variant], (Line(line), Dots(dots))))
    if not series:
        return None
    x = Scale("epochs", whole=True)
    return Chart(
        "learning-curves",
        "Error along the training of the best configurations",
        x,
        ERROR,
        tuple(series),
    )


def anytime_chart(analysis: Analysis, unit: Unit) -> Chart | None:
    """Draw the best error that a search on each variant has reached by a cost."""
    styles, series = variant_styles(analysis), []
    for curve in analysis.anytime:
        if curve.unit != unit:
            continue
        costs = [_in_unit(cost, unit) for cost in curve.costs]
        line = tuple(zip(costs, (100 * error for error in curve.median), strict=True))
        band = tuple(
            (cost, 100 * low, 100 * high)
            for cost, low, high in zip(costs, curve.low, curve.high, strict=True)
        )
        dots = tuple(
            (cost, error, f"{curve.variant}: {number(error, 2)} % by {_cost_text(cost, unit)}")
            for cost, error in line[:: len(line) // 8 or 1]
        )
        marks = Band(band), Line(line, steps=True), Dots(dots)
        series.append(Series(curve.variant, styles[curve.variant], marks))
    if not series:
        return None
    title = COST_TITLES[unit].replace("training", "training of all runs so far")
    x = Scale(title, logarithmic=True)
    return Chart(f"anytime-{unit}", "Best error reached by a search", x, ERROR, tuple(series))


def front_chart(analysis: Analysis, unit: Unit) -> Chart | None:
    """Draw error against cost of every configuration, with the Pareto front as a line."""
    styles = variant_styles(analysis)
    counted = [point for point in analysis.costs if getattr(point, unit) is not None]
    if not counted:
        return None
    front = sorted(_at(point, unit) for point in counted if unit in point.on_front)
    end = max(_at(point, unit)[0] for point in counted)
    steps = Line((*front, (end, front[-1][1])), steps=True)
    ringed = tuple(_dot(point, unit) for point in counted if unit in point.on_front)
    series = [Series("Pareto front", Style(None), (steps, Dots(ringed, "ring")))]
    for variant in dict.fromkeys(point.variant for point in counted):
        dots = tuple(_dot(point, unit) for point in counted if point.variant == variant)
        series.append(Series(variant, styles[variant], (Dots(dots),)))
    x = Scale(COST_TITLES[unit].replace("training", "training of a run"), logarithmic=True)
    return Chart(f"front-{unit}", "Error against cost", x, ERROR, tuple(series))


def training_front_chart(analysis: Analysis, unit: Unit) -> Chart | None:
    """Draw the least error by each cost along all trainings, with its interval."""
    styles = variant_styles(analysis)
    stretches = [stretch for stretch in analysis.front if stretch.unit == unit]
    if sum(len(stretch.points) for stretch in stretches) < 2:
        return None
    every = [point for stretch in stretches for point in stretch.points]
    line = tuple((_in_unit(point.cost, unit), 100 * point.error) for point in every)
    band = tuple(
        (_in_unit(cost, unit), 100 * point.interval.low, 100 * point.interval.high)
        for point, after in zip(every, [*every[1:], every[-1]], strict=True)
        if point.interval is not None
        for cost in (point.cost, after.cost)  # it keeps its height until the next point
    )
    marks: list[Mark] = [Band(band)] if len(band) > 1 else []
    series = [Series("least error", Style(None), (*marks, Line(line, steps=True)))]
    for variant in dict.fromkeys(stretch.variant for stretch in stretches):
        dots = []
        for stretch in stretches:
            for point in stretch.points if stretch.variant == variant else ():
                sure = "" if point.p is None else f", the best so far with P = {point.p:.2f}"
                text = (
                    f"{stretch.label}: {percent(point.error)} after epoch {point.epoch}, "
                    f"{_cost_text(_in_unit(point.cost, unit), unit)}{sure}"
                )
                dots.append((_in_unit(point.cost, unit), 100 * point.error, text))
        series.append(Series(variant, styles[variant], (Dots(tuple(dots)),)))
    x = Scale(COST_TITLES[unit].replace("training", "training of a run so far"), logarithmic=True)
    title = "Least error along all trainings"
    return Chart(f"training-front-{unit}", title, x, ERROR, tuple(series))


def _in_unit(cost: float, unit: Unit) -> float:
    return cost if unit == "seconds" else cost / 1e12


def _cost_text(cost: float, unit: Unit) -> str:
    return f"{short(cost)} {'s' if unit == 'seconds' else 'TFLOP'}"


def _at(point: ConfigurationCost, unit: Unit) -> tuple[float, float]:
    return _in_unit(getattr(point, unit), unit), 100 * point.error


def _dot(point: ConfigurationCost, unit: Unit) -> tuple[float, float, str]:
    cost, error = _at(point, unit)
    return cost, error, f"{point.label}: {percent(point.error)}, {_cost_text(cost, unit)}"


def filter_charts(results: Sequence[FieldResult]) -> list[Chart]:
    """Draw how filters, or other values in words, differ: a chart for each comparison."""
    charts = []
    for place, result in enumerate(results[:MOST], 1):
        pairs = result.comparison.main[::-1]  # the first one at the top
        if not pairs:
            continue
        series = []
        for name, style, significant in (
            ("no difference shown", Style(0, "diamond"), False),
            ("a difference", Style(1, "diamond"), True),
        ):
            spans = tuple(
                Span(
                    100 * pair.interval.low,
                    100 * pair.interval.high,
                    100 * pair.mean,
                    row,
                    f"{pair.first} less {pair.second}: {points(pair.mean)} points "
                    f"[{points(pair.interval.low)}, {points(pair.interval.high)}], "
                    f"p {pair.p_value:.2g}",
                )
                for row, pair in enumerate(pairs)
                if pair.sure == significant
            )
            if spans:
                series.append(Series(name, style, spans))
        names = tuple(
            pair.first
            if result.comparison.from_others
            else f"{pair.first} \N{MINUS SIGN} {pair.second}"
            for pair in pairs
        )
        what = "top-1 error, points"
        if result.comparison.from_others:
            what += " above the mean of the others"
        charts.append(
            Chart(
                f"filters-{place}",
                result.title,
                Scale(what),
                Scale("", names=names),
                tuple(series),
                zero=True,
            )
        )
    return charts


def cost_charts(analysis: Analysis) -> list[tuple[Unit, Chart]]:
    """Draw error against cost in each unit in which costs are known."""
    charts = [
        (unit, make(analysis, unit))
        for unit in UNITS
        for make in (anytime_chart, front_chart, training_front_chart)
    ]
    return [(unit, chart) for unit, chart in charts if chart is not None]


def all_charts(analysis: Analysis) -> list[Chart]:
    """Return every chart of a report, in the page's order."""
    return [
        *response_charts(analysis),
        *rank_charts(analysis.pairs),
        *filter(None, [learning_curve_chart(analysis)]),
        *(chart for _, chart in cost_charts(analysis)),
        *filter_charts(analysis.filters),
    ]
