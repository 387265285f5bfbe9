"""The page: one HTML file with all its charts, images, numbers, styles and script inside."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from lowres.comparing.contact_sheet import reopen_store
from lowres.report import study_charts, svg, tables
from lowres.report.analysis import NOTHING, Analysis
from lowres.report.chart import Chart
from lowres.report.headline import Headline
from lowres.report.pairs import JudgedPair, main_pair
from lowres.report.reading import Row, provenance
from lowres.store.preview import Sheet, sheet
from lowres.study.runs import Damaged
from lowres.text import without_folders

MOST_DRAWN = 1000
"""Runs in the table at a time; page.js draws others when they are wanted."""

MOST_INSIDE = 10_000_000
"""Bytes of a file that the page still holds; it takes about a quarter there, compressed."""

MOST_SHOWN = 4
"""Sentences of a kind that show at once; the page unfolds the others."""

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


def to_html(
    title: str,
    analysis: Analysis,
    first: Headline,
    files: Mapping[str, bytes],
    beside: Sequence[str] = (),
) -> str:
    """Return the page. Nothing in it depends on the time: the same runs give the same bytes.

    Args:
        title: of the page.
        analysis: everything that it shows.
        first: its first screen.
        files: what a reader can save from it, by file name.
        beside: names of the files that are too large for it.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lowres.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    store, reason = reopen_store(*analysis.rows[0].store)
    where = Path(analysis.rows[0].store[0]).parent
    images = (
        sheet(store, analysis.variants)
        if store
        else Sheet(analysis.variants, (), without_folders(reason, [str(where)]))
    )
    pairs = _in_order(analysis.pairs)
    by_cost = study_charts.cost_charts(analysis)
    sections = {
        "first": _section([first.chart] if first.chart else []),
        "responses": _section(study_charts.response_charts(analysis)),
        "ranks": _section(study_charts.rank_charts(pairs)),
        "epochs": _section(
            [chart for chart in [study_charts.learning_curve_chart(analysis)] if chart]
        ),
        "costs": _section([chart for _, chart in by_cost], [unit for unit, _ in by_cost]),
        "filters": _section(study_charts.filter_charts(analysis.filters)),
    }
    runs = tables.run_table(analysis)
    inside = {name: _packed(data) for name, data in files.items()}
    if rest := runs.rows[MOST_DRAWN:]:
        inside["more runs"] = _packed(json.dumps(rest, ensure_ascii=False).encode())
    text: str = environment.get_template("page.html").render(
        title=title,
        analysis=analysis,
        first=first,
        tables=tables,
        answers={pair.sentence: pair.verdict.answer for pair in analysis.pairs},
        findings=_findings(pairs, analysis),
        most_shown=MOST_SHOWN,
        lost=_by_reason([*analysis.rows, *analysis.damaged]),
        most_reasons=MOST_REASONS,
        sections=sections,
        images=images,
        reach=analysis.reach_text,
        runs=runs,
        most_drawn=MOST_DRAWN,
        beside=beside,
        statuses=list(dict.fromkeys(row.state for row in analysis.rows)),
        made=provenance(analysis.rows, analysis.swept, store),
        most=study_charts.MOST,
        files=inside,
    )
    return text


def _findings(pairs: Sequence[JudgedPair], analysis: Analysis) -> list[str]:
    """Return the sentences on pairs, with those on orders and halving after the first one.

    Without a pair: those on filters.
    """
    others = [field.sentence for field in analysis.filters] or [NOTHING]
    found = [pair.sentence for pair in pairs] or others
    halved = [analysis.halved.sentence] if analysis.halved else []
    return [found[0], *analysis.order_sentences, *halved, *found[1:]]


def _in_order(pairs: Sequence[JudgedPair]) -> list[JudgedPair]:
    """Return the pair of the first screen, others of its target, and the rest."""
    first = main_pair(pairs)

    def distance(pair: JudgedPair) -> int:
        same = first is not None and pair.verdict.target == first.verdict.target
        return 0 if pair is first else 1 if same else 2

    return sorted(pairs, key=distance)


def _packed(data: bytes) -> str:
    """Return compressed bytes as text; page.js unpacks them."""
    return b64encode(gzip.compress(data, mtime=0)).decode()


def _by_reason(rows: Sequence[Row | Damaged]) -> list[tuple[list[Row | Damaged], str]]:
    """Return the runs without an error, those with one reason together."""
    groups: dict[str, list[Row | Damaged]] = {}
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
