"""A run: one recipe on one store, as a directory; its state and its summary.

::

    RUN/recipe.json              the recipe, and which store it is for
    RUN/initial.safetensors      the weights of a warm start
    RUN/metrics.jsonl            one line an epoch
    RUN/checkpoint.pt            the state after the last epoch or at the interrupt, to resume from
    RUN/checkpoint-earlier.pt    the one before, for the case that checkpoint.pt is damaged
    RUN/error.json               why the last attempt failed
    RUN/weights.safetensors      the weights at the end
    RUN/outcomes.npz             one bit an image of the split for errors: wrong at the end
    RUN/classes.json             errors of classes, and which are confused
    RUN/result.json              written last: its presence means finished

`lowres train RUN` finishes any such directory, so that a study, a queue of a cluster and a shell
loop all work the same way.
"""

from __future__ import annotations

import io
import json
import traceback
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lowres.errors import LowresError, RunBusyError, RunError
from lowres.recipe import Recipe
from lowres.store.store import Store
from lowres.text import command, count, percent
from lowres.training.run_files import Classes, Epoch, Failure, Outcome, Plan
from lowres.work.directory import DAMAGE, WorkDirectory
from lowres.work.files import sha256_of_file, write_bytes, write_json
from lowres.work.records import RecordError, decoded_lines, read_record, typed

INITIAL_FILE = "initial.safetensors"
WEIGHTS_FILE = "weights.safetensors"
CHECKPOINT_FILE = "checkpoint.pt"
EARLIER_CHECKPOINT_FILE = "checkpoint-earlier.pt"
METRICS_FILE = "metrics.jsonl"
ERROR_FILE = "error.json"
OUTCOMES_FILE = "outcomes.npz"
CLASSES_FILE = "classes.json"


class RunState(StrEnum):
    """The state of a run."""

    DAMAGED = "damaged"
    """A file of it is damaged or missing; only a listing of several runs has this state."""
    PLANNED = "planned"
    """It has a recipe."""
    STARTED = "started"
    """It has a checkpoint; no process trains it, or none that can be seen."""
    RUNNING = "running"
    """A process trains it."""
    FAILED = "failed"
    """Its last attempt ended with an error."""
    DIVERGED = "diverged"
    """It is finished: its loss was not finite."""
    TRAINED = "trained"
    """It is finished: all epochs are done."""

    @property
    def finished(self) -> bool:
        """Whether the run has a result."""
        return self in (RunState.DIVERGED, RunState.TRAINED)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run's directory holds at one moment, or will hold once it is planned.

    Attributes:
        name: name of the directory.
        recipe: what it trains.
        state: its state.
        history: the records of its epochs, oldest first.
        result: what `result.json` holds; empty if the run is not finished.
        reason: why it failed or diverged; empty otherwise.
    """

    name: str
    recipe: Recipe
    state: RunState = RunState.PLANNED
    history: Sequence[dict[str, Any]] = ()
    result: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

    @property
    def finished(self) -> bool:
        """Whether the run has a result."""
        return self.state.finished

    @property
    def spent_s(self) -> float:
        """Seconds of training and evaluation so far."""
        return sum(float(epoch["train_s"] + epoch["eval_s"]) for epoch in self.history)


@dataclass(frozen=True, slots=True)
class WarmStart:
    """Weights of another run that a run starts with; `weights.warm_start` says which tensors.

    Attributes:
        run: name of the other run.
        sha256: of the file.
        file: the file with the weights.
    """

    run: str
    sha256: str
    file: Path = field(compare=False)

    @classmethod
    def of(cls, run: Path) -> Self:
        """Take the weights of a finished run, by its directory.

        Raises:
            RunError: it has none.
        """
        file = run / WEIGHTS_FILE
        try:
            return cls(run.name, sha256_of_file(file), file)
        except OSError as error:
            raise RunError(
                f"{file} is missing or cannot be read ({error}): a run writes it when it is "
                f"finished; finish it with: {command('train', run)}"
            ) from error


@dataclass(frozen=True, slots=True)
class Run:
    """A run's directory.

    Attributes:
        path: the directory.
        recipe: what to train.
        store_path: where the store was when the run was planned.
        store_digest: the digest of that store's contents.
        warm_start: the weights to start with; None for random ones.
    """

    path: Path
    recipe: Recipe
    store_path: Path
    store_digest: str
    warm_start: WarmStart | None = None

    @staticmethod
    def name(recipe: Recipe, store_digest: str, warm_start: WarmStart | None = None) -> str:
        """Return the name of a run, made from its recipe, its store and its warm start."""
        return recipe.run_name(store_digest + (warm_start.sha256 if warm_start else ""))

    @classmethod
    def plan(
        cls, path: Path, recipe: Recipe, store: Store, warm_start: WarmStart | None = None
    ) -> Self:
        """Make the directory of a run, or open it if it exists.

        Args:
            path: the directory.
            recipe: what to train.
            store: what to train it on.
            warm_start: weights to start with, which are copied into the directory.

        Raises:
            RunError: the directory holds another run, or other files.
            StoreError: the store has no such variant, or no labels.
            RecipeError: the store has too few images, or no split to measure errors on.
        """
        store.require_labels()
        store.images("train", recipe.variant)
        recipe.check_splits(store.splits)
        run = cls(path, recipe, store.path, store.manifest.digest)
        if warm_start:
            run = replace(run, warm_start=replace(warm_start, file=path / INITIAL_FILE))
        record: dict[str, Any] = {
            "store": {"path": str(store.path.resolve()), "digest": run.store_digest},
            "recipe": recipe.to_record(),
        }
        if warm_start:
            record["start"] = {"run": warm_start.run, "sha256": warm_start.sha256}
        _work(path).begin(record)
        if warm_start and not (path / INITIAL_FILE).exists():
            write_bytes(path / INITIAL_FILE, warm_start.file.read_bytes())
        return run

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the directory of a run.

        Raises:
            RunError: it is no run, or its recipe is damaged.
        """
        record = _work(path).read()
        recipe, store, warm_start = Recipe.from_record(record["recipe"]), record["store"], None
        if start := record.get("start"):
            warm_start = WarmStart(start["run"], start["sha256"], path / INITIAL_FILE)
        return cls(path, recipe, Path(store["path"]), store["digest"], warm_start)

    @property
    def finished(self) -> bool:
        """Whether the run has a result."""
        return _work(self.path).finished

    @property
    def busy(self) -> bool:
        """Whether a process trains the run; without locks never so, and a warning says it."""
        return _work(self.path).busy

    @property
    def state(self) -> RunState:
        """The state by the run's files; `summary` sees in addition whether a process trains it."""
        if self.finished:
            return _state_of(self.result())
        if (self.path / ERROR_FILE).exists():
            return RunState.FAILED
        checkpoints = (self.path / CHECKPOINT_FILE, self.path / EARLIER_CHECKPOINT_FILE)
        return RunState.STARTED if any(c.exists() for c in checkpoints) else RunState.PLANNED

    def summary(self) -> RunSummary:
        """Read everything that the directory says about the run.

        Raises:
            RunError: a file is damaged.
        """
        busy = self.busy  # before the state: the process may write the result meanwhile
        reason, result = "", self.result() if self.finished else {}
        state = _state_of(result) if result else RunState.RUNNING if busy else self.state
        if state.finished and not result:  # written meanwhile
            result = self.result()
        if state is RunState.FAILED:
            reason = "{type}: {message}".format(**self.error())
        if state is RunState.DIVERGED:
            reason = why_diverged(result)
        return RunSummary(self.path.name, self.recipe, state, self.metrics(), result, reason)

    def result(self) -> dict[str, Any]:
        """Read the result of a finished run."""
        result = _work(self.path).result(Outcome)
        if result["status"] == "trained" and result["top1_error"] is None:
            raise RunError(f"{self.path / 'result.json'} is damaged: a trained run has no error")
        return result

    def error(self) -> dict[str, Any]:
        """Read why the last attempt failed: `type`, `message` and `traceback`."""
        return read_record(self.path / ERROR_FILE, Failure, RunError)

    def metrics(self) -> list[dict[str, Any]]:
        """Read the epochs so far, oldest first."""
        path = self.path / METRICS_FILE
        try:
            epochs = decoded_lines(path.read_bytes())
            typed(epochs, list[Epoch])
            return epochs
        except FileNotFoundError:
            return []
        except (OSError, RecordError) as error:
            raise RunError(f"{path} is damaged: {error}") from error

    def open_store(self, path: Path | None = None) -> Store:
        """Open the run's store, at `path` if it has moved.

        Raises:
            RunError: the store there is not the one that the run was planned for.
            StoreError: there is none.
        """
        store = Store(path or self.store_path)
        if store.manifest.digest != self.store_digest:
            raise RunError(
                f"{store.path} is not the store of {self.path}: its contents have digest "
                f"{store.manifest.digest[:12]}, the run was planned for {self.store_digest[:12]}"
            )
        return store

    @staticmethod
    def outcomes_in(path: Path) -> NDArray[np.bool_] | None:
        """Return which images of the split for errors a run has wrong at its end, (N,) by row.

        Args:
            path: the run's directory.

        Returns:
            None if the run diverged, is not finished, or is of an older lowres.

        Raises:
            RunError: the file is damaged.
        """
        path /= OUTCOMES_FILE
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                packed, images = file["wrong"], int(file["images"])
            if packed.dtype != np.uint8 or packed.shape != (-(-images // 8),):
                raise ValueError(f"{images} images need {-(-images // 8)} bytes of bits")
            return np.unpackbits(packed, count=images).astype(np.bool_)
        except FileNotFoundError:
            return None
        except (*DAMAGE, EOFError, zipfile.BadZipFile) as error:
            raise RunError(
                f"{path} is damaged: {error}; remove it, and reports do without it"
            ) from error

    def write_outcomes(self, wrong: NDArray[np.bool_]) -> None:
        """Write `images`, their number, and `wrong`, a bit each, eight a byte (`np.packbits`)."""
        buffer = io.BytesIO()
        np.savez(buffer, images=np.int64(len(wrong)), wrong=np.packbits(wrong))
        write_bytes(self.path / OUTCOMES_FILE, buffer.getvalue())

    def classes(self) -> dict[str, Any] | None:
        """Read the errors of classes at the run's end, as `outcomes.class_errors` returns them.

        Returns:
            None if the run diverged, is not finished, or is of an older lowres.

        Raises:
            RunError: the file is damaged.
        """
        if not (self.path / CLASSES_FILE).exists():
            return None
        return read_record(self.path / CLASSES_FILE, Classes, RunError)

    def write_classes(self, classes: dict[str, Any]) -> None:
        """Write the errors of classes."""
        write_json(self.path / CLASSES_FILE, classes)

    def write_metrics(self, epochs: Sequence[dict[str, Any]]) -> None:
        """Write all epochs so far, so that the lines never disagree with the checkpoint."""
        lines = "".join(f"{json.dumps(epoch)}\n" for epoch in epochs)
        write_bytes(self.path / METRICS_FILE, lines.encode())

    def finish(self, result: dict[str, Any]) -> None:
        """Write the result, which declares the run finished."""
        _work(self.path).finish(result)
        (self.path / EARLIER_CHECKPOINT_FILE).unlink(missing_ok=True)

    def clear_error(self) -> None:
        """Remove the error of an earlier attempt."""
        (self.path / ERROR_FILE).unlink(missing_ok=True)

    def fail(self, error: BaseException) -> None:
        """Record the error that ended an attempt; the user's own code gets its traceback."""
        ours = isinstance(error, LowresError)
        trace = "" if ours else "".join(traceback.format_exception(error))
        self.record_error(type(error).__name__, str(error), trace)

    def record_error(self, kind: str, message: str, trace: str = "") -> None:
        """Record in words why an attempt failed."""
        record = {"type": kind, "message": message, "traceback": trace}
        write_json(self.path / ERROR_FILE, record)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run, so that no other process trains it at the same time.

        Raises:
            RunBusyError: another process holds the lock.
        """
        with _work(self.path).lock("being trained"):
            yield


def _work(path: Path) -> WorkDirectory:
    return WorkDirectory(
        path,
        kind="run",
        plan_name="recipe.json",
        result_name="result.json",
        error=RunError,
        busy_error=RunBusyError,
        ignored=frozenset({"path"}),
        locks_plan=True,
        check=_checked,
        advice=f"finish the run that is there with: {command('train', path)}, or choose another "
        "directory with --out",
    )


def _checked(record: dict[str, Any]) -> dict[str, Any]:
    """Validate a run's plan, and complete a recipe from before a field was added."""
    plan = typed(record, Plan)
    return {**plan, "recipe": Recipe.from_record(plan["recipe"]).to_record()}


def _state_of(result: dict[str, Any]) -> RunState:
    return RunState.DIVERGED if result["status"] == "diverged" else RunState.TRAINED


def why_diverged(result: dict[str, Any]) -> str:
    """Return from where on the loss of a run is not finite."""
    step, rate = result.get("bad_step"), result.get("bad_lr")
    where = "" if step is None else f" from step {step} on, at learning rate {rate}"
    return f"its loss is not finite{where}"


def result_line(result: dict[str, Any]) -> str:
    """Return the result of a run in one sentence."""
    network = str(result.get("network", "network"))
    if "parameters" in result:
        network += f" ({count(result['parameters'], 'parameter')})"
    if result["status"] == "diverged":
        when = f" in epoch {result['epochs']}" if "epochs" in result else ""
        return f"{network} diverged{when}: {why_diverged(result)}"
    speed = f", {result['images_per_s']:,.0f} images/s" if "images_per_s" in result else ""
    final = result.get("test_top1_error")
    test = "" if final is None else f"test top-1 error {percent(final)}; "
    return (
        f"{network}: {result.get('eval_split', 'measured')} top-1 error "
        f"{percent(result['top1_error'])}, top-5 error {percent(result.get('top5_error'))}; {test}"
        f"{result['train_s']:.1f} s of training{speed}"
    )
