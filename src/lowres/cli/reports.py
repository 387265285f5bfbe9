"""The verbs that look at runs, status and report, and the demo, which makes some first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from lowres.cli.app import out
from lowres.cli.flags import Commas, LocalPath, Quiet, share_of_points
from lowres.progress import shown, silent
from lowres.text import command


def status(
    folder: LocalPath = Path("study"),
    /,
    *,
    as_json: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """Show how the runs of a study stand: finished, running, failed and why, and the time left.

    Args:
        folder: A study, a run, or any folder with runs below it.
        as_json: Print it as JSON, with every run.
    """
    from lowres.study.status import lines, record, standings, summary

    found = standings(folder)
    if as_json:
        out.print(json.dumps(record(folder, found), indent=2))
        return
    out.print(f"{folder}: {summary(found)}")
    out.lines(f"  {line}" for line in lines(found))
    plans = {"study.json": "study", "search.json": "search", "recipe.json": "train"}
    verb = next((verb for plan, verb in plans.items() if (folder / plan).exists()), None)
    if verb and not all(one.state.finished for one in found):
        out.print(f"to finish, run: {command(verb, folder)}")


def report(
    folder: LocalPath,
    /,
    *,
    formats: Annotated[
        tuple[Literal["html", "md", "csv", "json", "png"], ...], Commas, Parameter(name="--format")
    ] = (),
    bearable: float | None = None,
    reach: float | None = None,
    without: LocalPath | None = None,
) -> None:
    """Write a report into the folder of a study, and print its verdicts.

    Example: lowres report study --format html,md

    Args:
        folder: A study, or any folder with runs below it.
        formats: One or more. Default: html, csv and json. html: report.html, one page that opens
            offline, with everything inside. md: report.md, the same numbers for a README. csv:
            runs.csv, one line a run. json: report.json, all numbers. png: each chart as an image
            in report-figures/.
        bearable: Points of error that a choice may cost. Default: 1, or the standard deviation of a
            run on the target if that is larger.
        reach: Top-1 error in percent: a table says after how many epochs and seconds each
            configuration reaches it.
        without: State errors without some images, too. A file of lowres check STORE --out FILE:
            those that equal or resemble an image of train. Or a CSV file of yours with the columns
            row (from 0) and split.
    """
    from lowres.report.files import FORMATS, write_report

    written = write_report(
        folder,
        formats or FORMATS,
        bearable=share_of_points(bearable, "--bearable"),
        reach=share_of_points(reach, "--reach"),
        without=without,
    )
    out.lines(map(str, (*written.sentences, *written.files)))


def demo(folder: LocalPath = Path("demo"), /, *, quiet: Quiet = False) -> int:
    """Run the whole pipeline on real images without a download: build, verify, train, report.

    Args:
        folder: Where to put everything.
        quiet: Show no progress.
    """
    from lowres.cli.demo import run_demo

    found = run_demo(folder, track=silent if quiet else shown)
    out.print(f"\n{found.finished} runs trained, {len(found.failed)} failed")
    out.lines((*found.failed.values(), *found.verdicts))
    out.print(f"\nLook at {found.page}\nand at  {folder / 'contact-sheet.png'}")
    return int(bool(found.failed))
