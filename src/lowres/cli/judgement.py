"""The verb of foreign results: judge."""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import Parameter

from lowres.cli.app import TRAINING, app, out
from lowres.cli.flags import LocalPath
from lowres.errors import StudyError


@app.command(group=TRAINING)
def judge(
    table: LocalPath,
    /,
    *,
    proxy: str,
    target: str,
    bearable: float | None = None,
    images: int | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Decide whether one side of a table of results stands in for the other.

    The table is a CSV file with one line a run, of any origin. Columns: error (share from 0 to 1;
    inf or empty if the run diverged), seed, and optionally cost. Every other column that
    --proxy and --target do not name is a decision that was swept, such as lr or width.

    Example: lowres judge results.csv --proxy size=16 --target size=64 --bearable 1

    Args:
        table: The CSV file.
        proxy: The cheap side: COLUMN=VALUE, several separated by commas.
        target: The side that matters, in the same form.
        bearable: Points of error that a choice may cost. Default: 1, or the standard deviation of a
            run on the target if that is larger.
        images: Validation images behind each error; they bound the noise of a run.
        as_json: Print JSON instead of sentences.
    """
    from lowres.study.results_table import ResultsTable, judge_table

    if bearable is not None and not 0 <= bearable <= 100:
        raise StudyError(f"--bearable must be from 0 to 100 points of error, was {bearable:g}")
    if images is not None and images < 1:
        raise StudyError(f"--images must be at least 1, was {images}")
    found = judge_table(
        ResultsTable.read(table),
        proxy,
        target,
        bearable=None if bearable is None else bearable / 100,
        images=images,
    )
    if as_json:
        record = found.to_record()
        out.print(json.dumps({"pairs": [record], **record}, indent=2, ensure_ascii=False))
        return
    out.print(found.sentence())
    if found.next_step:
        out.print(f"Next: {found.next_step}.")
