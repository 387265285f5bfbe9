"""The verb reproduce: the cells of the paper's Table 1."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from cyclopts import Group

from lowres.cli.app import out
from lowres.cli.flags import LocalPath, Output, Quiet, SourcePath, flags_of, given_values
from lowres.errors import LowresError, require
from lowres.progress import shown, silent
from lowres.store.options import Working
from lowres.training.execution import Execution

if TYPE_CHECKING:
    ExecutionFlags: TypeAlias = Any
    WorkingFlags: TypeAlias = Any
else:
    WorkingFlags = flags_of(Working, Group("How to build", sort_key=3))
    ExecutionFlags = flags_of(Execution, Group("How to train", sort_key=2), without=["together"])


def reproduce(
    table: Literal["table1"],
    source: SourcePath | None = None,
    /,
    *,
    cell: str | None = None,
    strict: bool = False,
    seed: int = 0,
    epochs: int | None = None,
    out_directory: Annotated[Path | None, Output] = None,
    record: LocalPath | None = None,
    execution: ExecutionFlags = None,
    working: WorkingFlags = None,
    quiet: Quiet = False,
) -> None:
    """Reproduce a cell of the paper's Table 1: build its store and train its network.

    Without SOURCE, lowres trains nothing: it prints the expected errors, hours, disk space and
    commands; without --cell, those of all cells. After an interrupt, run the same command again: it
    resumes.

    Example: lowres reproduce table1 imagenet --cell wrn-28-2@32

    Args:
        table: table1 of arXiv 1707.08819.
        source: ImageNet, such as the folder with its tars (docs/imagenet.md).
        cell: Network and size, such as wrn-28-2@32.
        strict: Train by paper-strict: with the script's order of images, in float32.
        seed: Seed of the run.
        epochs: Epochs in place of 40, for a rehearsal.
        out_directory: Folder of stores and runs. Default: table1.
        record: CSV file to which the finished run is added, with its hardware.
        execution: How the training works.
        working: How the build works.
        quiet: Show no progress.
    """
    from lowres.study.reproduce import TABLE1, Reproduction, append_row, find_cell
    from lowres.text import MISSING, duration, percent, table as columns

    if cell is None:
        if source is not None or record is not None:
            raise LowresError(
                f"--cell is missing; it is one of {', '.join(c.name for c in TABLE1)}"
            )
        rows = [("cell", "top-1 error", "top-5 error", "store, GB", "one H100")]
        for one in TABLE1:
            recipe = one.recipe(epochs=epochs)
            hours = MISSING if strict else duration(one.h100_s(recipe))
            errors = percent(one.top1_error), percent(one.top5_error)
            rows.append((one.name, *errors, f"{one.store_bytes / 1e9:.1f}", hours))
        for line in columns(rows):
            out.print(line)
        out.print(
            "Errors are the paper's, quoted; hours are estimates. For the commands of a cell, run: "
            f"lowres reproduce table1 --cell {TABLE1[1].name}"
        )
        return
    found, folder = find_cell(cell), out_directory or Path(table)
    recipe = found.recipe(strict=strict, seed=seed, epochs=epochs)
    wanted = Reproduction(found, recipe, folder)
    if source is not None:
        require("torch", "train")
        ways, chosen = Working(**given_values(working)), Execution(**given_values(execution))
        wanted.finish(source, ways, chosen, silent if quiet else shown)
        out.print(wanted.sentence())
    elif record is None:
        for line in wanted.lines("imagenet"):
            out.print(line)
        words = ["lowres", "reproduce", table, "imagenet", "--cell", cell, *["--strict"] * strict]
        for flag, value in (("--epochs", epochs), ("--seed", seed), ("--out", out_directory)):
            words += [flag, str(value)] if value else []
        out.print(f"to run both, and to resume: {shlex.join(words)}")
    if record is not None:
        added = append_row(record, wanted.row())
        out.print(f"{record}: {'the run is recorded' if added else 'the run is there already'}")
