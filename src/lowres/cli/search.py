"""The verb of searches: search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from lowres.cli.app import app, out
from lowres.cli.flags import Commas, RecipeFields, given_values, settled
from lowres.cli.studies import StudyWorking, WorkingFlags, make_executor
from lowres.errors import StudyError, require
from lowres.networks.imported import check_named
from lowres.progress import shown
from lowres.recipe import RecipeName
from lowres.study.search.plan import Sampler
from lowres.variant import Variant

if TYPE_CHECKING:
    from lowres.recipe import Recipe
    from lowres.study.search.search import Search

USUAL = StudyWorking()


@app.command
def search(
    path: Path,
    *,
    sizes: Annotated[tuple[int, ...], Commas] = (),
    space: tuple[str, ...] = (),
    budget: float | None = None,
    rung_epochs: Annotated[tuple[int, ...], Commas] = (),
    one_in: int | None = None,
    sampler: Sampler | None = None,
    sampler_seed: int | None = None,
    carry_weights: Annotated[bool, Parameter(negative=())] = False,
    recipe: RecipeName | None = None,
    given: RecipeFields = None,
    out_directory: Annotated[Path, Parameter(name=("--out", "-o"))] = Path("search"),
    working: WorkingFlags = USUAL,
) -> int:
    """Search recipe fields: many configurations on small images, the best on large ones.

    The same command goes on where it was; docs/search.md tells how it works. With one size it is
    a plain search, to compare with.

    Args:
        path: a store to train on, or the directory of a search to go on with.
        sizes: of the images, in pixels: all configurations at the smallest, the best at the
            largest. The store must have them.
        space: what is searched, such as lr=log:0.001:1 or momentum=lin:0.5:0.99 for an interval, or
            width=0.5,1,2 for values to choose from; may be repeated.
        budget: how much to train, as a number of runs at the largest size; counted in
            multiply-adds.
        rung_epochs: epochs at each of the sizes; those of the recipe if not given.
        one_in: of each size, one configuration in so many goes on to the next; 3 if not given.
        sampler: which of Optuna's samplers chooses configurations; tpe if not given. tpe and gp
            learn from the errors at the smallest size; qmc is Sobol's sequence.
        sampler_seed: decides its choices; 0 if not given.
        carry_weights: begin at each size with the weights of the size before, where the network
            has tensors of the same names and shapes.
        recipe: what the configurations have in common: paper if not given, tensorflow-port or
            fast.
        given: fields of the recipe.
        out_directory: directory of the search.
        working: how it is done. How many configurations are chosen at a time changes the choices
            of tpe and gp; nothing else changes a result on one kind of machine.
    """
    require("torch", "train")
    require("optuna", "study")
    if working.executor == "ray" and working.jobs is None:
        raise StudyError(
            "--executor ray needs --jobs here: as many configurations are chosen at a time"
        )
    options = {"one_in": one_in, "sampler": sampler, "sampler_seed": sampler_seed}
    others: dict[str, Any] = {n: value for n, value in options.items() if value is not None}
    if (path / "search.json").exists():
        if sizes or space or budget or rung_epochs or others or carry_weights or recipe or given:
            raise StudyError(f"{path} is a search and has its plan: leave other flags out")
        planned = _opened(path)
    else:
        if budget is None:
            raise StudyError(
                "a search needs a budget: give --budget 10 to train as much as 10 runs at the "
                "largest size do"
            )
        others |= {"budget": budget, "carry_weights": carry_weights}
        values = given_values(given)
        if rung_epochs and "epochs" in values:
            raise StudyError("--rung-epochs tells the epochs of every size: leave --epochs out")
        base = _base(settled(recipe, given), values, sizes, space)
        check_named(base.model, base.optimizer)
        planned = _planned(out_directory, path, base, space, sizes, rung_epochs, others)
    return _finish(planned, working)


def _base(
    base: Recipe, values: dict[str, object], sizes: tuple[int, ...], space: tuple[str, ...]
) -> Recipe:
    """Refuse flags that would change nothing."""
    searched = {text.partition("=")[0].strip().replace("-", "_") for text in space}
    for name in values:
        if name in searched:
            raise StudyError(f"{name} is searched: leave --{name.replace('_', '-')} out")
    if "variant" in values and sizes and base.size != max(sizes):
        raise StudyError(
            f"--variant {base.variant} must have the largest of --sizes, {max(sizes)}: such as "
            f"{Variant(max(sizes), 'box')}"
        )
    return base


def _opened(path: Path) -> Search:
    from lowres.study.search.search import Search

    return Search.open(path)


def _planned(
    folder: Path,
    store: Path,
    base: Recipe,
    space: tuple[str, ...],
    sizes: tuple[int, ...],
    rung_epochs: tuple[int, ...],
    others: dict[str, Any],
) -> Search:
    from lowres.store.store import open_store
    from lowres.study.search.plan import SearchPlan
    from lowres.study.search.search import Search

    plan = SearchPlan.make(base, space, sizes, rung_epochs, **others)
    return Search.start(folder, open_store(store), plan)


def _finish(planned: Search, working: StudyWorking) -> int:
    from lowres.study.search.result import lines
    from lowres.work.processes import LocalProcesses

    counts = planned.allotment.counts
    executor = make_executor(working, counts[0])
    jobs = executor.jobs if isinstance(executor, LocalProcesses) else working.jobs or 1
    listed = ", ".join(f"{n} at {s} px" for n, s in zip(counts, planned.plan.sizes, strict=True))
    if not planned.finished:
        out.print(f"{planned.path}: configurations {listed}; {jobs} chosen and trained at a time")
    result = planned.finish(executor, jobs, ("--device", working.device), track=shown)
    for line in lines(result):
        out.print(line)
    return int(result["best"] is None)
