"""A study's directory: plan runs, finish them, tell how each one stands.

::

    STUDY/study.json     the store, the recipe around the axes, the axes
    STUDY/runs/NAME/     one directory a run
    STUDY/report.html    written by lowres report
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lowres.errors import RunError, StudyError
from lowres.executors.base import BUSY_STATUS, Executor, Outcome, Piece
from lowres.manifest import write_json
from lowres.progress import Display, Track, silent
from lowres.recipe import FIELDS, Recipe
from lowres.run import Run
from lowres.store import Store
from lowres.study.axes import Axis, expand

FILE_NAME = "study.json"


@dataclass(frozen=True, slots=True)
class Summary:
    """How the runs of a study stand after a call of `finish`."""

    finished: int
    failed: dict[str, str]
    elsewhere: int


class Study:
    """A planned set of runs.

    Attributes:
        path: the study's directory.
        runs: its runs, the most costly first.
    """

    def __init__(self, path: Path, runs: Sequence[Run]) -> None:
        self.path = path
        self.runs = sorted(runs, key=lambda run: (-_cost(run.recipe), run.path.name))

    @classmethod
    def plan(cls, path: Path, store: Store, base: Recipe, axes: Sequence[Axis]) -> Self:
        """Make the directories of all runs that the axes span, keeping those that are there.

        A study may be planned again with more values or axes; what is not swept must stay.

        Raises:
            StudyError: the directory holds something else, or a study that does not fit.
            RecipeError: a value is outside its range.
            StoreError: the store lacks a variant.
        """
        recipes = expand(base, axes)
        digest = store.manifest.digest
        earlier = _begun(path)
        swept = {axis.name: list(axis.values) for axis in axes}
        if earlier is not None:
            _refuse_changes(path, earlier, base, swept, digest)
            swept = _joined(earlier["axes"], swept)
        for variant in {recipe.variant for recipe in recipes}:
            store.images("train", variant)
        names = dict.fromkeys(earlier["runs"] if earlier else ())
        for recipe in recipes:
            names[recipe.run_name(digest)] = None
        (path / "runs").mkdir(parents=True, exist_ok=True)
        record = {
            "store": {"path": str(store.path.resolve()), "digest": digest},
            "base": base.to_record(),
            "axes": swept,
            "runs": list(names),
        }
        write_json(path / FILE_NAME, record)
        for recipe in recipes:
            Run.plan(path / "runs" / recipe.run_name(digest), recipe, store)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a planned study.

        Raises:
            StudyError: there is none, or it is damaged.
        """
        record = _read(path)
        if record is None:
            raise StudyError(f"{path} is not a study: it has no {FILE_NAME}")
        try:
            return cls(path, [Run.open(path / "runs" / name) for name in record["runs"]])
        except RunError as error:
            raise StudyError(f"{error}; plan the study again with the same axes") from error

    def finish(
        self, executor: Executor, arguments: Sequence[str] = (), *, track: Track = silent
    ) -> Summary:
        """Finish every run that is not finished; failed ones are tried again.

        Args:
            executor: what runs them.
            arguments: further arguments of each `lowres train`.
            track: shows progress, one line a run.
        """
        todo = {run.path.name: run for run in self.runs if run.status != "finished"}
        pieces = [_piece(run, arguments) for run in todo.values()]
        busy = 0
        with track("study", len(self.runs), done=len(self.runs) - len(todo)) as display:
            for outcome in executor.finish(pieces):
                busy += _note(todo[outcome.piece.name], outcome, display)
                display.advance()
        failed = {run.path.name: _why(run) for run in self.runs if run.status == "failed"}
        finished = sum(run.status == "finished" for run in self.runs)
        return Summary(finished, failed, busy)


def _piece(run: Run, arguments: Sequence[str]) -> Piece:
    path = run.path.resolve()
    command = (sys.executable, "-P", "-m", "lowres", "train", str(path), *arguments)
    return Piece(run.path.name, command, path / "train.log")


def _note(run: Run, outcome: Outcome, display: Display) -> bool:
    """Say how a run ended, recording what it could not record itself; tell if it was busy."""
    if outcome.exit_status == BUSY_STATUS:
        display.say(f"{run.path.name}: another process is training it")
        return True
    if run.status != "finished" and run.status != "failed":
        run.record_error("ProcessEnded", f"its process {_ending(outcome.exit_status)}")
    if run.status == "failed":
        display.say(f"{run.path.name}: FAILED: {_why(run)}")
        return False
    result = run.result()
    if result["status"] == "diverged":
        display.say(f"{run.path.name}: diverged in epoch {result['epochs']}")
    else:
        error, took_s = 100 * result["top1_error"], result["train_s"]
        display.say(f"{run.path.name}: top-1 error {error:.2f} %, {took_s:.1f} s")
    return False


def _why(run: Run) -> str:
    error = run.error()
    return f"{error['type']}: {error['message']} (see {run.path / 'train.log'})"


def _ending(exit_status: int) -> str:
    if exit_status >= 0:
        return f"ended with status {exit_status} and without a result"
    name = signal.Signals(-exit_status).name
    hint = "; was there too little memory?" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


def _cost(recipe: Recipe) -> float:
    """Estimate the cost of a run, up to a factor: most of it are convolutions at full size."""
    return recipe.epochs * recipe.blocks * recipe.width**2 * recipe.size**2


def _begun(path: Path) -> dict[str, Any] | None:
    """Read the study that a directory holds; refuse one that holds something else."""
    if path.exists() and not path.is_dir():
        raise StudyError(f"study {path} must be a directory, and is a file")
    record = _read(path)
    if record is None and path.exists() and any(path.iterdir()):
        raise StudyError(
            f"{path} is neither empty nor a study: choose another directory with --out"
        )
    return record


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((path / FILE_NAME).read_text())
        axes, runs, base = record["axes"], record["runs"], record["base"]
        if not (isinstance(axes, dict) and isinstance(runs, list) and isinstance(base, dict)):
            raise TypeError("axes, runs or base of another kind")
        return dict(record)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{path / FILE_NAME} is damaged: {error!r}") from error


def _refuse_changes(
    path: Path,
    earlier: dict[str, Any],
    base: Recipe,
    swept: dict[str, list[Any]],
    digest: str,
) -> None:
    """Refuse to mix runs that differ in more than the axes."""
    if earlier["store"]["digest"] != digest:
        raise StudyError(
            f"study {path} is of another store ({earlier['store']['path']}): choose another "
            "directory with --out"
        )
    now = base.to_record()
    for name in FIELDS:
        then = earlier["base"].get(name)
        if name not in swept and name not in earlier["axes"] and then != now[name]:
            raise StudyError(
                f"study {path} was planned with {name} {then}, and this asks for {now[name]}: "
                f"choose another directory with --out, or sweep it with --axis {name}=..."
            )


def _joined(then: dict[str, list[Any]], now: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Join the axes of two plans, in the order in which values were first asked for."""
    joined = {name: list(values) for name, values in then.items()}
    for name, values in now.items():
        known = joined.setdefault(name, [])
        known += [value for value in values if value not in known]
    return joined
