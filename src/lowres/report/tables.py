"""The tables of a report, as text: page and Markdown lay out the same cells."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lowres.report.analysis import Analysis
from lowres.report.reading import Row, sort_value
from lowres.statistics import Figure, Interval
from lowres.text import MISSING, number, points, short, shortened, value as value_text
from lowres.training.run import RunState


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        text: the text that it shows.
        value: the number that it sorts by; None sorts it by its text.
    """

    text: str
    value: float | None = None

    @property
    def sort(self) -> str:
        """The number as page.js reads it."""
        return "Infinity" if self.value == math.inf else repr(self.value)


@dataclass(frozen=True, slots=True)
class Table:
    """Headings, which hold units, and rows with as many texts."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def interval(found: Interval | None, factor: float, digits: int) -> str:
    """Return an interval in brackets, or an empty text."""
    if found is None:
        return ""
    return f"[{number(factor * found.low, digits)}, {number(factor * found.high, digits)}]"


def figure(found: Figure | None, factor: float = 1.0, digits: int = 2) -> str:
    """Return an estimate with its interval."""
    if found is None or found.value is None:
        return MISSING
    value = number(factor * found.value, digits)
    return f"{value} {interval(found.interval, factor, digits)}".strip()


def pair_table(analysis: Analysis) -> Table:
    """Return the figures of each proxy and target."""
    headings = (
        "proxy",
        "target",
        "configurations",
        "seeds",
        "Kendall's tau",
        "its ceiling",
        "Spearman's rho",
        "its ceiling",
        "regret, points",
        "cheaper, time",
        "cheaper, operations",
    )
    rows = []
    for pair in analysis.pairs:
        found = pair.verdict
        rows.append(
            (
                found.proxy,
                found.target,
                str(found.configurations),
                str(found.seeds),
                figure(found.kendall),
                figure(found.kendall_ceiling),
                figure(found.spearman),
                figure(found.spearman_ceiling),
                figure(found.regret.regret if found.regret else None, 100, 1),
                _times(found.speed_up.ratio if found.speed_up else None),
                _times(pair.flops.ratio if pair.flops else None),
            )
        )
    return Table(headings, tuple(rows))


def _times(ratio: float | None) -> str:
    return MISSING if ratio is None else f"{number(ratio, 1)}x"


def optimum_table(analysis: Analysis) -> Table:
    """Return the best learning rate of each curve."""
    headings = ("curve", "fitted optimum", "best tried", "as good as the best", "remark")
    rows = []
    for curve in analysis.responses:
        best, near = curve.optimum, curve.region
        if best is None:
            rows.append((curve.label, MISSING, MISSING, MISSING, "all runs diverged"))
            continue
        ends = best.interval
        between = f" [{short(ends.low)}, {short(ends.high)}]" if ends else ""
        rows.append(
            (
                curve.label,
                f"{short(best.lr)}{between}",
                short(best.best_lr) + (" (edge)" if best.at_edge else ""),
                f"{short(near.low)} to {short(near.high)}" if near else MISSING,
                best.reason,
            )
        )
    return Table(headings, tuple(rows))


def shift_table(analysis: Analysis) -> Table:
    """Return how far the best learning rate moves between sizes."""
    headings = ("from", "to", "setting", "moves by, decades", "good regions overlap", "remark")
    rows = (
        (
            move.first,
            move.second,
            move.setting or MISSING,
            figure(move.decades),
            {True: "yes", False: "no", None: MISSING}[move.overlap],
            move.decades.reason,
        )
        for move in analysis.shifts
    )
    return Table(headings, tuple(rows))


def spent_table(analysis: Analysis) -> Table:
    """Return cost and best error of each variant."""
    headings = (
        "variant",
        "runs",
        "best configuration",
        "its top-1 error, %",
        "all training, s",
        "all training, TFLOP",
        "hypervolume, decades x points",
    )
    rows = (
        (
            spent.variant,
            str(spent.runs),
            spent.best or MISSING,
            points(spent.error),
            number(spent.seconds, 0),
            short(_teraflops(spent.flops)),
            number(100 * spent.covered, 1),
        )
        for spent in analysis.spent
    )
    return Table(headings, tuple(rows))


def _teraflops(flops: float | None) -> float | None:
    return None if flops is None else flops / 1e12


def front_table(analysis: Analysis) -> Table:
    """Return the Pareto front of training time and error."""
    front = [point for point in analysis.costs if "seconds" in point.on_front]
    front.sort(key=lambda point: point.seconds)
    rows = ((p.label, number(p.seconds, 1), points(p.error)) for p in front)
    return Table(("configuration", "training, s", "top-1 error, %"), tuple(rows))


def filter_table(analysis: Analysis) -> Table:
    """Return the differences between filters."""
    headings = ("at", "filter", "less filter", "difference, points", "p", "detectable, points")
    rows = (
        (
            result.size_name,
            pair.first,
            pair.second,
            f"{points(pair.mean)} {interval(pair.interval, 100, 2)}",
            f"{pair.p_value:.2g}",
            points(pair.detectable),
        )
        for result in analysis.filters
        for pair in result.comparison.differences
    )
    return Table(headings, tuple(rows))


def unfinished_table(analysis: Analysis) -> Table:
    """Return the runs without an error, and why."""
    rows = (
        (row.name, row.state, shortened(row.reason))
        for row in analysis.rows
        if row.state is not RunState.TRAINED
    )
    return Table(("run", "status", "reason"), tuple(rows))


def run_headings(analysis: Analysis) -> tuple[str, ...]:
    """Return the headings of the table of runs."""
    return (
        "run",
        "status",
        *(name.replace("_", " ") for name in analysis.swept),
        "network",
        "parameters",
        "top-1 error, %",
        "top-5 error, %",
        "training, s",
        "training, TFLOP",
        "images / s",
        "reason",
    )


def run_cells(analysis: Analysis, row: Row) -> tuple[Cell, ...]:
    """Return the cells of a run; a dash stands for what an older lowres did not record."""
    result = row.result
    flops = _teraflops(row.flops) if result else None
    speed = result.get("images_per_s")

    def numeric(value: float | None, text: str) -> Cell:
        return Cell(text, math.inf if value is None else float(value))  # missing sorts last

    return (
        Cell(row.name),
        Cell(row.state),
        *(
            Cell(value_text(getattr(row.recipe, name)), sort_value(row, name))
            for name in analysis.swept
        ),
        Cell(str(result.get("network", MISSING))),
        numeric(result.get("parameters"), number(result.get("parameters"), 0)),
        numeric(result.get("top1_error"), points(result.get("top1_error"))),
        numeric(result.get("top5_error"), points(result.get("top5_error"))),
        numeric(result.get("train_s"), number(result.get("train_s"), 1)),
        numeric(flops, short(flops)),
        numeric(speed, number(speed, 0)),
        Cell(shortened(row.reason)),
    )
