"""The verb train."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import Group

from lowres.cli.app import out
from lowres.cli.flags import (
    LocalPath,
    Output,
    Quiet,
    Trusted,
    flags_of,
    given_values,
)
from lowres.cli.recipe_flags import RecipeFlags, recipe_of
from lowres.errors import LowresError, RunBusyError, require
from lowres.progress import shown, silent
from lowres.text import command
from lowres.training.execution import Execution
from lowres.work.executor import BUSY_STATUS

if TYPE_CHECKING:
    from lowres.training.run import Run

    ExecutionFlags: TypeAlias = Any
else:
    ExecutionFlags = flags_of(Execution, Group("How to train", sort_key=2))


def train(
    path: LocalPath,
    /,
    *others: LocalPath,
    recipe: RecipeFlags = None,
    execution: ExecutionFlags = None,
    out_directory: Annotated[Path | None, Output] = None,
    store: LocalPath | None = None,
    trust: Trusted = (),
    quiet: Quiet = False,
) -> int:
    """Train a network on a store, or finish a run that was planned or interrupted.

    One process trains several runs, side by side where that is faster (--together). Several
    processes that torchrun starts train one run together (docs/training.md).

    Example: lowres train store --variant 16-box --epochs 10

    Args:
        path: A store to train on, or the directory of a run to finish.
        others: Directories of further runs to finish.
        recipe: Fields of the recipe.
        execution: How the training works.
        out_directory: Directory of the run. Default: runs/NAME, where NAME lists the recipe.
        store: Where the store of an existing run is now, if it has moved.
        trust: Code that the recipe of an existing run may import.
        quiet: Show no progress.
    """
    require("torch", "train")
    from lowres.networks import imported
    from lowres.training.device import local_device
    from lowres.training.distributed import joined, launcher
    from lowres.training.run import Run, result_line
    from lowres.training.together import finish_all

    imported.trust(*trust)
    chosen = Execution(**given_values(execution))
    chosen = replace(chosen, device=local_device(chosen.device))
    with joined(chosen.device) as team:
        # One process makes the directory before the others look for it.
        run = _run_at(path, recipe, out_directory, store) if team.first else None
        team.wait()
        runs = [run or _run_at(path, recipe, out_directory, store), *map(Run.open, others)]
        imported.refuse_untrusted(one.recipe for one in runs if not one.finished)
        track = silent if quiet else shown
        try:
            ends = finish_all(runs, store=store, execution=chosen, team=team, track=track)
        except KeyboardInterrupt:
            flags = imported.trust_flags(one.recipe for one in runs)
            again = command("train", *(one.path for one in runs), *flags)
            raise KeyboardInterrupt(" ".join((*launcher(), again))) from None
    errors = [end for end in ends if isinstance(end, Exception)]
    for one, end in zip(runs, ends, strict=True) if team.first else ():
        if isinstance(end, Exception):
            if len(runs) > 1:
                out.print(f"{one.path}: {type(end).__name__}: {end}")
            continue
        out.print(result_line(end))
        out.print(f"{one.path}: finished; for its curves, run: {command('report', one.path)}")
    if errors and len(runs) == 1:
        raise errors[0]
    busy = errors and all(isinstance(error, RunBusyError) for error in errors)
    return BUSY_STATUS if busy else int(bool(errors))


def _run_at(path: Path, recipe: RecipeFlags, out_directory: Path | None, store: Path | None) -> Run:
    """Open the run at a path, or plan one on the store at the path."""
    from lowres.networks.imported import check_named, trust_given
    from lowres.store.store import open_store
    from lowres.training.run import Run

    if (path / "recipe.json").exists():
        if recipe is not None or out_directory is not None:
            raise LowresError(
                f"{path} is a run, and its recipe is fixed: leave out --out and the flags of the "
                f"recipe, or train another run on its store"
            )
        return Run.open(path)
    opened = open_store(store or path)
    chosen = recipe_of(recipe, opened)
    trust_given(given_values(recipe).items())
    check_named([chosen])
    names = [str(variant) for variant in opened.variants]
    if chosen.variant not in names:
        raise LowresError(
            f"{opened.path} has no variant {chosen.variant}; it has {', '.join(names)}: "
            f"choose one, such as --variant {names[-1]}"
        )
    name = chosen.run_name(opened.manifest.digest)
    return Run.plan(out_directory or Path("runs") / name, chosen, opened)
