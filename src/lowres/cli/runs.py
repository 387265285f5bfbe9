"""The verbs train, report and demo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from cyclopts import Group, Parameter

from lowres.cli.app import MORE, TRAINING, app, out
from lowres.cli.flags import (
    Commas,
    LocalPath,
    Output,
    Quiet,
    RecipeFlags,
    Trusted,
    flags_of,
    given_values,
    recipe_of,
    share_of_points,
)
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


@app.command(group=TRAINING)
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
    from lowres.training.distributed import joined
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
            raise KeyboardInterrupt(again) from None
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


@app.command(group=TRAINING)
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


@app.command(group=MORE)
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
