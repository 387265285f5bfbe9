"""The verbs of the verdict: judge results that exist, decide by training further runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from lowres.call import split_at_commas
from lowres.cli.app import err, out
from lowres.cli.execution import StudyExecution, StudyExecutionFlags, make_executor, workers_of
from lowres.cli.flags import Commas, LocalPath, Quiet, Trusted, given_values, share_of_points
from lowres.errors import StudyError
from lowres.progress import shown, silent
from lowres.study.results_table import ErrorUnit
from lowres.text import command, count, duration

if TYPE_CHECKING:
    from lowres.study.decide import Look

Names: TypeAlias = Annotated[tuple[str, ...], Commas]


def judge(
    results: LocalPath,
    target_results: LocalPath | None = None,
    /,
    *,
    proxy: str | None = None,
    target: str | None = None,
    bearable: float | None = None,
    metric: Names = (),
    images: int | None = None,
    error: str | None = None,
    unit: ErrorUnit | None = None,
    axes: Names = (),
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Judge whether the proxy's results can stand in for the target's, without training.

    RESULTS is a folder of runs, such as a study; a CSV, TSV or Parquet table with one row a run;
    the journal file of an Optuna study; or a folder of outputs of timm's train.py.

    A table has the columns error (share from 0 to 1; inf or empty if the run diverged), seed, and
    optionally cost. Every other column is a swept decision, such as lr, or sets the sides apart.
    For a folder of runs, the columns are the recipe fields and size, filter, fit and rule. If no
    run is that short, epochs=5 means the fifth epoch of longer runs. For Optuna, step=5 means the
    value that a trial reported at step 5.

    Example: lowres judge results.csv --proxy size=16 --target size=64 --bearable 1

    Args:
        results: All results. With TARGET-RESULTS, those of the proxy alone.
        target_results: The results of the target, if they are elsewhere.
        proxy: The cheap side: COLUMN=VALUE, several separated by commas.
        target: The side that matters, in the same form.
        bearable: Points of error that a choice may cost. Default: 1, or the standard deviation of a
            run on the target if that is larger.
        metric: Other metrics by which the proxy may choose, such as eval_loss or top5_error. Each
            is judged beside the error. If larger is better, write max:NAME.
        images: Validation images behind each error; they bound the noise of a run.
        error: The column of errors. Default: error.
        unit: What that column holds. share: errors from 0 to 1. percent: errors from 0 to 100.
            accuracy, accuracy-percent: the same for accuracies. Default: share, if the name of the
            column says that it is an error.
        axes: The columns that were swept, such as lr,width. Default: all that have no other
            meaning.
        as_json: Print JSON instead of sentences.
    """
    from lowres.study.judging import judge_table
    from lowres.study.results_files import Columns, read_both, read_results
    from lowres.study.results_table import joined

    if images is not None and images < 1:
        raise StudyError(f"--images must be at least 1, was {images}")
    plain = tuple(name.removeprefix("min:").removeprefix("max:") for name in metric)
    apart = (*_columns_of(proxy), *_columns_of(target))
    columns = Columns(error, unit, plain, axes, apart)
    if target_results is None:
        table = read_results(results, columns)
    else:
        both = read_both(results, target_results, columns)
        for flag, side, one in (("--proxy", proxy, both[0]), ("--target", target, both[1])):
            for name in _columns_of(side):
                if name not in (*one.columns, one.fidelity):
                    raise StudyError(
                        f"{one.path} has no column {name!r}, it has {', '.join(one.columns)}: "
                        f"leave {name} out of {flag}, for all of its rows are on that side"
                    )
        known = {name for one in both for name in one.columns}
        table, first, second = joined(*both, [name for name in apart if name in known])
        proxy = f"{first},{proxy}" if proxy else first
        target = f"{second},{target}" if target else second
    if proxy is None or target is None:
        differ = [n for n in table.columns if len({row.decisions[n] for row in table.rows}) > 1]
        sides = dict.fromkeys([*differ, *([table.fidelity] if table.fidelity else ())])
        raise StudyError(
            "name both sides, for example --proxy size=16 --target size=64; columns of "
            f"{results} with several values are {', '.join(sides) or 'none'}"
        )
    found = judge_table(
        table,
        proxy,
        target,
        bearable=share_of_points(bearable, "--bearable"),
        images=images,
        metrics=metric,
    )
    if as_json:
        record = found.to_record()
        out.print(json.dumps({"pairs": [record], **record}, indent=2, ensure_ascii=False))
        return
    for note in found.notes:
        err.print(f"note: {note}")
    out.print(found.sentence())
    for line in found.lines():
        out.print(line)


def _columns_of(side: str | None) -> list[str]:
    """Return the columns that a side names."""
    return [part.partition("=")[0].strip() for part in split_at_commas(side or "")]


def decide(
    path: LocalPath = Path("study"),
    /,
    *,
    proxy: str | None = None,
    target: str | None = None,
    bearable: float | None = None,
    at_most: int = 24,
    execution: StudyExecutionFlags = None,
    dry_run: bool = False,
    trust: Trusted = (),
    quiet: Quiet = False,
) -> int:
    """Train the runs that decide soonest, until the verdict on a study is sure.

    A round trains the configuration that the proxy chose and its strongest rival on the target,
    with one more seed each. If the target lacks configurations, lowres trains these first, with one
    seed. It stops when the verdict is sure or --at-most runs were added. After an interrupt, run
    the same command again: it resumes. decide.json records the verdict after each round.

    Example: lowres decide study --proxy size=16 --target size=64 --bearable 1

    Args:
        path: The directory of a study.
        proxy: The cheap side, such as size=16. Default: the smallest size.
        target: The side that matters, such as size=64. Default: the largest size.
        bearable: Points of error that a choice may cost. Default: 1, or the standard deviation of a
            run on the target if that is larger.
        at_most: Runs to add.
        execution: How the runs are spread.
        dry_run: Train nothing. Print the verdict so far, the next runs, their time, and the chance
            of a sure answer by 6, 12, 24 and 48 further runs.
        trust: Code that the study may import.
        quiet: Show no progress.
    """
    from lowres.networks.imported import trust as trust_names
    from lowres.statistics.posterior import FEW
    from lowres.study.decide import decide as looks_of, default_sides
    from lowres.study.study import Study

    if at_most < 0:
        raise StudyError(f"--at-most must be 0 or more, was {at_most}")
    trust_names(*trust)
    ways = StudyExecution(**given_values(execution))
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
            _print_next_round(look)
            return 0
    assert look.judgement is not None
    runs = count(look.added, "further run")
    if look.judgement.verdict.sure:
        out.print(f"The answer is sure after {runs}. For the page, run: {command('report', path)}")
        return 0
    if look.judgement.verdict.few and not look.lacking:
        out.print(
            f"No answer is sure with fewer than {FEW} configurations that trained on both sides: "
            f"repeat the lowres study command of {path} with more values"
        )
        return 1
    limit = () if bearable is None else ("--bearable", f"{bearable:g}")
    sides = ("--proxy", proxy, "--target", target)
    again = command("decide", path, *sides, *limit, "--at-most", 2 * at_most or 24)
    price = f" ({look.judgement.price})" if look.judgement.price else ""
    out.print(f"The answer is not sure after {runs}. To add more{price}, run: {again}")
    return 1


def _print_next_round(look: Look) -> None:
    """Print what a dry run would train, how long that takes, and the chance of an answer."""
    if not look.next_runs:
        found = look.judgement.verdict if look.judgement else None
        why = "it is sure" if found and found.sure else "--at-most allows none"
        if found and found.few and not found.sure and not look.lacking:
            why = "too few configurations trained on both sides for a sure answer"
        out.print(f"no further run would be trained: {why}")
        return
    time = "" if look.seconds is None else f", about {duration(look.seconds)} of training"
    out.print(f"the next round is {count(len(look.next_runs), 'run')}{time}")
    if look.judgement is None:
        out.print("the chance of an answer is known once these are trained")
    elif look.judgement.chances:
        from lowres.statistics.power import MORE_RUNS

        listed = ", ".join(
            f"{runs}: {chance:.2f}"
            for runs, chance in zip(MORE_RUNS, look.judgement.chances, strict=True)
        )
        out.print(f"chance of a sure answer, by the number of further runs: {listed}")
