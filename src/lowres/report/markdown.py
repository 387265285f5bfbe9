"""The report as Markdown: the page's sentences and tables, for a README or a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from lowres.report import tables
from lowres.report.analysis import Analysis
from lowres.report.tables import Table
from lowres.report.words import shortened


def to_markdown(title: str, analysis: Analysis, made: Sequence[tuple[str, str]]) -> str:
    """Write the report; errors in percent, times in seconds, intervals of 95 % in brackets."""
    return "\n\n".join(_parts(title, analysis, made)) + "\n"


def _parts(title: str, analysis: Analysis, made: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield f"# {_inline(title)}"
    yield _inline(analysis.summary)
    yield _list([*analysis.main_sentences, *analysis.other_sentences])
    yield "Intervals, in brackets, are of 95 %; regret and differences in points of top-1 error."
    for heading, table in (
        ("Proxies and targets", tables.pair_table(analysis)),
        ("Best learning rates", tables.optimum_table(analysis)),
        ("How far the best learning rate moves", tables.shift_table(analysis)),
        ("Cost", tables.spent_table(analysis)),
        ("Pareto front of training time and error", _front(analysis)),
        ("Filters", tables.filter_table(analysis)),
        ("Runs without an error", _without_error(analysis)),
    ):
        if table.rows:
            yield f"## {heading}"
            yield _table(table)
    yield "## How it was made"
    yield _list([f"{name}: {text}" for name, text in made])


def _front(analysis: Analysis) -> Table:
    points = sorted(
        (point for point in analysis.costs if "seconds" in point.on_front),
        key=lambda point: point.seconds,
    )
    rows = ((p.label, f"{p.seconds:.1f}", f"{100 * p.error:.2f}") for p in points)
    return Table(("configuration", "training, s", "top-1 error, %"), tuple(rows))


def _without_error(analysis: Analysis) -> Table:
    rows = (
        (row.name, row.status, shortened(row.reason))
        for row in analysis.rows
        if row.status != "trained"
    )
    return Table(("run", "status", "reason"), tuple(rows))


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_inline(line)}" for line in lines)


def _table(table: Table) -> str:
    rule = "|".join(["---"] * len(table.headings))
    lines = [_line(table.headings), f"|{rule}|", *map(_line, table.rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_inline, cells))} |"


def _inline(text: str) -> str:
    """Keep text from being taken for HTML, a table's border or emphasis."""
    plain = escape(" ".join(text.split()), quote=False)
    for sign in "\\`*_|":
        plain = plain.replace(sign, f"\\{sign}")
    return plain.replace("](", "]\\(")
