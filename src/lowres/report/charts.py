"""The charts of a report, made from its numbers. Errors are drawn in percent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from scipy.stats import rankdata

from lowres.report.analysis import Analysis
from lowres.report.chart import Arrow, Band, Chart, Dots, Line, Mark, Scale, Series, Span, Style
from lowres.report.cost import Anytime, Cost, Unit
from lowres.report.filters import Filters
from lowres.report.learning_rates import Response
from lowres.report.reading import mean
from lowres.report.transfer import Judged
from lowres.report.words import figure, number, percent, short
from lowres.statistics import Optimum

MOST = 24
"""Charts of one kind beyond which a page gets long and heavy; the tables hold the rest."""

COST_TITLES: dict[Unit, str] = {
    "seconds": "training, seconds",
    "flops": "training, TFLOP (10¹² operations)",
}
ERROR = Scale("top-1 error, %")


def styles(names: Iterable[str]) -> dict[str, Style]:
    """Give each variant its look, the same in every chart."""
    return {name: Style.of(number) for number, name in enumerate(names)}


def response_charts(analysis: Analysis) -> list[Chart]:
    """Draw error against learning rate: a chart for each setting, a series for each variant."""
    looks = styles(analysis.variants)
    settings = list(dict.fromkeys(curve.setting for curve in analysis.responses))
    charts = []
    for place, setting in enumerate(settings[:MOST], 1):
        curves = [curve for curve in analysis.responses if curve.setting == setting]
        series = tuple(
            Series(curve.variant, looks[curve.variant], _response_marks(curve)) for curve in curves
        )
        rates = tuple(rate for curve in curves for rate in curve.learning_rates)
        title = f"Error against learning rate{f', {setting}' if setting else ''}"
        x = Scale("learning rate, per step", logarithmic=True)
        charts.append(Chart(f"learning-rate-{place}", title, x, ERROR, series, bounds=rates))
    return charts


def _response_marks(curve: Response) -> tuple[Mark, ...]:
    means = [
        (rate, 100 * mean(errors))
        for rate, errors in zip(curve.learning_rates, curve.errors, strict=True)
    ]
    seeds = tuple(
        (rate, 100 * error, f"{curve.label}, lr {rate:g}: {_told(error)} (one run)")
        for rate, errors in zip(curve.learning_rates, curve.errors, strict=True)
        for error in errors
    )
    line = tuple((rate, error) for rate, error in means if math.isfinite(error))
    dots = tuple(
        (rate, error, f"{curve.label}, lr {rate:g}: mean {error:.2f} %") for rate, error in line
    )
    marks: list[Mark] = [Line(line), Dots(seeds, "hollow"), Dots(dots)]
    if curve.optimum is not None:
        marks += _optimum_mark(curve.optimum, min(error for _, error in line), curve)
    return tuple(marks)


def _told(error: float) -> str:
    return f"{100 * error:.2f} %" if math.isfinite(error) else "diverged"


def _optimum_mark(best: Optimum, height: float, curve: Response) -> list[Mark]:
    if best.at_edge:
        right = best.best_lr >= math.sqrt(curve.learning_rates[0] * curve.learning_rates[-1])
        text = f"{curve.label}: {best.reason}"
        return [Arrow(best.best_lr, height, right, text)]
    if best.lr is None:
        return []
    ends = best.interval
    where = f" [{short(ends.low)}, {short(ends.high)}]" if ends else f" ({best.reason})"
    text = f"{curve.label}: fitted optimum {short(best.lr)}{where}"
    low, high = (ends.low, ends.high) if ends else (best.lr, best.lr)
    return [Span(low, high, best.lr, height, text)]


def rank_charts(pairs: Sequence[Judged]) -> list[Chart]:
    """Draw the ranks of configurations on proxy and target, a chart for each pair."""
    return [_rank_chart(pair, place) for place, pair in enumerate(pairs[:MOST], 1)]


def _rank_chart(pair: Judged, place: int) -> Chart:
    verdict, count = pair.verdict, len(pair.configurations)
    x, y = (rankdata(errors) for errors in (pair.proxy_errors, pair.target_errors))
    dots = [(float(x[n]), float(y[n]), _rank_text(pair, n, (x[n], y[n]))) for n in range(count)]
    chosen, best = int(x.argmin()), int(y.argmin())
    ceiling = verdict.kendall_ceiling
    limit = figure(ceiling) if ceiling.value is not None else f"none ({ceiling.reason})"
    tau = figure(verdict.kendall) if verdict.kendall.value is not None else verdict.kendall.reason
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


def _rank_text(pair: Judged, place: int, ranks: tuple[float, float]) -> str:
    sides = (
        f"{name} {_told(errors[place])}, rank {rank:g}"
        for name, errors, rank in (
            (pair.verdict.proxy, pair.proxy_errors, ranks[0]),
            (pair.verdict.target, pair.target_errors, ranks[1]),
        )
    )
    return f"{pair.configurations[place]}: {'; '.join(sides)}"


def anytime_chart(analysis: Analysis, unit: Unit) -> Chart | None:
    """Draw the best error that a search on each variant has reached by a cost."""
    looks = styles(analysis.variants)
    curves = [curve for curve in analysis.anytime if curve.unit == unit]
    if not curves:
        return None
    return Chart(
        f"anytime-{unit}",
        "Best error reached by a search",
        Scale(COST_TITLES[unit].replace("training", "training of all runs so far"), True),
        ERROR,
        tuple(Series(c.variant, looks[c.variant], _anytime_marks(c)) for c in curves),
    )


def _anytime_marks(curve: Anytime) -> tuple[Mark, ...]:
    costs = [_in_unit(cost, curve.unit) for cost in curve.costs]
    line = tuple(zip(costs, (100 * error for error in curve.median), strict=True))
    band = tuple(
        (cost, 100 * low, 100 * high)
        for cost, low, high in zip(costs, curve.low, curve.high, strict=True)
    )
    dots = tuple(
        (cost, error, f"{curve.variant}: {error:.2f} % by {_cost_text(cost, curve.unit)}")
        for cost, error in line[:: len(line) // 8 or 1]
    )
    return Band(band), Line(line, steps=True), Dots(dots)


def front_chart(analysis: Analysis, unit: Unit) -> Chart | None:
    """Draw error against cost of every configuration, with the Pareto front as a line."""
    looks = styles(analysis.variants)
    points = [point for point in analysis.costs if getattr(point, unit) is not None]
    if not points:
        return None
    front = sorted(_at(point, unit) for point in points if unit in point.on_front)
    end = max(_at(point, unit)[0] for point in points)
    steps = Line((*front, (end, front[-1][1])), steps=True)
    ringed = tuple((*_at(p, unit), _point_text(p, unit)) for p in points if unit in p.on_front)
    series = [Series("Pareto front", Style(None), (steps, Dots(ringed, "ring")))]
    for variant in dict.fromkeys(point.variant for point in points):
        dots = tuple((*_at(p, unit), _point_text(p, unit)) for p in points if p.variant == variant)
        series.append(Series(variant, looks[variant], (Dots(dots),)))
    title = COST_TITLES[unit].replace("training", "training of a run")
    return Chart(f"front-{unit}", "Error against cost", Scale(title, True), ERROR, tuple(series))


def _in_unit(cost: float, unit: Unit) -> float:
    return cost if unit == "seconds" else cost / 1e12


def _at(point: Cost, unit: Unit) -> tuple[float, float]:
    return _in_unit(getattr(point, unit), unit), 100 * point.error


def _cost_text(cost: float, unit: Unit) -> str:
    return f"{short(cost)} {'s' if unit == 'seconds' else 'TFLOP'}"


def _point_text(point: Cost, unit: Unit) -> str:
    return f"{point.label}: {100 * point.error:.2f} %, {_cost_text(_at(point, unit)[0], unit)}"


def filter_charts(comparisons: Sequence[Filters]) -> list[Chart]:
    """Draw the differences between filters with their intervals, a chart for each size."""
    return [
        _filter_chart(found, place)
        for place, found in enumerate(comparisons[:MOST], 1)
        if found.comparison.differences
    ]


def _filter_chart(found: Filters, place: int) -> Chart:
    pairs = found.comparison.differences[::-1]  # the first one at the top
    series = []
    for name, style, wanted in (
        ("no difference shown", Style(0, "diamond"), False),
        ("a difference", Style(1, "diamond"), True),
    ):
        spans = tuple(
            Span(
                100 * pair.interval.low,
                100 * pair.interval.high,
                100 * pair.mean,
                row,
                f"{pair.first} less {pair.second}: {number(100 * pair.mean, 2)} points "
                f"[{percent(pair.interval.low)}, {percent(pair.interval.high)}], "
                f"p {pair.p_value:.2g}",
            )
            for row, pair in enumerate(pairs)
            if (pair.interval.low > 0 or pair.interval.high < 0) == wanted
        )
        if spans:
            series.append(Series(name, style, spans))
    names = tuple(f"{pair.first} − {pair.second}" for pair in pairs)  # noqa: RUF001  a minus
    return Chart(
        f"filters-{place}",
        f"Filters at {found.size_name}",
        Scale("difference of top-1 error, points"),
        Scale("", names=names),
        tuple(series),
        zero=True,
    )


def all_charts(analysis: Analysis) -> list[Chart]:
    """Give every chart of a report, in the page's order."""
    by_cost = [
        chart(analysis, unit)
        for unit in ("seconds", "flops")
        for chart in (anytime_chart, front_chart)
    ]
    return [
        *response_charts(analysis),
        *rank_charts(analysis.pairs),
        *(chart for chart in by_cost if chart is not None),
        *filter_charts(analysis.filters),
    ]
