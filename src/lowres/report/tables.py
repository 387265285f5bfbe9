"""The tables of a report, as text: page and Markdown lay out the same cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lowres.report.analysis import Analysis, JudgedPair
from lowres.report.reading import Row, field_text, sort_value
from lowres.statistics import Figure, Interval, Shortlist
from lowres.statistics.verdict import seeds_text
from lowres.study.study import Damaged
from lowres.text import MISSING, number, points, short, shortened
from lowres.training.run import RunState

Item = TypeVar("Item")


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
    """Headings, which hold units, and rows with as many texts.

    Attributes:
        headings: one a column.
        rows: their texts.
        note: what holds of all rows, for a line below.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


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


def _table(items: Iterable[Item], *columns: tuple[str, Callable[[Item], str]]) -> Table:
    """Lay out a row for each item; a column is its heading and the text of an item."""
    rows = (tuple(text(item) for _, text in columns) for item in items)
    return _lean(tuple(heading for heading, _ in columns), list(rows))


def _lean(headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Table:
    """Leave out columns without any value, and say a remark that all rows share once."""
    kept, note = [], ""
    for place, heading in enumerate(headings):
        texts = {row[place] for row in rows}
        if heading == "remark" and len(texts) == 1 and len(rows) > 1:
            note = texts.pop()
        elif texts - {"", MISSING} or not rows:
            kept.append(place)
    return Table(
        tuple(headings[place] for place in kept),
        tuple(tuple(row[place] for place in kept) for row in rows),
        note,
    )


def pair_table(analysis: Analysis) -> Table:
    """Return the figures of each proxy and target. Costs are points of error on the target."""
    return _table(
        analysis.pairs,
        ("proxy", lambda pair: pair.verdict.proxy),
        ("target", lambda pair: pair.verdict.target),
        ("answer", lambda pair: pair.verdict.answer),
        ("P", lambda pair: number(pair.verdict.p_bearable, 2)),
        ("limit", lambda pair: points(pair.verdict.bearable)),
        ("at most", lambda pair: points(_first(pair).most)),
        ("expected", lambda pair: points(_first(pair).expected)),
        ("observed", lambda pair: points(_first(pair).observed)),
        ("alike", lambda pair: "{1} of {0}".format(*pair.verdict.pairs)),
        ("tau", lambda pair: figure(pair.kendall)),
        ("ceiling", lambda pair: figure(pair.ceiling)),
        ("saved", lambda pair: f"{number(pair.saving, 1)}x" if pair.saving else MISSING),
        (
            "runs",
            lambda pair: f"{pair.verdict.configurations} x {seeds_text(pair.verdict.seeds)}",
        ),
    )


def _first(pair: JudgedPair) -> Shortlist:
    """Return what the proxy's choice costs."""
    nothing = Shortlist(1, (), None, 0.0, None, None)
    return next(iter(pair.verdict.shortlists), nothing)


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
        tried = short(best.best_lr) + (" (edge)" if best.at_edge else "")
        good = f"{short(near.low)} to {short(near.high)}" if near else MISSING
        rows.append((curve.label, f"{short(best.lr)}{between}", tried, good, best.reason))
    return _lean(headings, rows)


def shift_table(analysis: Analysis) -> Table:
    """Return how far the best learning rate moves between sizes."""
    overlaps = {True: "yes", False: "no", None: MISSING}
    return _table(
        analysis.shifts,
        ("from", lambda move: move.first),
        ("to", lambda move: move.second),
        ("setting", lambda move: move.setting or MISSING),
        ("moves by, decades", lambda move: figure(move.decades)),
        ("good regions overlap", lambda move: overlaps[move.overlap]),
        ("remark", lambda move: move.decades.reason),
    )


def spent_table(analysis: Analysis) -> Table:
    """Return cost and best error of each variant."""
    return _table(
        analysis.spent,
        ("variant", lambda spent: spent.variant),
        ("runs", lambda spent: str(spent.runs)),
        ("best configuration", lambda spent: spent.best or MISSING),
        ("its top-1 error, %", lambda spent: points(spent.error)),
        ("all training, s", lambda spent: number(spent.seconds, 0)),
        ("all training, TFLOP", lambda spent: short(_teraflops(spent.flops))),
    )


def _teraflops(flops: float | None) -> float | None:
    return None if flops is None else flops / 1e12


def front_table(analysis: Analysis) -> Table:
    """Return the Pareto front of training time and error."""
    front = (point for point in analysis.costs if "seconds" in point.on_front)
    return _table(
        sorted(front, key=lambda point: point.seconds),
        ("configuration", lambda point: point.label),
        ("training, s", lambda point: number(point.seconds, 1)),
        ("top-1 error, %", lambda point: points(point.error)),
    )


def filter_table(analysis: Analysis) -> Table:
    """Return the differences between filters, or values of another field in words."""
    rows = [
        (found.title, one)
        for found in analysis.filters
        for one in (*found.comparison.from_others, *found.comparison.differences)
    ]
    return _table(
        rows,
        ("compared", lambda row: row[0]),
        ("value", lambda row: row[1].first),
        ("less", lambda row: row[1].second),
        (
            "difference, points",
            lambda row: f"{points(row[1].mean)} {interval(row[1].interval, 100, 2)}",
        ),
        ("p", lambda row: f"{row[1].p_value:.2g}"),
        ("detectable, points", lambda row: points(row[1].detectable)),
    )


def unfinished_table(analysis: Analysis) -> Table:
    """Return the runs without an error, and why."""
    runs: list[Row | Damaged] = [*analysis.rows, *analysis.damaged]
    return _table(
        (run for run in runs if run.state is not RunState.TRAINED),
        ("run", lambda run: run.name),
        ("status", lambda run: run.state),
        ("reason", lambda run: shortened(run.reason)),
    )


def run_table(analysis: Analysis) -> tuple[tuple[str, ...], list[tuple[Row, tuple[Cell, ...]]]]:
    """Return the headings of the table of runs, and the cells of each run, the best first.

    A dash stands for what an older lowres did not record; it sorts last.
    """
    rows = []
    for row in sorted(analysis.rows, key=lambda row: row.error if row.finished else math.inf):
        result, flops = row.result, _teraflops(row.flops) if row.result else None
        cells = {"run": Cell(row.name), "status": Cell(row.state)}
        for name in analysis.swept:
            text = field_text(getattr(row.recipe, name))
            cells[name.replace("_", " ")] = Cell(text, sort_value(row, name))
        cells["network"] = Cell(str(result.get("network", MISSING)))
        for heading, value, written in (
            ("parameters", result.get("parameters"), lambda value: number(value, 0)),
            ("top-1 error, %", result.get("top1_error"), points),
            ("top-5 error, %", result.get("top5_error"), points),
            ("training, s", result.get("train_s"), lambda value: number(value, 1)),
            ("training, TFLOP", flops, short),
            ("images / s", result.get("images_per_s"), lambda value: number(value, 0)),
        ):
            cells[heading] = Cell(written(value), math.inf if value is None else float(value))
        cells["reason"] = Cell(shortened(row.reason))
        rows.append((row, tuple(cells.values())))
    kept = [
        place
        for place, heading in enumerate(cells)
        if heading in ("run", "status")
        or any(each[place].text not in ("", MISSING) for _, each in rows)
    ]
    headings = tuple(cells)
    return (
        tuple(headings[place] for place in kept),
        [(row, tuple(each[place] for place in kept)) for row, each in rows],
    )
