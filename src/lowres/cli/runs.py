"""The verbs of runs: train, report; and demo, which goes the whole way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from lowres.cli.app import app, err, out
from lowres.cli.flags import Commas, RecipeFields, settled
from lowres.errors import LowresError, require
from lowres.progress import shown
from lowres.recipe import RecipeName

if TYPE_CHECKING:
    from lowres.training.run import Run


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
    compile: Literal["auto", "on", "off"] = "auto",  # noqa: A002  torch's word
    loading: Literal["auto", "resident", "streamed"] = "auto",
    log: Literal["jsonl", "tensorboard"] = "jsonl",
) -> None:
    """Train a network on a store, or finish a run that was planned or interrupted.

    Started by torchrun, all its processes train one run (docs/training.md).

    Args:
        path: a store to train on, or the directory of a run to finish.
        recipe: paper if not given: every decision as in the authors' script. tensorflow-port: as
            in the same group's port. fast: the best that has been shown here at equal cost. The
            flags below change single fields.
        given: fields of the recipe.
        out_directory: directory of the run; a name below runs/ made from the recipe if not given.
        store: where the store of a run to finish is now, if it has moved.
        device: auto, cpu, cuda or cuda:N.
        threads: CPU threads; if not given, as many as the run began with, or torch's own number.
        compile: torch.compile. auto: where it pays back within the run. A run goes on as it began.
        loading: where images are. resident: on the GPU, as bytes. streamed: in the store. auto:
            resident where they fit.
        log: tensorboard writes event files below RUN/tensorboard beside metrics.jsonl.
    """
    require("torch", "train")
    from lowres.training import loop
    from lowres.training.distributed import joined, local_device
    from lowres.training.execution import Execution
    from lowres.training.run import result_line

    device = local_device(device)
    execution = Execution(device=device, threads=threads, compile=compile, loading=loading, log=log)
    with joined(device) as team:
        # One process makes the directory before the others look for it.
        run = _run_at(path, recipe, given, out_directory, store) if team.first else None
        team.wait()
        run = run or _run_at(path, recipe, given, out_directory, store)
        try:
            result = loop.finish(run, store=store, execution=execution, team=team, track=shown)
        except KeyboardInterrupt:
            if team.first:
                err.print(f"what is done is kept; go on with: lowres train {run.path}")
            raise
        if team.first:
            out.print(result_line(result))
            out.print(f"{run.path / 'result.json'}")


def _run_at(
    path: Path,
    recipe: RecipeName | None,
    given: RecipeFields,
    out_directory: Path | None,
    store: Path | None,
) -> Run:
    """Open the run that a path is, or plan one on the store that it is."""
    from lowres.networks.imported import check_named
    from lowres.store.store import open_store
    from lowres.training.run import Run

    if (path / "recipe.json").exists():
        if recipe or given is not None or out_directory is not None:
            raise LowresError(
                f"{path} is a run and has its recipe; leave recipe flags and --out out"
            )
        return Run.open(path)
    opened, chosen = open_store(store or path), settled(recipe, given)
    check_named(chosen.model, chosen.optimizer)
    name = chosen.run_name(opened.manifest.digest)
    return Run.plan(out_directory or Path("runs") / name, chosen, opened)


@app.command
def report(
    folder: Path,
    *,
    format: Annotated[  # noqa: A002  its word
        tuple[Literal["html", "md", "csv", "json", "png"], ...], Commas
    ] = (),
) -> None:
    """Write a study's report into its folder and print the verdicts.

    Args:
        folder: a study, or any folder with runs below it.
        format: one or more; html, csv and json if not given. html: report.html, one page that opens
            offline, with everything inside. md: report.md, the same numbers for a README. csv:
            runs.csv, a line for each run. json: report.json, all numbers. png: an image of each
            chart in report-figures/.
    """
    from lowres.report.writing import FORMATS, write_report

    written = write_report(folder, format or FORMATS)
    for sentence in written.sentences:
        out.print(sentence)
    for path in written.files:
        out.print(str(path))


@app.command
def demo(folder: Path = Path("demo")) -> int:
    """Go the whole way on real images without a download: build, verify, train, report.

    Args:
        folder: where to put everything.
    """
    from lowres.cli.demo import run_demo

    found = run_demo(folder, track=shown)
    out.print(f"\n{found.finished} runs trained, {len(found.failed)} failed")
    for line in (*found.failed.values(), *found.verdicts):
        out.print(line)
    out.print(f"\nLook at {found.page}\nand at  {folder / 'contact-sheet.png'}")
    return int(bool(found.failed))
