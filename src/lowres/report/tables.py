"""The tables of a report, as text: page and Markdown lay out the same cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lowres.report.analysis import Analysis
from lowres.report.best import ClassErrors
from lowres.report.pairs import JudgedPair
from lowres.report.reading import Row, field_text, sort_value
from lowres.report.targets import soonest_of_each
from lowres.statistics import Figure, Interval, Shortlist
from lowres.statistics.order import IN_WORDS
from lowres.statistics.verdict import seeds_text
from lowres.study.runs import Damaged
from lowres.study.validation_images import MOST_CLASSES
from lowres.text import MISSING, number, points, short, shortened
from lowres.training.run import RunState

Item = TypeVar("Item")


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
        ("at most, new images", lambda pair: points(pair.verdict.most_new)),
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


def carried_table(analysis: Analysis) -> Table:
    """Return for each pair and swept field whether the proxy's best value carries over."""
    rows = [(pair.verdict, field) for pair in analysis.pairs for field in pair.verdict.fields]
    return _table(
        rows,
        ("proxy", lambda row: row[0].proxy),
        ("target", lambda row: row[0].target),
        ("field", lambda row: row[1].field.replace("_", " ")),
        ("proxy's best", lambda row: field_text(row[1].value)),
        ("answer", lambda row: row[1].answer),
        ("P", lambda row: number(row[1].p_bearable, 2)),
        ("at most", lambda row: points(row[1].most)),
        ("best on the target", lambda row: row[1].best_in_words),
        (
            "fitted optimum",
            lambda row: f"{short(row[1].optimum)} {interval(row[1].interval, 1, 3)}".strip(),
        ),
    )


def order_table(analysis: Analysis) -> Table:
    """Return for each pair and field in words whether the proxy's order of its values holds."""
    rows = [(pair.verdict, order) for pair in analysis.pairs for order in pair.verdict.orders]
    return _table(
        rows,
        ("proxy", lambda row: row[0].proxy),
        ("target", lambda row: row[0].target),
        ("field", lambda row: row[1].field.replace("_", " ")),
        (
            "the proxy's order, with the error of each on the target, %",
            lambda row: "; ".join(
                f"{value} {points(error, 1)} {interval(ends, 100, 1)}"
                for value, error, ends in zip(
                    row[1].values, row[1].errors, row[1].intervals, strict=True
                )
            ),
        ),
        ("it", lambda row: IN_WORDS[row[1].answer]),
        ("P", lambda row: number(row[1].p_bearable, 2)),
        ("at most", lambda row: points(row[1].most)),
        ("pairs", lambda row: str(row[1].pairs[0])),
        ("surely agree", lambda row: str(row[1].pairs[1])),
        ("surely reverse", lambda row: str(row[1].pairs[2])),
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
    known = any(
        move.decades.value is not None or move.overlap is not None for move in analysis.shifts
    )
    return _table(
        analysis.shifts if known else (),
        ("from", lambda move: move.first),
        ("to", lambda move: move.second),
        ("setting", lambda move: move.setting or MISSING),
        ("moves by, decades", lambda move: figure(move.decades)),
        ("good regions overlap", lambda move: overlaps[move.overlap]),
        ("remark", lambda move: move.decades.reason),
    )


def learning_curve_table(analysis: Analysis) -> Table:
    """Return the error after each quarter of the epochs, and what the last quarter gains."""
    quarters = (
        "\N{VULGAR FRACTION ONE QUARTER}",
        "\N{VULGAR FRACTION ONE HALF}",
        "\N{VULGAR FRACTION THREE QUARTERS}",
    )
    curves = [curve for curve in analysis.learning_curves if curve.quarters]
    rows = [
        (
            curve.label,
            str(len(curve.errors)),
            *map(points, curve.quarters),
            points(curve.quarters[2] - curve.quarters[3]),
        )
        for curve in curves
    ]
    shares = (f"error after {share}, %" for share in quarters)
    last = "at the end, %", "gained by the last quarter, points"
    return _lean(("best configuration", "epochs", *shares, *last), rows)


def target_table(analysis: Analysis) -> Table:
    """Return how soon each configuration reaches the error that the user named."""
    return _table(
        analysis.targets,
        ("configuration", lambda one: one.configuration),
        ("runs that reach it", lambda one: f"{one.reached} of {one.runs}"),
        ("epochs", lambda one: figure(one.epochs, digits=1)),
        ("training, s", lambda one: figure(one.seconds, digits=1)),
        ("remark", lambda one: one.seconds.reason if one.seconds.value is not None else ""),
    )


def soonest_table(analysis: Analysis) -> Table:
    """Return the soonest configuration of each value in words, such as each optimizer."""
    fields = dict.fromkeys(name for one in analysis.targets for name in one.words)
    rows = [
        (field, one) for field in fields for one in soonest_of_each(analysis.targets, field)
        if len({each.words[field] for each in analysis.targets}) > 1
    ]  # fmt: skip
    return _table(
        rows,
        ("field", lambda row: row[0].replace("_", " ")),
        ("value", lambda row: row[1].words[row[0]]),
        ("variant", lambda row: row[1].variant),
        ("its soonest configuration", lambda row: row[1].configuration),
        ("runs that reach it", lambda row: f"{row[1].reached} of {row[1].runs}"),
        ("epochs", lambda row: figure(row[1].epochs, digits=1)),
        ("training, s", lambda row: figure(row[1].seconds, digits=1)),
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


def training_front_table(analysis: Analysis) -> Table:
    """Return the stretches of the front along all trainings, in operations if they are known."""
    units = {stretch.unit for stretch in analysis.front}
    unit = "flops" if "flops" in units else "seconds"
    heading = {"flops": "TFLOP", "seconds": "s"}[unit]
    factor = {"flops": 1e-12, "seconds": 1.0}[unit]
    return _table(
        (stretch for stretch in analysis.front if stretch.unit == unit),
        (f"from, {heading}", lambda one: short(factor * one.points[0].cost)),
        (f"to, {heading}", lambda one: short(factor * one.points[-1].cost)),
        ("best configuration", lambda one: one.label),
        ("after epoch", lambda one: str(one.points[-1].epoch)),
        (
            "top-1 error, %",
            lambda one: (
                f"{points(one.points[-1].error, 1)} {interval(one.points[-1].interval, 100, 1)}"
            ).strip(),
        ),
        ("P", lambda one: number(one.points[-1].p, 2)),
    )


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


def class_table(analysis: Analysis) -> Table:
    """Return the classes that lose most and least on the proxy."""
    classes = analysis.images.classes if analysis.images else ()
    if len(classes) > 2 * MOST_CLASSES:
        classes = (*classes[:MOST_CLASSES], *classes[-MOST_CLASSES:])
    return _table(
        classes,
        ("class", lambda one: one.name),
        ("images", lambda one: str(one.transfer.images)),
        ("error on the proxy, %", lambda one: points(one.transfer.proxy, 1)),
        ("on the target, %", lambda one: points(one.transfer.target, 1)),
        (
            "loss beyond other classes, points",
            lambda one: (
                f"{points(one.transfer.beyond, 1)} {interval(one.transfer.interval, 100, 1)}"
            ),
        ),
    )


def worst_table(analysis: Analysis) -> Table:
    """Return the classes with most errors in the best run."""
    return _table(
        analysis.best.worst if analysis.best else (),
        ("class", lambda one: one.name),
        *_wrong_columns(),
    )


def confused_table(analysis: Analysis) -> Table:
    """Return the pairs of classes that the best run confuses most."""
    return _table(
        analysis.best.confused if analysis.best else (),
        ("class", lambda one: one.name),
        ("taken for", lambda one: one.taken_for),
        *_wrong_columns(),
    )


def _wrong_columns() -> tuple[tuple[str, Callable[[ClassErrors], str]], ...]:
    return (
        ("wrong", lambda one: f"{one.wrong} of {one.images}"),
        ("of the class, %", lambda one: points(one.wrong / one.images, 1)),
    )


def without_table(analysis: Analysis) -> Table:
    """Return the error of each configuration without the images that a file lists."""
    return _table(
        analysis.without.rows if analysis.without else (),
        ("configuration", lambda one: one.configuration),
        ("runs", lambda one: str(one.runs)),
        ("error on all images, %", lambda one: points(one.error)),
        ("without the listed ones, %", lambda one: points(one.without)),
        ("on the listed ones, %", lambda one: points(one.listed)),
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


@dataclass(frozen=True, slots=True)
class RunTable:
    """The table of all runs, which the page sorts and filters.

    Attributes:
        headings: one a column.
        numbers: whether a column sorts by its numbers; dashes sort last.
        rows: state and texts of each run, the best first.
    """

    headings: tuple[str, ...]
    numbers: tuple[bool, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def run_table(analysis: Analysis) -> RunTable:
    """Return the table of all runs; a dash stands for what an older lowres did not record."""
    numbers = {name: sort_value(analysis.rows[0], name) is not None for name in analysis.swept}
    in_order = sorted(analysis.rows, key=lambda row: row.error if row.finished else math.inf)
    columns: dict[str, list[str]] = {
        "run": [row.name for row in in_order],
        "status": [row.state for row in in_order],
        **{name: [field_text(getattr(r.recipe, name)) for r in in_order] for name in numbers},
        "network": [str(row.result.get("network", MISSING)) for row in in_order],
    }
    for heading, name, written in (
        ("parameters", "parameters", lambda value: number(value, 0)),
        ("top-1 error, %", "top1_error", points),
        ("top-5 error, %", "top5_error", points),
        ("test top-1 error, %", "test_top1_error", points),
        ("training, s", "train_s", lambda value: number(value, 1)),
        ("training, TFLOP", "flops", lambda value: short(_teraflops(value))),
        ("images / s", "images_per_s", lambda value: number(value, 0)),
    ):
        values = (
            (row.flops if row.result else None) if name == "flops" else row.result.get(name)
            for row in in_order
        )
        columns[heading], numbers[heading] = [written(value) for value in values], True
    columns["reason"] = [shortened(row.reason) for row in in_order]
    kept = {
        heading: texts
        for heading, texts in columns.items()
        if heading in ("run", "status") or set(texts) - {"", MISSING}
    }
    return RunTable(
        tuple(heading.replace("_", " ") for heading in kept),
        tuple(numbers.get(heading, False) for heading in kept),
        tuple(
            (row.state, cells)
            for row, cells in zip(in_order, zip(*kept.values(), strict=True), strict=True)
        ),
    )
