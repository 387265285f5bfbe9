"""The page: one HTML file with all its charts, images, numbers, styles and script inside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup

from lowres.comparing.contact_sheet import Sheet, reopen_store, sheet
from lowres.report import charts, svg, tables
from lowres.report.analysis import Analysis
from lowres.report.chart import Chart
from lowres.report.cost import UNITS
from lowres.report.files import to_csv, to_record
from lowres.report.provenance import provenance
from lowres.statistics.verdict import BEARABLE_REGRET, RANKS_ALIKE

MOST_REASONS = 20
"""Runs without an error that are listed above the table of all runs."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart on the page."""

    title: str
    note: str
    svg: Markup
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of a legend."""

    name: str
    swatch: Markup


def to_html(title: str, analysis: Analysis) -> str:
    """Write the page. Nothing in it depends on the time: the same runs give the same bytes."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lowres.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    store, reason = reopen_store(*analysis.rows[0].store)
    images = sheet(store, analysis.variants) if store else Sheet(analysis.variants, (), reason)
    text: str = environment.get_template("page.html").render(
        title=title,
        analysis=analysis,
        tables=tables,
        answers={pair.verdict.sentence: pair.verdict.answer for pair in analysis.pairs},
        lost=[row for row in analysis.rows if row.reason],
        most_reasons=MOST_REASONS,
        ranks_alike=RANKS_ALIKE,
        bearable=BEARABLE_REGRET,
        sections=_sections(analysis),
        images=images,
        statuses=list(dict.fromkeys(row.status for row in analysis.rows)),
        made=provenance(analysis, store),
        most=charts.MOST,
        files=_embedded({"runs.csv": to_csv(analysis.rows), "report.json": to_record(analysis)}),
    )
    return text


def _sections(analysis: Analysis) -> dict[str, tuple[list[Drawn], list[Key]]]:
    """Draw the charts of each section, with one legend for all of them."""
    by_cost = [
        (chart, unit)
        for make in (charts.anytime_chart, charts.front_chart)
        for unit in UNITS
        if (chart := make(analysis, unit)) is not None
    ]
    return {
        "responses": _section(charts.response_charts(analysis)),
        "ranks": _section(charts.rank_charts(analysis.pairs)),
        "costs": _section([chart for chart, _ in by_cost], [unit for _, unit in by_cost]),
        "filters": _section(charts.filter_charts(analysis.filters)),
    }


def _section(found: Sequence[Chart], units: Iterable[str] = ()) -> tuple[list[Drawn], list[Key]]:
    of_unit = list(units) or [""] * len(found)
    drawn = [
        Drawn(chart.title, chart.note, Markup(svg.draw(chart)), unit)
        for chart, unit in zip(found, of_unit, strict=True)
    ]
    series = {series.name: series for chart in found for series in chart.series}
    keys = [Key(name, Markup(svg.swatch(each))) for name, each in series.items()]
    return drawn, keys


def _embedded(files: dict[str, Any]) -> Markup:
    """Write files as JSON that no text in it can end the script element of."""
    text = json.dumps(files, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))
