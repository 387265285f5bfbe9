"""The paper's Table 1, cell by cell: what a cell costs, its commands, its training, its record.

A cell is the store of one size, the recipe `paper` and one run. All three resume.
"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowres.errors import StudyError, nearest
from lowres.networks.shape import FLOPS_PER_MAC, Shape
from lowres.networks.size import training_macs
from lowres.progress import Track, silent
from lowres.recipe import Recipe, named_recipe
from lowres.store.build import build
from lowres.store.options import BuildOptions, PresetName, Working
from lowres.store.store import Store, open_store
from lowres.text import command, count, duration, number, percent
from lowres.training.execution import Execution
from lowres.training.run import Run
from lowres.work.files import write_bytes

TRAIN_IMAGES, VAL_IMAGES, CLASSES = 1_281_167, 50_000, 1000
"""ImageNet's (ILSVRC2012), as the paper used it."""

PRESET: PresetName = "chrabaszcz2017"
RULE = "box-release-2017"
"""How the paper's images were made: the preset, and its part of a variant's name."""

H100_FLOPS = 31e12
"""Operations a second for each unit of width, on one H100, compiled, as CUDA graph, batch 128.
Two networks were measured: WRN-28-2 at 32 px has 61e12, WRN-28-10 317e12 (bench/results/gpu.csv,
gpu-first-run.csv). A step moves bytes in proportion to the width and computes by its square."""

XEON_FLOPS = 0.76e12
"""Operations a second of WRN-28-2 at 32 px, compiled, on 2 cores of an Intel Xeon with AMX
(bench/training.csv)."""

BUILD_CORE_S = 31 * 60 * (1 + VAL_IMAGES / TRAIN_IMAGES)
"""Seconds of one core for three sizes, so at most this for one (docs/building.md)."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A network at a size, with the paper's errors: quoted, not measured here.

    Attributes:
        size: side of the images in pixels.
        width: the k of WRN-N-k.
        top1_error: the paper's, share, on 50,000 validation images after 40 epochs.
        top5_error: the paper's, share; None if no quotation has it.
        titan_days: the paper's days on one Titan X; None if no quotation has it.
        quoted: who quotes these figures.
    """

    size: int
    width: float
    top1_error: float
    top5_error: float | None
    titan_days: float | None
    quoted: str

    @property
    def shape(self) -> Shape:
        """The paper's network."""
        return Shape(self.size, self.width, CLASSES)

    @property
    def name(self) -> str:
        """The name on the command line, such as `wrn-28-2@32`."""
        return f"{self.shape.name.lower()}@{self.size}"

    @property
    def store_bytes(self) -> int:
        """Bytes of all images of the store."""
        return (TRAIN_IMAGES + VAL_IMAGES) * 3 * self.size**2

    def recipe(self, *, strict: bool = False, seed: int = 0, epochs: int | None = None) -> Recipe:
        """Return the recipe of the cell.

        Args:
            strict: `paper-strict`, with the script's order of images and float32.
            seed: seed of the run.
            epochs: fewer than the paper's 40, for a rehearsal.
        """
        base = named_recipe("paper-strict" if strict else "paper")
        variant = f"{self.size}-{RULE}"
        epochs = base.epochs if epochs is None else epochs
        return replace(base, variant=variant, width=self.width, seed=seed, epochs=epochs)

    def operations(self, recipe: Recipe) -> float:
        """Return the floating-point operations of a run on all of ImageNet."""
        return FLOPS_PER_MAC * training_macs(recipe, TRAIN_IMAGES, CLASSES)

    def h100_s(self, recipe: Recipe) -> float:
        """Return the estimated seconds of training on one H100 (`H100_FLOPS`)."""
        return self.operations(recipe) / (H100_FLOPS * self.width)

    def xeon_s(self, recipe: Recipe) -> float:
        """Return the estimated seconds of training on 2 cores of an Intel Xeon (`XEON_FLOPS`)."""
        return self.operations(recipe) / XEON_FLOPS


PAGE, SECOND = "authors' page", "second hand"
TABLE1 = (
    Cell(16, 10, 0.5994, 0.3510, None, PAGE),
    Cell(32, 2, 0.5692, 0.3092, 1.5, SECOND),
    Cell(32, 5, 0.4536, 0.2136, None, SECOND),
    Cell(32, 10, 0.4096, 0.1887, 13.8, f"{PAGE}; days {SECOND}"),
    Cell(64, 1, 0.4979, None, None, f"{SECOND}; that user's own run had 55.61 %"),
    Cell(64, 2, 0.3955, 0.1657, 6.4, SECOND),
    Cell(64, 5, 0.3234, 0.1264, 22, f"{PAGE}; days {SECOND}"),
)
"""The cells whose errors are known to us; the paper has more."""


def find_cell(name: str) -> Cell:
    """Return a cell by its name, such as `wrn-28-2@32`.

    Raises:
        StudyError: there is none of that name; the message has the nearest one.
    """
    cells = {cell.name: cell for cell in TABLE1}
    if name not in cells:
        hint = nearest(name, cells, f"cells are {', '.join(cells)}")
        raise StudyError(f"Table 1 has no cell {name!r} that is known here; {hint}")
    return cells[name]


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A cell with the recipe of its run and a folder to work in.

    Attributes:
        cell: the cell.
        recipe: as `Cell.recipe` returns it.
        folder: holds the store of each size and the run of each cell.
    """

    cell: Cell
    recipe: Recipe
    folder: Path

    @property
    def store(self) -> Path:
        """The folder of the store; the cells of a size share it."""
        return self.folder / f"store-{self.cell.size}"

    @property
    def run(self) -> Path:
        """The directory of the run."""
        strict = "-strict" if self.recipe.shuffle == "ten-files" else ""
        whole = self.recipe.epochs == Recipe().epochs
        epochs = "" if whole else f"-epochs{self.recipe.epochs}"
        return self.folder / f"{self.cell.name}{strict}{epochs}-seed{self.recipe.seed}"

    def commands(self, source: str) -> tuple[str, str]:
        """Return the command lines that build the store and train the run.

        Args:
            source: where ImageNet is.
        """
        made, recipe = str(self.store), self.recipe
        flags = ["--recipe", "paper-strict" if recipe.shuffle == "ten-files" else "paper"]
        flags += ["--variant", recipe.variant, "--width", f"{recipe.width:g}"]
        flags += ["--epochs", str(recipe.epochs), "--seed", str(recipe.seed)]
        words = ["lowres", "build", source, made, "--size", str(recipe.size), "--preset", PRESET]
        return shlex.join(words), shlex.join(
            ["lowres", "train", made, *flags, "--out", str(self.run)]
        )

    def lines(self, source: str) -> Iterator[str]:
        """Return what the cell is, what it costs and its commands, as lines."""
        cell, recipe = self.cell, self.recipe
        days = f", {cell.titan_days:g} days on a Titan X" if cell.titan_days else ""
        yield (
            f"{cell.shape.name} at {cell.size} px, {cell.shape.parameters():,} parameters, "
            f"{recipe.epochs} epochs"
        )
        yield (
            f"the paper (quoted, not measured here): top-1 error {percent(cell.top1_error)}, top-5 "
            f"error {percent(cell.top5_error)}{days} ({cell.quoted})"
        )
        yield (
            f"store: {cell.store_bytes / 1e9:.1f} GB, at most {duration(BUILD_CORE_S)} of one core"
        )
        if recipe.precision == "auto":
            yield (
                f"training, estimated: {duration(cell.h100_s(recipe))} on one H100; "
                f"{duration(cell.xeon_s(recipe))} on 2 cores of an Intel Xeon with AMX"
            )
        else:
            yield f"training: no estimate, because no speed in {recipe.precision} was measured"
        yield from self.commands(source)

    def finish(
        self, source: Path, working: Working, execution: Execution, track: Track = silent
    ) -> Run:
        """Build the store if it is not finished, and train the run to its end.

        Args:
            source: ImageNet in any form that `lowres build` reads.
            working: how to build.
            execution: how to train.
            track: shows progress.

        Raises:
            LowresError: what `build` and `train` raise.
        """
        from lowres.training.together import finish_all  # which loads torch

        options = BuildOptions(size=self.recipe.size, preset=PRESET)
        finished = (self.store / "manifest.json").exists()  # ImageNet may be gone by then
        if not finished:
            build(source, self.store, options, working=working, track=track)
        run = Run.plan(self.run, self.recipe, open_store(self.store))
        (end,) = finish_all([run], store=self.store, execution=execution, track=track)
        if isinstance(end, Exception):
            raise end
        return run

    def row(self) -> dict[str, Any]:
        """Return the finished run as a row of a table of results.

        `differs` says in words what was not as in the paper; it is empty for a cell of Table 1.

        Raises:
            StudyError: there is no run, or it is not finished.
            RunError: it is damaged.
            StoreError: its store is missing.
        """
        if not self.run.is_dir():
            raise StudyError(
                f"{self.run} does not exist, so there is nothing to record: train the cell first "
                "(lowres reproduce table1 SOURCE --cell NAME), or name its --epochs, --seed and "
                "--out as in that command"
            )
        run = Run.open(self.run)
        if not run.finished:
            raise StudyError(
                f"{self.run} is not finished, so there is nothing to record; to finish it, run: "
                f"{command('train', self.run)}"
            )
        store, result, cell = run.open_store(self.store), run.result(), self.cell
        return {
            "cell": cell.name,
            "recipe": "paper-strict" if run.recipe.shuffle == "ten-files" else "paper",
            "epochs": run.recipe.epochs,
            "seed": run.recipe.seed,
            "top1_error": result["top1_error"],
            "top5_error": result.get("top5_error"),
            "paper_top1_error": cell.top1_error,
            "paper_top5_error": cell.top5_error,
            "train_s": round(result["train_s"], 1),
            "precision": result.get("precision"),
            **result["hardware"],
            **result["versions"],
            "store_digest": run.store_digest,
            "weights_sha256": result.get("weights_sha256"),
            "differs": "; ".join(_differences(run, store)),
        }

    def sentence(self) -> str:
        """Return the result of the finished run beside the paper's, in words; raises as `row`."""
        row = self.row()
        if row["differs"]:
            return (
                f"{self.cell.shape.name} at {self.cell.size} px: top-1 error "
                f"{percent(row['top1_error'])}. It is no result for Table 1: {row['differs']}"
            )
        gap = 100 * (row["top1_error"] - self.cell.top1_error)
        half = 196 * (row["top1_error"] * (1 - row["top1_error"]) / VAL_IMAGES) ** 0.5
        return (
            f"{self.cell.shape.name} at {self.cell.size} px: top-1 error "
            f"{percent(row['top1_error'])}, the paper {percent(self.cell.top1_error)}: "
            f"{gap:+.2f} points. {VAL_IMAGES:,} validation images know an error to +/- "
            f"{number(half, 2)} points (95 %); how much seeds add is not known"
        )


def _differences(run: Run, store: Store) -> Iterator[str]:
    """Yield in what a run is not the paper's."""
    splits, recipe = store.manifest.splits, run.recipe
    for split, images in (("train", TRAIN_IMAGES), ("val", VAL_IMAGES)):
        if splits.get(split, 0) != images:
            yield f"{split} has {splits.get(split, 0):,} images and not {images:,}"
    if len(store.manifest.classes) != CLASSES:
        yield f"{len(store.manifest.classes):,} classes and not {CLASSES:,}"
    if recipe.epochs != Recipe().epochs:
        yield f"{count(recipe.epochs, 'epoch')} and not {Recipe().epochs}"
    if run.result()["status"] == "diverged":
        yield "the run diverged"


def append_row(path: Path, row: dict[str, Any]) -> bool:
    """Append a row to a CSV file of results, unless a row of the same weights is there.

    Args:
        path: the file; a new one begins with the names of the columns.
        row: as `Reproduction.row` returns it.

    Returns:
        Whether the row was added.

    Raises:
        StudyError: the file has other columns.
    """
    rows: list[dict[str, Any]] = []
    if path.exists():
        reader = csv.DictReader(io.StringIO(path.read_text("utf-8")))
        if list(reader.fieldnames or ()) != list(row):
            raise StudyError(
                f"{path} has other columns than a record of Table 1 ({', '.join(row)}): name "
                "another file"
            )
        rows = list(reader)
    if any(one["weights_sha256"] == row["weights_sha256"] for one in rows):
        return False
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(row), lineterminator="\n")
    writer.writeheader()
    writer.writerows([*rows, row])
    write_bytes(path, buffer.getvalue().encode())
    return True
