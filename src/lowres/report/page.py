"""The page: one HTML file with all its charts, images, numbers, styles and script inside."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup

from lowres.comparing.contact_sheet import reopen_store
from lowres.report import study_charts, svg, tables
from lowres.report.analysis import Analysis
from lowres.report.chart import Chart
from lowres.report.headline import Headline
from lowres.report.reading import Row, provenance
from lowres.store.preview import Sheet, sheet

MOST_REASONS = 20
"""Reasons of runs without an error that are listed above the table of all runs."""


@dataclass(frozen=True, slots=True)
class DrawnChart:
    """A chart on the page."""

    title: str
    note: str
    svg: Markup
    unit: str = ""


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A series in a legend."""

    name: str
    swatch: Markup


Section = tuple[list[DrawnChart], list[LegendEntry]]


def to_html(title: str, analysis: Analysis, first: Headline, files: Mapping[str, Any]) -> str:
    """Return the page. Nothing in it depends on the time: the same runs give the same bytes.

    Args:
        title: of the page.
        analysis: everything that it shows.
        first: its first screen.
        files: texts and JSON values that a reader can save from it, by file name.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lowres.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    store, reason = reopen_store(*analysis.rows[0].store)
    images = sheet(store, analysis.variants) if store else Sheet(analysis.variants, (), reason)
    by_cost = study_charts.cost_charts(analysis)
    sections = {
        "first": _section([first.chart] if first.chart else []),
        "responses": _section(study_charts.response_charts(analysis)),
        "ranks": _section(study_charts.rank_charts(analysis.pairs)),
        "costs": _section([chart for _, chart in by_cost], [unit for unit, _ in by_cost]),
        "filters": _section(study_charts.filter_charts(analysis.filters)),
    }
    inside = json.dumps(files, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text: str = environment.get_template("page.html").render(
        title=title,
        analysis=analysis,
        first=first,
        tables=tables,
        answers={pair.sentence: pair.verdict.answer for pair in analysis.pairs},
        lost=_by_reason(analysis.rows),
        most_reasons=MOST_REASONS,
        sections=sections,
        images=images,
        statuses=list(dict.fromkeys(row.state for row in analysis.rows)),
        made=provenance(analysis.rows, analysis.swept, store),
        most=study_charts.MOST,
        files=Markup(inside.replace("<", "\\u003c")),  # no text can end the script element
    )
    return text


def _by_reason(rows: Sequence[Row]) -> list[tuple[list[Row], str]]:
    """Return the runs without an error, those with one reason together."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.reason:
            groups.setdefault(re.sub(r"\d+", "", f"{row.state} {row.reason}"), []).append(row)
    return [(group, group[0].reason) for group in groups.values()]


def _section(charts: Sequence[Chart], units: Sequence[str] = ()) -> Section:
    """Draw the charts of a section, with one legend for all of them."""
    drawn = [
        DrawnChart(chart.title, chart.note, Markup(svg.draw(chart)), unit)
        for chart, unit in zip(charts, units or [""] * len(charts), strict=True)
    ]
    series = {series.name: series for chart in charts for series in chart.series}
    legend = [LegendEntry(name, Markup(svg.swatch(each))) for name, each in series.items()]
    return drawn, legend
