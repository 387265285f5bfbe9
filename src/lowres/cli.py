"""The command line: one short function a verb, flags and help made from the types.

Exit status: 0 done; 1 it could not be done, or what was checked is wrong; 2 the command was not
understood; 75 another process is at it; 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

from cyclopts import App, Parameter
from rich.console import Console

from lowres.errors import LowresError, RunBusyError, require
from lowres.executors.base import BUSY_STATUS
from lowres.options import BuildOptions, Working, class_names
from lowres.progress import shown
from lowres.recipe import Recipe

if TYPE_CHECKING:
    from lowres.store import Store
    from lowres.study.study import Study

INTERRUPTED_STATUS = 130
RESUMED = frozenset({"build", "train", "study", "demo"})
"""The verbs that go on where they were."""


def _shown_default(value: object) -> object:
    """Show no default where leaving a flag out means something that its help tells."""
    return None if value == () else value


class _Flowing:
    """Shows help with the line breaks of the screen, not those of the source."""

    def render_usage(self, console: Console, options: Any, usage: Any) -> None:  # noqa: ANN401
        from cyclopts.help.formatters import DefaultFormatter

        DefaultFormatter().render_usage(console, options, usage)

    def __call__(self, console: Console, options: Any, panel: Any) -> None:  # noqa: ANN401  theirs
        from cyclopts.help.formatters import DefaultFormatter
        from rich.text import Text

        for entry in panel.entries:
            text = getattr(entry.description, "primary_renderable", None)
            if isinstance(text, Text):
                entry.description.primary_renderable = Text(" ".join(text.plain.split()))
        DefaultFormatter()(console, options, panel)


app = App(
    name="lowres",
    help="Small-pixel variants of labelled image sets: build, load, train, and judge how far "
    "they stand in for the large set.",
    default_parameter=Parameter(
        consume_multiple=True, negative_iterable=(), show_default=_shown_default
    ),
    help_format="plaintext",  # the text is plain, and a reader of Markdown takes 0.1 s to load
    help_formatter=_Flowing(),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
out = Console(highlight=False, markup=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

Options = Annotated[BuildOptions, Parameter(name="*", group="What to make")]
WorkingFlags = Annotated[Working, Parameter(name="*", group="How to work")]
RecipeFlags = Annotated[Recipe | None, Parameter(name="*", group="Recipe")]


@app.command
def build(
    source: Path,
    store: Path,
    *,
    options: Options = BuildOptions(),  # noqa: B008  frozen
    working: WorkingFlags = Working(),  # noqa: B008
    workers: Annotated[int | None, Parameter(alias="-j", group="How to work")] = None,
    shard: str | None = None,
    finish: bool = False,
) -> None:
    """Build a store of small variants from labelled pictures.

    Each picture is decoded once. Interrupted, the same command goes on where it was.

    Args:
        source: folder of pictures; ILSVRC2012's tars; released batches; Parquet or WebDataset
            files; CIFAR; MNIST; an EDM ZIP: see docs/formats.md.
        store: folder to write, new or empty.
        options: sizes, filters and what is taken from the source.
        working: how it is done; nothing of it changes a byte.
        workers: threads; all cores if not given. The bytes are the same for any number.
        shard: build only a part, such as 2/8, while other processes or machines build the others
            into the same folder; then run once with --finish.
        finish: make the store of the parts that were built by --shard.
    """
    # No library that is loaded below computes with more threads than it is given.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from lowres import builder

    options = replace(options, classes=class_names(options.classes))
    if shard is not None:
        _build_shard(source, store, options, working, workers, shard, finish)
        return
    if finish and (working.executor, working.on_change) != ("threads", "stop"):
        raise LowresError("--finish builds nothing: leave --executor and --on-change out")
    if finish:
        manifest = builder.finish_shards(
            source, store, options,
            on_error=working.on_error, workers=workers, track=shown,
        )  # fmt: skip
    else:
        manifest = builder.build(
            source, store, options, **asdict(working), workers=workers, track=shown
        )
    for note in manifest.source["notes"]:
        err.print(f"note: {note}")
    if manifest.skipped:
        err.print(f"note: skipped {len(manifest.skipped)} pictures that cannot be decoded:")
        for skipped in manifest.skipped[:10]:
            err.print(f"  {skipped.split}/{skipped.key}: {skipped.reason}")
    out.print(f"{store}: {_counts(manifest.splits)}; {', '.join(manifest.variants)}")


def _build_shard(
    source: Path, store: Path, options: BuildOptions, working: Working, workers: int | None,
    shard: str, finish: bool,
) -> None:  # fmt: skip
    from lowres.builder import build_shard
    from lowres.plan import Shard

    if finish or working.executor != "threads":
        raise LowresError("--shard builds a part in threads: leave --finish and --executor out")
    left = build_shard(
        source, store, options, shard=Shard.parse(shard), on_error=working.on_error,
        on_change=working.on_change, workers=workers, track=shown,
    )  # fmt: skip
    rest = f"{left:,} pictures of the others are left" if left else "the others are built, too"
    out.print(f"{store}: shard {shard} is built; {rest}. At the end run once with --finish")


def _counts(splits: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in splits.items())


@app.command
def info(path: Path) -> None:
    """Say what a store, a run, a study or a set of pictures is, and which ImageNet32.

    Args:
        path: any of these; released batches are checked against the published checksums.
    """
    from lowres import describe

    for line in describe.describe(path, track=shown):
        out.print(line)


@app.command
def verify(
    store: Path,
    *,
    against: Path | None = None,
    variant: str | None = None,
    split: tuple[str, ...] = (),
    out_file: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
) -> int:
    """Check a store by its checksums, or compare it with another set, whatever the order of either.

    Exit status 0 means whole, or the same pictures with the same classes; 1 that they are not.

    Args:
        store: the store to check.
        against: another store, or small pictures in any format that build reads.
        variant: which variant to compare, where it is not clear.
        split: which splits to compare; all if not given.
        out_file: CSV file to write with a line for each picture that is not identical.
    """
    from lowres.store import open_store

    opened = open_store(store)
    if against is not None:
        return _compare(opened, against, variant, split, out_file)
    if variant is not None or out_file is not None or split:
        raise LowresError("--variant, --split and --out are for a comparison: give --against, too")
    problems = list(opened.problems(shown))
    for problem in problems:
        out.print(f"{store}: {problem}")
    if not problems:
        out.print(f"{store}: whole; {len(opened.manifest.files)} files as in the manifest")
    return int(bool(problems))


def _compare(
    store: Store,
    against: Path,
    variant: str | None,
    splits: tuple[str, ...],
    out_file: Path | None,
) -> int:
    from lowres.comparison import compare
    from lowres.differences import lines, write_csv
    from lowres.sides import opened_sides

    pairs = opened_sides(store, against, variant)
    if out_file is not None and len(pairs) > 1:
        raise LowresError("--out takes one comparison: choose one by --variant")
    if out_file is not None and not out_file.absolute().parent.is_dir():
        raise LowresError(f"--out {out_file}: its folder does not exist")
    status = 0
    for sides in pairs:
        comparison = compare(*sides, splits=splits, track=shown)
        for line in lines(comparison, sides):
            out.print(line)
        if out_file is not None:
            out.print(f"{out_file}: {write_csv(out_file, comparison, sides):,} lines")
        status = max(status, int(not comparison.same))
    return status


@app.command
def show(
    store: Path,
    *,
    out_file: Annotated[Path, Parameter(name=("--out", "-o"))] = Path("contact-sheet.png"),
    split: str | None = None,
    count: int = 8,
) -> None:
    """Draw a contact sheet: the same pictures across sizes and filters.

    Args:
        store: the store to look at.
        out_file: PNG file to write.
        split: which split; train if not given.
        count: how many pictures.
    """
    from lowres.show import contact_sheet
    from lowres.store import open_store

    out.print(str(contact_sheet(open_store(store), out_file, split=split, count=count)))


@app.command
def export(
    store: Path,
    destination: Path,
    *,
    to: Literal["folder", "batches", "batches-npz", "parquet", "webdataset", "edm"],
    variant: str | None = None,
    split: tuple[str, ...] = (),
) -> None:
    """Write one variant of a store in a format that other tools read.

    Args:
        store: the store to take pictures from.
        destination: what to write; must not exist.
        to: folder: PNG files as split/class/name.png. batches, batches-npz: the layout of the
            released ImageNet8/16/32/64. parquet: for Hugging Face datasets, with card and
            Croissant. webdataset: tar shards. edm: the ZIP of EDM and StyleGAN3.
        variant: which variant, such as 32-box; the only one if not given.
        split: which splits; if not given all, or train for edm, which holds one.
    """
    from lowres import exporter
    from lowres.store import open_store

    opened = open_store(store)
    if variant is None and len(opened.variants) > 1:
        raise LowresError(
            f"{store} has {', '.join(map(str, opened.variants))}: choose one by --variant"
        )
    chosen = variant or str(opened.variants[0])
    counts = exporter.export(opened, destination, chosen, to=to, splits=split, track=shown)
    out.print(f"{destination}: {_counts(counts)}")
    for note in exporter.notes(opened, counts, to):
        err.print(f"note: {note}")


@app.command
def train(
    path: Path,
    *,
    recipe: RecipeFlags = None,
    out_directory: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    store: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> None:
    """Train a Wide ResNet on a store, or finish a run that was planned or interrupted.

    Args:
        path: a store to train on, or the directory of a run to finish.
        recipe: every decision of the training.
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
        if recipe is not None or out_directory is not None:
            raise LowresError(
                f"{path} is a run and has its recipe; leave recipe flags and --out out"
            )
        run = Run.open(path)
    else:
        opened, recipe = open_store(store or path), recipe or Recipe()
        name = recipe.run_name(opened.manifest.digest)
        run = Run.plan(out_directory or Path("runs") / name, recipe, opened)
    try:
        result = loop.finish(run, store=store, device=device, threads=threads, track=shown)
    except KeyboardInterrupt:
        err.print(f"{len(run.metrics())} epochs are kept; go on with: lowres train {run.path}")
        raise
    out.print(result_line(result))
    out.print(f"{run.path / 'result.json'}")


@app.command
def study(
    path: Path,
    *,
    axis: tuple[str, ...] = (),
    seeds: int = 1,
    recipe: RecipeFlags = None,
    out_directory: Annotated[Path, Parameter(name=("--out", "-o"))] = Path("study"),
    jobs: Annotated[int | None, Parameter(alias="-j")] = None,
    device: str = "auto",
) -> int:
    """Train every combination of some recipe fields, or go on with a study.

    Runs that are finished are skipped, failed ones tried again; more values may be added later.

    Args:
        path: a store to train on, or the directory of a study to go on with.
        axis: a swept recipe field and its values, such as lr=0.01,0.05; may be repeated.
        seeds: runs of each combination, with seeds counted up from --seed.
        recipe: what the runs have in common.
        out_directory: directory of the study.
        jobs: runs at a time; if not given, as many as cores on CPU and one on GPU.
        device: auto, cpu, cuda or cuda:N.
    """
    torch = require("torch", "train")
    from lowres.executors.local import LocalProcesses, share_cores
    from lowres.study.study import Study

    if (path / "study.json").exists():
        if axis or recipe is not None:
            raise LowresError(f"{path} is a study and has its axes; to add some, name its store")
        planned = Study.open(path)
    else:
        planned = _plan_study(path, axis, seeds, recipe or Recipe(), out_directory)
    on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    jobs, threads = share_cores(len(planned.runs), jobs or (1 if on_gpu else None))
    executor = LocalProcesses(jobs, threads)
    summary = planned.finish(executor, ("--device", device), track=shown)
    out.print(
        f"{planned.path}: {summary.finished} of {len(planned.runs)} runs finished, "
        f"{len(summary.failed)} failed; look at them with: lowres report {planned.path}"
    )
    for name, reason in summary.failed.items():
        out.print(f"  {name}: {reason}")
    return int(summary.finished < len(planned.runs))


def _plan_study(store: Path, axis: tuple[str, ...], seeds: int, base: Recipe, path: Path) -> Study:
    from lowres.store import open_store
    from lowres.study.axes import Axis
    from lowres.study.study import Study

    axes = [Axis.parse(text) for text in axis]
    if seeds < 1:
        raise LowresError(f"--seeds must be at least 1, was {seeds}")
    if not any(axis.name == "seed" for axis in axes):
        axes.append(Axis("seed", tuple(range(base.seed, base.seed + seeds))))
    elif seeds > 1:
        raise LowresError("give seeds by --seeds or by --axis seed=..., not by both")
    return Study.plan(path, open_store(store), base, axes)


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


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        arguments: what follows the program's name; the process's own if not given.
    """
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    try:
        status = app(arguments) or 0
    except RunBusyError as error:
        err.print(f"lowres: {error}")
        status = BUSY_STATUS
    except (LowresError, OSError) as error:
        err.print(f"lowres: {error}")
        status = 1
    except KeyboardInterrupt:
        verb = next(iter(sys.argv[1:] if arguments is None else arguments), "")
        end = "the same command goes on from here" if verb in RESUMED else "nothing was written"
        err.print(f"lowres: interrupted; {end}")
        status = INTERRUPTED_STATUS
    sys.exit(status)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    """End as on Ctrl-C, so that what is under way can be left in order."""
    raise KeyboardInterrupt
