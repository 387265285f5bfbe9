"""The verbs of runs: train, report; and demo, which goes the whole way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lowres.cli.app import app, err, out
from lowres.cli.recipe_flags import RecipeFields, settled
from lowres.errors import LowresError, require
from lowres.progress import shown
from lowres.recipe import RecipeName


@app.command
def train(
    path: Path,
    *,
    recipe: RecipeName | None = None,
    given: RecipeFields = None,
    out_directory: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    store: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> None:
    """Train a Wide ResNet on a store, or finish a run that was planned or interrupted.

    Args:
        path: a store to train on, or the directory of a run to finish.
        recipe: paper if not given: every decision as in the authors' script. tensorflow-port: as
            in the same group's port. The flags below change single fields.
        given: fields of the recipe.
        out_directory: directory of the run; a name below runs/ made from the recipe if not given.
        store: where the store of a run to finish is now, if it has moved.
        device: auto, cpu, cuda or cuda:N.
        threads: CPU threads; if not given, as many as the run began with, or torch's own number.
    """
    require("torch", "train")
    from lowres.run import Run, result_line
    from lowres.store import open_store
    from lowres.training import loop

    if (path / "recipe.json").exists():
        if recipe or given is not None or out_directory is not None:
            raise LowresError(
                f"{path} is a run and has its recipe; leave recipe flags and --out out"
            )
        run = Run.open(path)
    else:
        opened, chosen = open_store(store or path), settled(recipe, given)
        name = chosen.run_name(opened.manifest.digest)
        run = Run.plan(out_directory or Path("runs") / name, chosen, opened)
    try:
        result = loop.finish(run, store=store, device=device, threads=threads, track=shown)
    except KeyboardInterrupt:
        err.print(f"what is done is kept; go on with: lowres train {run.path}")
        raise
    out.print(result_line(result))
    out.print(f"{run.path / 'result.json'}")


@app.command
def report(folder: Path) -> None:
    """Write a study's report: one HTML page that opens offline, runs.csv and report.json.

    Args:
        folder: a study, or any folder with runs below it.
    """
    from lowres.report.page import write_report

    page, transfers = write_report(folder)
    for transfer in transfers:
        out.print(transfer.verdict)
    out.print(str(page))


@app.command
def demo(folder: Path = Path("demo")) -> int:
    """Go the whole way on real pictures without a download: build, verify, train, report.

    Args:
        folder: where to put everything.
    """
    from lowres.demo import run_demo

    found = run_demo(folder, track=shown)
    out.print(f"\n{found.finished} runs trained, {len(found.failed)} failed")
    for line in (*found.failed.values(), *found.verdicts):
        out.print(line)
    out.print(f"\nLook at {found.page}\nand at  {folder / 'contact-sheet.png'}")
    return int(bool(found.failed))
