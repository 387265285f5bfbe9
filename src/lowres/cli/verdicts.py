"""The verbs of the verdict: judge results that exist, decide by training further runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lowres.cli.app import TRAINING, app, out
from lowres.cli.flags import LocalPath, Quiet, given_values, share_of_points
from lowres.cli.studies import StudyWorking, WorkingFlags, make_executor, workers_of
from lowres.errors import StudyError
from lowres.progress import shown, silent
from lowres.text import count


@app.command(group=TRAINING)
def judge(
    results: LocalPath,
    /,
    *,
    proxy: str,
    target: str,
    bearable: float | None = None,
    images: int | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Decide whether one side of some results stands in for the other, without training.

    Results are a folder of runs, such as a study, or a CSV file with one line a run, of any origin.
    Columns: error (share from 0 to 1; inf or empty if the run diverged), seed, and optionally cost.
    Every other column that --proxy and --target do not name is a decision that was swept, such as
    lr or width. For a folder of runs, the columns are the recipe fields and size, filter and fit.

    Example: lowres judge results.csv --proxy size=16 --target size=64 --bearable 1

    Args:
        results: The CSV file, or a folder of runs.
        proxy: The cheap side: COLUMN=VALUE, several separated by commas.
        target: The side that matters, in the same form.
        bearable: Points of error that a choice may cost. Default: 1, or the standard deviation of a
            run on the target if that is larger.
        images: Validation images behind each error; they bound the noise of a run.
        as_json: Print JSON instead of sentences.
    """
    from lowres.study.results_table import ResultsTable, judge_table

    if images is not None and images < 1:
        raise StudyError(f"--images must be at least 1, was {images}")
    read = ResultsTable.of_runs if results.is_dir() else ResultsTable.read
    found = judge_table(
        read(results),
        proxy,
        target,
        bearable=share_of_points(bearable, "--bearable"),
        images=images,
    )
    if as_json:
        record = found.to_record()
        out.print(json.dumps({"pairs": [record], **record}, indent=2, ensure_ascii=False))
        return
    out.print(found.sentence())
    if found.next_step:
        out.print(f"Next: {found.next_step}.")


@app.command(group=TRAINING)
def decide(
    path: LocalPath = Path("study"),
    /,
    *,
    proxy: str | None = None,
    target: str | None = None,
    bearable: float | None = None,
    at_most: int = 24,
    working: WorkingFlags = None,
    dry_run: bool = False,
    quiet: Quiet = False,
) -> int:
    """Train the runs that decide soonest, until the verdict on a study is sure.

    A round trains the configuration that the proxy chose and its strongest rival on the target,
    with one more seed each. If the target lacks configurations, lowres trains these first, with one
    seed. It stops when the verdict is sure or --at-most runs were added. You can interrupt it: the
    same command resumes. The looks are recorded in decide.json.

    Example: lowres decide study --proxy size=16 --target size=64 --bearable 1

    Args:
        path: The directory of a study.
        proxy: The cheap side, such as size=16. Default: the smallest size.
        target: The side that matters, such as size=64. Default: the largest size.
        bearable: Points of error that a choice may cost. Default: 1, or the standard deviation of a
            run on the target if that is larger.
        at_most: Runs to add.
        working: How the runs are spread.
        dry_run: Train nothing. Print the verdict so far and the next runs.
        quiet: Show no progress.
    """
    from lowres.study.decide import decide as looks_of, default_sides
    from lowres.study.study import Study

    if at_most < 0:
        raise StudyError(f"--at-most must be 0 or more, was {at_most}")
    ways = StudyWorking(**given_values(working))
    study = Study.open(path)
    if proxy is None or target is None:
        smallest, largest = default_sides(study)
        proxy, target = proxy or smallest, target or largest
    at_a_time = max(2, ways.jobs or 2)
    executor = make_executor(ways, at_a_time)
    looks = looks_of(
        study,
        proxy,
        target,
        executor,
        bearable=share_of_points(bearable, "--bearable"),
        at_most=at_most,
        at_a_time=at_a_time,
        arguments=ways.training_flags,
        workers=workers_of(executor),
        track=silent if quiet else shown,
    )
    for look in looks:
        if look.judgement is None:
            lacks = count(len(look.next_runs), "configuration")
            out.print(f"{target} lacks {lacks} of the proxy; lowres trains each with one seed")
        else:
            out.print(f"after {count(look.target_runs, 'run')} of {target}: ", end="")
            out.print(look.judgement.sentence())
        for recipe in look.next_runs if dry_run else ():
            out.print(f"  next: {recipe.variant}, lr {recipe.lr:g}, seed {recipe.seed}")
        if dry_run:
            runs = count(len(look.next_runs), "run")
            out.print(f"the next round is {runs}, {look.cost:.2g} multiply-adds")
            return 0
    assert look.judgement is not None
    runs = count(look.added, "further run")
    if look.judgement.verdict.sure:
        out.print(f"The answer is sure after {runs}. For the page, run: lowres report {path}")
        return 0
    again = f"lowres decide {path} --proxy {proxy} --target {target} --at-most {2 * at_most or 24}"
    out.print(f"The answer is not sure after {runs}. To add more, run: {again}")
    return 1
