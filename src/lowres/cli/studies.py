"""The verb study."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from lowres.cli.app import out
from lowres.cli.execution import StudyExecution, StudyExecutionFlags, make_executor, workers_of
from lowres.cli.flags import (
    LocalPath,
    Output,
    Quiet,
    Trusted,
    given_values,
)
from lowres.cli.recipe_flags import RecipeFlags
from lowres.cli.verdicts import decide
from lowres.errors import LowresError, StudyError, require
from lowres.networks.imported import (
    check_named,
    refuse_untrusted,
    trust as trust_names,
    trust_flags,
    trust_given,
)
from lowres.progress import shown, silent
from lowres.recipe import Recipe, named_recipe
from lowres.text import command, visible

if TYPE_CHECKING:
    from lowres.progress import Track
    from lowres.store.store import Store
    from lowres.study.axes import Axis, Together
    from lowres.study.study import Study
    from lowres.training.run import RunSummary


def study(
    path: LocalPath,
    /,
    *,
    axis: tuple[str, ...] = (),
    plan: LocalPath | None = None,
    seeds: int | None = None,
    recipe: RecipeFlags = None,
    out_directory: Annotated[Path, Output] = Path("study"),
    execution: StudyExecutionFlags = None,
    dry_run: bool = False,
    noise: float | None = None,
    print_commands: bool = False,
    until_told: bool = False,
    trust: Trusted = (),
    quiet: Quiet = False,
) -> int:
    """Train every combination of some recipe fields, or resume a study.

    Finished runs are skipped and failed runs are tried again. You can add values to an axis later.
    Several processes may work on one study: each run is trained once.

    Example: lowres study store --axis size=8,16,32 --axis lr=log:0.001:0.1:5

    Args:
        path: A store to train on, or the directory of a study to resume.
        axis: A field to sweep and its values: a recipe field, or size, filter, fit or rule of the
            variant. lr=0.01,0.05 lists values; lr=log:0.001:0.1:7 and width=lin:1:4:4 are ranges.
            Repeat the flag for more axes.
        plan: A TOML file with axes, recipe and more (docs/studies.md); flags add to it.
        seeds: Runs of each combination, with seeds counted up from --seed. Default: 1.
        recipe: Fields of the recipe.
        out_directory: Directory of the study.
        execution: How the runs are spread.
        dry_run: Write nothing. Print the runs, their cost, and an estimate of their time on this
            machine, by a timed probe of about a minute. If sizes are swept, also print how likely
            the plan decides whether a smaller one stands in for the largest.
        noise: With --dry-run: the standard deviation of a run, in points of error. Default: a guess
            by the number of images on which errors are measured.
        print_commands: Train nothing. Plan the study, and print one command for each run that is
            not finished, for a queue.
        until_told: After the study, add up to 24 runs as lowres decide does, until the verdict on
            the smallest and the largest size is sure.
        trust: Code that a study or a plan file may import.
        quiet: Show no progress.
    """
    ways = StudyExecution(**given_values(execution))
    _refuse_contradictions(
        ways, dry_run=dry_run, print_commands=print_commands, until_told=until_told
    )
    deviation = _deviation(noise, dry_run=dry_run)
    from lowres.store.store import open_store
    from lowres.study.axes import expand
    from lowres.study.study import Study

    trust_names(*trust)
    track = silent if quiet else shown
    if (path / "study.json").exists():
        if axis or plan or recipe or seeds is not None:
            raise LowresError(
                f"{path} is a study, and its axes are planned: leave out the flags of axes and "
                f"recipe; to add values, name its store and --out {path}"
            )
        planned = Study.open(path)
        if dry_run:
            return _forecast(
                planned.runs[0].open_store(), planned.summaries(), ways, deviation, track
            )
    else:
        store = open_store(path)
        base, axes, points = _wanted(store, axis, plan, seeds, given_values(recipe))
        recipes = expand(base, axes, points)
        refuse_untrusted(recipes)
        if not print_commands:  # the machines of a queue may have what this one lacks
            check_named(recipes)
        if dry_run:
            return _forecast(
                store,
                Study.draft(out_directory, store, base, axes, points),
                ways,
                deviation,
                track,
            )
        planned = Study.plan(out_directory, store, base, axes, points)
    if print_commands:
        return _print_commands(planned, ways)
    if until_told:
        from lowres.study.decide import default_sides

        default_sides(planned)  # refuses a study of one size before hours of training
    executor = make_executor(ways, len(planned.runs))
    try:
        summary = planned.finish(
            executor, ways.training_flags, workers=workers_of(executor), track=track
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_again(planned)) from None
    out.lines(f"  {name}: {reason}" for name, reason in summary.failed.items())
    whole = summary.finished == len(planned.runs)
    again = "" if whole else f"; to try again, run: {_again(planned)}"
    out.print(
        f"{planned.path}: {summary.finished} of {len(planned.runs)} runs finished, "
        f"{len(summary.failed)} failed{again}; for the results, run: "
        f"{command('report', planned.path)}"
    )
    if whole and until_told:
        return decide(planned.path, execution=execution, quiet=quiet)
    return int(not whole)


def _again(planned: Study) -> str:
    """Return the command that resumes a study."""
    flags = trust_flags(run.recipe for run in planned.runs)
    return command("study", planned.path, *flags)


def _refuse_contradictions(
    execution: StudyExecution, *, dry_run: bool, print_commands: bool, until_told: bool
) -> None:
    """Refuse flags that contradict each other, and a missing torch, before anything is written."""
    if until_told and (dry_run or print_commands):
        raise StudyError("--until-told trains: leave out --dry-run and --print-commands")
    if dry_run and print_commands:
        raise StudyError("--dry-run writes nothing, and --print-commands plans: choose one of them")
    if dry_run and execution.executor == "ray":
        raise StudyError("--dry-run measures this machine: leave out --executor ray")
    if print_commands and (execution.executor == "ray" or execution.jobs is not None):
        raise StudyError("--print-commands runs nothing: leave out --executor and --jobs")
    if execution.executor == "local" and not print_commands:
        require("torch", "train")


def _deviation(noise: float | None, *, dry_run: bool) -> float | None:
    """Return the standard deviation of a run that the user expects, a share."""
    if noise is None:
        return None
    if not dry_run:
        raise StudyError(
            "--noise is for the estimate of what a plan can decide: add --dry-run, or leave it out"
        )
    if not 0 < noise < 100:
        raise StudyError(f"--noise must be above 0 and below 100 points of error, was {noise:g}")
    return noise / 100


def _wanted(
    store: Store,
    axis: Sequence[str],
    plan: Path | None,
    seeds: int | None,
    values: dict[str, Any],
) -> tuple[Recipe, list[Axis | Together], Sequence[Mapping[str, Any]]]:
    """Return base, axes and further points of the study that flags and a plan file describe."""
    from lowres.study.axes import Axis, changed
    from lowres.study.plan_file import PlanFile, read_plan

    flagged = [*map(Axis.parse, axis)]
    trust_given(values.items())
    trust_given((one.name, value) for one in flagged for value in one.values)
    planned = read_plan(plan) if plan else PlanFile()
    named = named_recipe(values.pop("recipe", None) or planned.recipe or "paper").on(store.variants)
    base = changed(changed(named, planned.base), values)
    axes = [*flagged, *planned.axes]
    count = planned.seeds if seeds is None else seeds
    if not (axes or planned.points or count):
        raise StudyError(
            f"a study needs an axis; run, for example: {command('study', store.path)} --axis "
            f"lr=0.01,0.05; to train one network, run: {command('train', store.path)}"
        )
    if count is not None and count < 1:
        raise StudyError(f"--seeds must be at least 1, was {count}")
    swept = {one.name for group in axes for one in group.axes}
    for name in () if planned.points else values:
        if name in swept:
            flag = name.replace("_", "-")
            raise StudyError(f"{name} is swept: leave --{flag} out, or add its value to the axis")
    if "seed" not in swept:
        axes.append(Axis("seed", tuple(range(base.seed, base.seed + (count or 1)))))
    elif count is not None:
        raise StudyError("choose seeds by --seeds or by --axis seed=..., not by both")
    return base, axes, planned.points


def _print_commands(planned: Study, execution: StudyExecution) -> int:
    flags = ["--device", execution.device] if execution.device != "auto" else []
    flags += [] if execution.callback is None else ["--callback", execution.callback]
    flags += ["--threads", str(execution.threads)] if execution.threads is not None else []
    commands = [shlex.join(one) for one in planned.commands(flags)]
    if any("\n" in one or visible(one) != one for one in commands):
        raise StudyError(
            f"the path of study {planned.path} has a control character: choose another --out"
        )
    for one in commands:
        out.print(one)
    return 0


def _forecast(
    store: Store,
    drafts: Sequence[RunSummary],
    execution: StudyExecution,
    noise: float | None,
    track: Track,
) -> int:
    from lowres.study.chances import chances
    from lowres.study.forecast import forecast, lines
    from lowres.training.execution import Execution
    from lowres.work.processes import LocalProcesses

    executor = make_executor(execution, sum(not draft.finished for draft in drafts))
    assert isinstance(executor, LocalProcesses)
    ways = Execution(device=execution.device, together=execution.together)
    out.lines(lines(forecast(store, drafts, executor, ways, track=track)))
    images = store.splits.get(drafts[0].recipe.measured_split(store.splits), 0)
    out.lines(chances(drafts, images, noise) if images else ())
    return 0
