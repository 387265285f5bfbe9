"""A run: one recipe on one store, as a directory.

::

    RUN/recipe.json              the recipe, and which store it is for
    RUN/initial.safetensors      weights that it begins with, if they are another run's
    RUN/metrics.jsonl            one line an epoch
    RUN/checkpoint.pt            the last epoch, or where it was interrupted; what it goes on from
    RUN/error.json               why the last attempt failed, if it did
    RUN/weights.safetensors      the weights at the end
    RUN/result.json              written last: its presence means finished

`lowres train RUN` finishes any such directory, so a study, a cluster's queue and a shell loop all
work the same way.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from lowres.errors import LowresError, RunBusyError, RunError
from lowres.recipe import Recipe
from lowres.store.store import Store
from lowres.work.files import held, sha256_of_file, write_bytes, write_json

Status = Literal["finished", "failed", "begun", "planned"]

INITIAL_FILE = "initial.safetensors"
WEIGHTS_FILE = "weights.safetensors"

LOCK_TRIES = 4
LOCK_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Start:
    """Weights of another run that a run begins with (training/carrying.py tells which of them).

    Attributes:
        run: name of the run that they come from.
        sha256: of their file.
        file: where it is.
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
                f"{file} is missing or cannot be read: weights are written when a run is over "
                f"({error})"
            ) from error


class Run:
    """A run's directory.

    Attributes:
        path: the directory.
        recipe: what to train.
        store_path: where the store was when the run was planned.
        store_digest: the digest of that store's contents.
        start: the weights that it begins with, if they are another run's.
    """

    def __init__(
        self,
        path: Path,
        recipe: Recipe,
        store_path: Path,
        store_digest: str,
        start: Start | None = None,
    ) -> None:
        self.path = path
        self.recipe = recipe
        self.store_path = store_path
        self.store_digest = store_digest
        self.start = start

    @staticmethod
    def name(recipe: Recipe, store_digest: str, start: Start | None = None) -> str:
        """Name a run by its recipe, its store and the weights that it begins with."""
        return recipe.run_name(store_digest + (start.sha256 if start else ""))

    @classmethod
    def plan(cls, path: Path, recipe: Recipe, store: Store, start: Start | None = None) -> Self:
        """Make the directory of a run, or open it if it is there already.

        Args:
            path: the directory.
            recipe: what to train.
            store: what to train it on.
            start: weights to begin with, which are copied; if not given, fresh ones.

        Raises:
            RunError: the directory holds another run, or something else.
            StoreError: the store has no such variant.
        """
        store.images("train", recipe.variant)
        digest = store.manifest.digest
        if path.exists() and (not path.is_dir() or _holds_something(path)):
            run = cls.open(path)
            if run.recipe != recipe or run.store_digest != digest or run.start != start:
                raise RunError(
                    f"{path} holds another run; finish it with: lowres train {path}, or choose "
                    "another directory with --out"
                )
        else:
            path.mkdir(parents=True, exist_ok=True)
            run = cls(path, recipe, store.path, digest, start)
            write_json(path / "recipe.json", run._to_record())
        if start and not (path / INITIAL_FILE).exists():
            write_bytes(path / INITIAL_FILE, start.file.read_bytes())
        return run

    def _to_record(self) -> dict[str, Any]:
        record: dict[str, Any] = {
            "store": {"path": str(self.store_path.resolve()), "digest": self.store_digest}
        }
        if self.start:
            record["start"] = {"run": self.start.run, "sha256": self.start.sha256}
        return {**record, "recipe": self.recipe.to_record()}

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the directory of a run.

        Raises:
            RunError: it is no run, or its recipe is damaged.
        """
        try:
            record = json.loads((path / "recipe.json").read_text())
            recipe, store, start = Recipe.from_record(record["recipe"]), record["store"], None
            if "start" in record:
                of = record["start"]
                start = Start(str(of["run"]), str(of["sha256"]), path / INITIAL_FILE)
            return cls(path, recipe, Path(store["path"]), str(store["digest"]), start)
        except FileNotFoundError:
            raise RunError(f"{path} is not a run: it has no recipe.json") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path / 'recipe.json'} is damaged: {error}") from error

    @property
    def status(self) -> Status:
        """How far the run is, by the files that are there."""
        if (self.path / "result.json").exists():
            return "finished"
        if (self.path / "error.json").exists():
            return "failed"
        return "begun" if (self.path / "checkpoint.pt").exists() else "planned"

    def result(self) -> dict[str, Any]:
        """Read the result of a finished run."""
        return _read(self.path / "result.json", ("status", "top1_error", "train_s"))

    def error(self) -> dict[str, Any]:
        """Read why the last attempt failed: `type`, `message` and `traceback`."""
        return _read(self.path / "error.json", ("type", "message"))

    def metrics(self) -> list[dict[str, Any]]:
        """Read the epochs so far, oldest first."""
        path = self.path / "metrics.jsonl"
        try:
            return [json.loads(line) for line in path.read_text().splitlines()]
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
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

    def write_metrics(self, epochs: list[dict[str, Any]]) -> None:
        """Write all epochs so far, so that the lines never disagree with the checkpoint."""
        lines = "".join(f"{json.dumps(epoch)}\n" for epoch in epochs)
        write_bytes(self.path / "metrics.jsonl", lines.encode())

    def finish(self, result: dict[str, Any]) -> None:
        """Write the result, which declares the run finished."""
        write_json(self.path / "result.json", result)

    def clear_error(self) -> None:
        """Forget how an earlier attempt failed."""
        (self.path / "error.json").unlink(missing_ok=True)

    def fail(self, error: BaseException) -> None:
        """Record why an attempt failed."""
        told = isinstance(error, LowresError)
        self.record_error(
            type(error).__name__,
            str(error),
            "" if told else "".join(traceback.format_exception(error)),
        )

    def record_error(self, kind: str, message: str, trace: str = "") -> None:
        """Record why an attempt failed, in words."""
        record = {"type": kind, "message": message, "traceback": trace}
        write_json(self.path / "error.json", record)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run, so that no other process trains it at the same time.

        Raises:
            RunBusyError: another process holds it.
        """
        for left in reversed(range(LOCK_TRIES)):  # who asks for `busy` holds it for a moment, too
            with held(self.path / "recipe.json") as free:
                if free:
                    yield
                    return
            if left:
                time.sleep(LOCK_PAUSE_S)
        raise RunBusyError(f"{self.path} is being trained by another process")

    @property
    def busy(self) -> bool:
        """Whether a process holds the run; never so on file systems that know no locks."""
        with held(self.path / "recipe.json") as free:
            return not free


def _holds_something(path: Path) -> bool:
    """Tell whether a folder holds more than a recipe that was not written to its end."""
    return any(child.name != "recipe.json.tmp" for child in path.iterdir())


def _read(path: Path, needed: Sequence[str]) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is missing or damaged: {error}") from error
    if not isinstance(record, dict) or not all(name in record for name in needed):
        raise RunError(f"{path} is damaged: it must hold {', '.join(needed)}; remove it")
    return record


def eval_split(store: Store, recipe: Recipe) -> str:
    """Name the split that errors are measured on."""
    return recipe.eval_split or ("val" if "val" in store.splits else "test")


def result_line(result: dict[str, object]) -> str:
    """Tell the result of a run in a line."""
    network = f"{result['network']} ({result['parameters']:,} parameters)"
    if result["status"] == "diverged":
        return (
            f"{network} diverged in epoch {result['epochs']}: its loss is no longer finite from "
            f"step {result['bad_step']} on, at learning rate {result['bad_lr']}"
        )
    return (
        f"{network}: {result['eval_split']} top-1 error {_percent(result['top1_error'])}, top-5 "
        f"error {_percent(result['top5_error'])}; {result['train_s']:.1f} s of training, "
        f"{result['images_per_s']:,.0f} images/s"
    )


def _percent(share: object) -> str:
    return f"{100 * float(str(share)):.2f} %"
