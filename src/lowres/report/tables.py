"""The tables of a report, as text: page and Markdown lay out the same cells."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lowres.report.analysis import Analysis
from lowres.report.learning_rates import Response
from lowres.report.reading import Row, value_text
from lowres.report.transfer import Judged
from lowres.report.words import (
    MISSING,
    figure,
    number,
    percent,
    short,
    shortened,
    teraflops,
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        text: what it shows.
        value: what it sorts by; None sorts it by its text.
    """

    text: str
    value: float | None = None

    @property
    def sort(self) -> str:
        """What page.js reads as a number."""
        return "Infinity" if self.value == math.inf else repr(self.value)


@dataclass(frozen=True, slots=True)
class Table:
    """Headings, which hold units, and rows of as many texts."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def pair_table(analysis: Analysis) -> Table:
    """Give the figures of each proxy and target."""
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
    return Table(headings, tuple(map(_pair_row, analysis.pairs)))


def _pair_row(pair: Judged) -> tuple[str, ...]:
    found = pair.verdict
    return (
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


def _times(ratio: float | None) -> str:
    return MISSING if ratio is None else f"{number(ratio, 1)}x"


def optimum_table(analysis: Analysis) -> Table:
    """Give the best learning rate of each curve."""
    headings = ("curve", "fitted optimum", "best tried", "as good as the best", "remark")
    return Table(headings, tuple(map(_optimum_row, analysis.responses)))


def _optimum_row(curve: Response) -> tuple[str, ...]:
    best, near = curve.optimum, curve.region
    if best is None:
        return curve.label, MISSING, MISSING, MISSING, "all runs diverged"
    ends = f" [{short(best.interval.low)}, {short(best.interval.high)}]" if best.interval else ""
    return (
        curve.label,
        f"{short(best.lr)}{ends}",
        short(best.best_lr) + (" (edge)" if best.at_edge else ""),
        f"{short(near.low)} to {short(near.high)}" if near else MISSING,
        best.reason,
    )


def shift_table(analysis: Analysis) -> Table:
    """Give how far the best learning rate moves between sizes."""
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
    """Give what each variant took and gave."""
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
            percent(spent.error),
            number(spent.seconds, 0),
            short(teraflops(spent.flops)),
            number(100 * spent.covered, 1),
        )
        for spent in analysis.spent
    )
    return Table(headings, tuple(rows))


def filter_table(analysis: Analysis) -> Table:
    """Give the differences between filters."""
    headings = ("at", "filter", "less filter", "difference, points", "p", "detectable, points")
    rows = (
        (
            found.size_name,
            pair.first,
            pair.second,
            f"{percent(pair.mean)} [{percent(pair.interval.low)}, {percent(pair.interval.high)}]",
            f"{pair.p_value:.2g}",
            percent(pair.detectable),
        )
        for found in analysis.filters
        for pair in found.comparison.differences
    )
    return Table(headings, tuple(rows))


def run_headings(analysis: Analysis) -> tuple[str, ...]:
    """Give the headings of the table of runs."""
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
    """Give the cells of a run; what an older lowres did not keep is a dash."""
    result = row.result
    swept = (_field(row, name) for name in analysis.swept)
    flops = teraflops(row.flops) if result else None
    speed = result.get("images_per_s")
    return (
        Cell(row.name),
        Cell(row.status),
        *swept,
        Cell(str(result.get("network", MISSING))),
        _numeric(result.get("parameters"), number(result.get("parameters"), 0)),
        _numeric(result.get("top1_error"), percent(result.get("top1_error"))),
        _numeric(result.get("top5_error"), percent(result.get("top5_error"))),
        _numeric(result.get("train_s"), number(result.get("train_s"), 1)),
        _numeric(flops, short(flops)),
        _numeric(speed, number(speed, 0)),
        Cell(shortened(row.reason)),
    )


def _numeric(value: float | None, text: str) -> Cell:
    # What is missing sorts last.
    return Cell(text, math.inf if value is None else float(value))


def _field(row: Row, name: str) -> Cell:
    value = row.variant.size if name == "variant" else getattr(row.recipe, name)
    sortable = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(value_text(row.recipe, name), float(value) if sortable else None)
