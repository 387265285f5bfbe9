"""The verb search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import Group

from lowres.cli.app import out
from lowres.cli.execution import StudyExecution, StudyExecutionFlags, make_executor, workers_of
from lowres.cli.flags import (
    LocalPath,
    Output,
    Quiet,
    Trusted,
    flags_of,
    given_values,
)
from lowres.cli.recipe_flags import RecipeFlags, recipe_of
from lowres.errors import StudyError, require
from lowres.networks.imported import check_named, trust as trust_names, trust_flags, trust_given
from lowres.progress import shown, silent
from lowres.study.search.plan import SearchPlan
from lowres.study.search.space import Choice, sample
from lowres.text import command

if TYPE_CHECKING:
    from lowres.store.store import Store

    SearchFlags: TypeAlias = Any
else:
    SearchFlags = flags_of(SearchPlan, Group("What to search", sort_key=1), without=("base",))


def search(
    path: LocalPath,
    /,
    *,
    wanted: SearchFlags = None,
    recipe: RecipeFlags = None,
    out_directory: Annotated[Path, Output] = Path("search"),
    confirm: int = 0,
    execution: StudyExecutionFlags = None,
    trust: Trusted = (),
    quiet: Quiet = False,
) -> int:
    """Search recipe fields: many configurations on small images, the best on large ones.

    To resume a search, run the same command again. With one size it is a plain search, to compare
    with (docs/search.md).

    Example: lowres search store --sizes 8,16,32 --space lr=log:0.001:1 --budget 10

    Args:
        path: A store to train on, or the directory of a search to resume.
        wanted: What is searched.
        recipe: Fields that all configurations have in common.
        out_directory: Directory of the search.
        confirm: After the search, train its best configuration at the largest size with this many
            new seeds, and report mean and standard deviation of their errors. The search's own
            error is too low on average. The runs are not part of the budget. A finished search can
            be confirmed later.
        execution: How the runs are spread. How many are chosen at a time changes the choices of tpe
            and gp; nothing else changes a result on one kind of machine.
        trust: Code that an existing search may import.
        quiet: Show no progress.
    """
    require("torch", "train,study")
    require("optuna", "train,study")
    from lowres.store.store import open_store
    from lowres.study.search.result import lines
    from lowres.study.search.search import Search
    from lowres.work.processes import LocalProcesses

    if confirm < 0:
        raise StudyError(f"--confirm must be 0 or more, was {confirm}")
    trust_names(*trust)
    ways = StudyExecution(**given_values(execution))
    if ways.executor == "ray" and ways.jobs is None:
        raise StudyError(
            "--executor ray needs --jobs here: this many configurations are chosen at a time"
        )
    if (path / "search.json").exists():
        if given_values(wanted) or given_values(recipe):
            raise StudyError(f"{path} is a search and has its plan: leave other flags out")
        planned = Search.open(path)
    else:
        opened = open_store(path)
        plan = _plan(given_values(wanted), recipe, opened)
        trust_given(given_values(recipe).items())
        choices = [one for one in plan.dimensions if isinstance(one, Choice)]
        trust_given((one.name, value) for one in choices for value in one.values)
        check_named(plan.recipe(labels, 0) for labels in sample(plan.dimensions))
        planned = Search.start(out_directory, opened, plan)
    counts = planned.allotment.counts
    executor = make_executor(ways, counts[0])
    jobs = executor.jobs if isinstance(executor, LocalProcesses) else ways.jobs or 1
    listed = ", ".join(f"{n} at {s} px" for n, s in zip(counts, planned.plan.sizes, strict=True))
    if not planned.finished:
        out.print(f"{planned.path}: configurations {listed}; {jobs} chosen and trained at a time")
    track, flags = silent if quiet else shown, ways.training_flags
    try:
        result = planned.finish(executor, jobs, flags, workers=workers_of(executor), track=track)
        if confirm:
            result = planned.confirm(
                executor, confirm, flags, workers=workers_of(executor), track=track
            )
    except KeyboardInterrupt:
        confirmed = ("--confirm", confirm) if confirm else ()
        recipes = (planned.plan.recipe(one, 0) for one in sample(planned.plan.dimensions))
        again = command("search", planned.path, *confirmed, *trust_flags(recipes))
        raise KeyboardInterrupt(again) from None
    out.lines(lines(result))
    if result["best"] and "confirmation" not in result:
        out.print(
            "the best was chosen by its error with one seed, so this error is too low on average; "
            f"for new seeds, run: {command('search', planned.path, '--confirm', '3')}"
        )
    out.print(f"{planned.path}: finished; for its curves, run: {command('report', planned.path)}")
    return int(result["best"] is None)


def _plan(wanted: dict[str, Any], recipe: RecipeFlags, store: Store) -> SearchPlan:
    """Return the plan that the flags describe; refuse flags that would change nothing."""
    values, base = given_values(recipe), recipe_of(recipe, store)
    searched = {
        text.partition("=")[0].strip().replace("-", "_") for text in wanted.get("space", ())
    }
    for name in values:
        if name in searched:
            raise StudyError(f"{name} is searched: leave --{name.replace('_', '-')} out")
    if "rung_epochs" in wanted and "epochs" in values:
        raise StudyError("--rung-epochs sets the epochs of every size: leave --epochs out")
    plan = SearchPlan(base=base, **wanted)
    if "variant" in values and base.size != max(plan.sizes):
        raise StudyError(
            f"--variant {base.variant} must have the largest of --sizes, such as "
            f"{plan.base.variant}"
        )
    return plan
