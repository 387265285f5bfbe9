"""Writing a report: runs are read and analysed once, and each format shows the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lowres.comparing.contact_sheet import reopen_store
from lowres.errors import require
from lowres.report.analysis import Analysis, analyse
from lowres.report.files import to_csv, to_record
from lowres.report.markdown import to_markdown
from lowres.report.provenance import provenance
from lowres.report.reading import read_rows
from lowres.work.files import write_bytes, write_json

Format = Literal["html", "md", "csv", "json", "png"]
"""html: report.html, one page that opens offline. md: report.md. csv: runs.csv, a line for each
run. json: report.json, all numbers. png: an image of each chart in report-figures/."""

FORMATS: tuple[Format, ...] = ("html", "csv", "json")
FIGURES = "report-figures"


@dataclass(frozen=True, slots=True)
class Report:
    """What was written, and what it says.

    Attributes:
        files: the paths, in the order of the formats asked for.
        sentences: the main verdicts in words: on the largest size, learning rates and filters.
    """

    files: tuple[Path, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Contents:
    folder: Path
    analysis: Analysis

    @property
    def title(self) -> str:
        return f"lowres study: {self.folder.resolve().name}"


def write_report(folder: Path | str, formats: Sequence[Format] = FORMATS) -> Report:
    """Write the report of all runs in a folder, at any depth, into that folder.

    Args:
        folder: a study, a run, or a folder of runs.
        formats: any of html, md, csv, json and png.

    Returns:
        The files written and the verdicts in words. Errors in files of numbers are shares from 0
        to 1, times are seconds.

    Raises:
        StudyError: the folder holds no runs.
        RunError: a run is damaged.
        MissingExtraError: jinja2, SciPy, or for png matplotlib, is not installed.
    """
    for module in ("jinja2", "scipy", *(("matplotlib",) if "png" in formats else ())):
        require(module, "report")
    folder = Path(folder)
    contents = _Contents(folder, analyse(read_rows(folder)))
    files = [path for name in dict.fromkeys(formats) for path in WRITERS[name](contents)]
    return Report(tuple(files), tuple(contents.analysis.main_sentences))


def _write_html(contents: _Contents) -> Iterator[Path]:
    from lowres.report.page import to_html

    path = contents.folder / "report.html"
    write_bytes(path, to_html(contents.title, contents.analysis).encode())
    yield path


def _write_markdown(contents: _Contents) -> Iterator[Path]:
    path, analysis = contents.folder / "report.md", contents.analysis
    store, _ = reopen_store(*analysis.rows[0].store)
    text = to_markdown(contents.title, analysis, provenance(analysis, store))
    write_bytes(path, text.encode())
    yield path


def _write_csv(contents: _Contents) -> Iterator[Path]:
    path = contents.folder / "runs.csv"
    write_bytes(path, to_csv(contents.analysis.rows).encode())
    yield path


def _write_json(contents: _Contents) -> Iterator[Path]:
    path = contents.folder / "report.json"
    write_json(path, to_record(contents.analysis))
    yield path


def _write_png(contents: _Contents) -> Iterator[Path]:
    from lowres.report import png
    from lowres.report.charts import all_charts

    figures = contents.folder / FIGURES
    figures.mkdir(exist_ok=True)
    for chart in all_charts(contents.analysis):
        path = figures / f"{chart.slug}.png"
        write_bytes(path, png.draw(chart))
        yield path


WRITERS: dict[Format, Callable[[_Contents], Iterator[Path]]] = {
    "html": _write_html,
    "md": _write_markdown,
    "csv": _write_csv,
    "json": _write_json,
    "png": _write_png,
}
