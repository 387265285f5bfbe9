"""The training loop: a run's directory in, its result out, going on from the last whole epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from lowres.errors import LowresError, RunError
from lowres.loading.loaders import NumpyLoader, TorchLoader
from lowres.progress import Display, Track, silent
from lowres.recipe import Recipe
from lowres.run import Run
from lowres.store import Store
from lowres.training import checkpoint
from lowres.training.checkpoint import Progress
from lowres.training.device import choose_device, choose_precision, describe_hardware
from lowres.training.evaluate import evaluate
from lowres.training.momentum import Momentum
from lowres.training.schedule import learning_rate
from lowres.wrn import WideResNet

EVAL_BATCH_SIZE = 500
"""As in the authors' script; has no effect on the result."""


@dataclass(slots=True)
class _Session:
    """What one call of `finish` works with."""

    recipe: Recipe
    model: WideResNet
    optimizer: Momentum
    train: NumpyLoader
    evaluation: NumpyLoader
    eval_split: str
    device: torch.device
    precision: torch.dtype
    progress: Progress

    @property
    def steps(self) -> int:
        return len(self.train) * self.recipe.epochs


def train(
    store: Store,
    recipe: Recipe,
    path: Path | str,
    *,
    device: str = "auto",
    threads: int | None = None,
    track: Track = silent,
) -> dict[str, Any]:
    """Train a recipe on a store in a run's directory, or go on with it.

    Args:
        store: the pictures.
        recipe: every decision.
        path: the run's directory; new, empty, or of this same run.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads; if not given, as many as the run began with, or torch's own number.
        track: shows progress.

    Returns:
        The result, as in `result.json`: errors are shares from 0 to 1, times in seconds.

    Raises:
        RunError: the directory holds something else, or the run cannot be trained here.
        StoreError: the store lacks the variant or the split.
    """
    run = Run.plan(Path(path), recipe, store)
    return finish(run, device=device, threads=threads, track=track)


def finish(
    run: Run,
    *,
    store: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    track: Track = silent,
) -> dict[str, Any]:
    """Train a run to its end and return its result; a finished run returns it at once.

    A failure is recorded in the run's directory before it is raised.

    Raises:
        RunError: the run cannot be trained here.
        RunBusyError: another process is training it.
        StoreError: its store is missing or damaged.
    """
    if run.status == "finished":
        return run.result()
    with run.locked():
        run.clear_error()
        try:
            session = _open(run, run.open_store(store), choose_device(device))
            with _threads(threads, session.progress):
                result = _train(run, session, track)
        except (LowresError, RuntimeError, MemoryError, OSError, ValueError) as error:
            run.fail(error)
            raise
        run.finish(result)
    return result


@contextmanager
def _threads(wanted: int | None, progress: Progress) -> Iterator[None]:
    """Use as many threads as the run began with, so that it ends with the same bits."""
    before = torch.get_num_threads()
    progress.threads = wanted or progress.threads or before
    torch.set_num_threads(progress.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _open(run: Run, store: Store, device: torch.device) -> _Session:
    recipe = run.recipe
    eval_split = recipe.eval_split or ("val" if "val" in store.splits else "test")
    if eval_split not in store.splits:
        raise RunError(
            f"{store.path} has no split {eval_split} to measure errors on (it has "
            f"{', '.join(store.splits)}): build it with --val-fraction, or choose --eval-split"
        )
    loader = NumpyLoader(
        store,
        recipe.variant,
        batch_size=recipe.batch_size,
        shuffle=True,
        flip=recipe.flip,
        shift_px=recipe.shift_px,
        subtract=recipe.subtract,
        divide_by=recipe.divide_by,
        seed=recipe.seed,
    )
    if not len(loader):
        raise RunError(
            f"train has {store.splits['train']} pictures, fewer than a batch of "
            f"{recipe.batch_size}: choose a smaller --batch-size"
        )
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        model = WideResNet.of(recipe, len(store.classes))
    model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = Momentum(
        model,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        decay_on=recipe.decay_on,
    )
    progress = checkpoint.load(run.path, model, optimizer)
    if not progress.precision:
        settled = choose_precision(recipe.precision, device)
        progress.precision = str(settled).removeprefix("torch.")
    evaluation = NumpyLoader(
        store,
        recipe.variant,
        eval_split,
        batch_size=EVAL_BATCH_SIZE,
        subtract=recipe.subtract,
        divide_by=recipe.divide_by,
    )
    precision = getattr(torch, progress.precision)
    return _Session(
        recipe, model, optimizer, loader, evaluation, eval_split, device, precision, progress
    )


def _train(run: Run, session: _Session, track: Track) -> dict[str, Any]:
    history = session.progress.history
    run.write_metrics(history)
    per_epoch = len(session.train)
    with track("train", session.steps, done=len(history) * per_epoch) as display:
        while len(history) < session.recipe.epochs and not _diverged(history):
            record = _epoch(session, len(history), display)
            history.append(record)
            checkpoint.save(run.path, session.model, session.optimizer, session.progress)
            run.write_metrics(history)
            display.say(_epoch_line(record, session.recipe.epochs))
    return _result(session)


def _epoch(session: _Session, epoch: int, display: Display) -> dict[str, Any]:
    """Train one epoch, measure errors and give the epoch's record."""
    began = time.perf_counter()
    loss = _train_epoch(session, epoch, display)
    trained = time.perf_counter()
    record: dict[str, Any] = {
        "epoch": epoch + 1,
        "lr": learning_rate(session.recipe, (epoch + 1) * len(session.train) - 1, session.steps),
        "train_loss": loss if math.isfinite(loss) else None,
        "train_s": trained - began,
    }
    if not math.isfinite(loss):
        return record | {"top1_error": None, "top5_error": None, "eval_loss": None, "eval_s": 0.0}
    loader = TorchLoader(session.evaluation)
    errors = evaluate(session.model, loader, session.device, session.precision)
    return record | {
        "top1_error": errors.top1,
        "top5_error": errors.top5,
        "eval_loss": errors.loss if math.isfinite(errors.loss) else None,
        "eval_s": time.perf_counter() - trained,
    }


def _train_epoch(session: _Session, epoch: int, display: Display) -> float:
    """Train on every batch of an epoch and return the mean loss."""
    session.model.train()
    session.train.epoch = epoch
    total = torch.zeros((), dtype=torch.float64, device=session.device)
    loader = TorchLoader(session.train)
    for step, batch in enumerate(loader, epoch * len(loader)):
        lr = learning_rate(session.recipe, step, session.steps)
        total += _step(session, *batch, lr).double()
        display.advance()
    return float(total) / len(loader)


def _step(session: _Session, images: torch.Tensor, labels: torch.Tensor, lr: float) -> torch.Tensor:
    """Take one step of SGD on (B, 3, H, W) float32 and (B,) int64; return the mean loss."""
    device = session.device
    images = images.to(device, non_blocking=True)
    labels = labels.to(device, non_blocking=True)
    reduced = session.precision == torch.bfloat16
    with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
        logits = session.model(images)
    loss = functional.cross_entropy(logits.float(), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    session.optimizer.step(lr)
    return loss.detach()


def _diverged(history: list[dict[str, Any]]) -> bool:
    return bool(history) and history[-1]["train_loss"] is None


def _epoch_line(record: dict[str, Any], epochs: int) -> str:
    if record["train_loss"] is None:
        return f"epoch {record['epoch']}/{epochs}: the loss is no longer finite; stopping"
    return (
        f"epoch {record['epoch']}/{epochs}: loss {record['train_loss']:.3f}, top-1 error "
        f"{100 * record['top1_error']:.2f} %, top-5 error {100 * record['top5_error']:.2f} %, "
        f"{record['train_s']:.1f} s"
    )


def _result(session: _Session) -> dict[str, Any]:
    history = session.progress.history
    last = history[-1]
    shape = session.model.shape
    train_s = sum(record["train_s"] for record in history)
    pictures = len(history) * len(session.train) * session.recipe.batch_size
    return {
        "status": "diverged" if _diverged(history) else "trained",
        "eval_split": session.eval_split,
        "top1_error": last["top1_error"],
        "top5_error": last["top5_error"],
        "eval_loss": last["eval_loss"],
        "train_loss": last["train_loss"],
        "epochs": len(history),
        "network": shape.name,
        "parameters": shape.parameters(),
        "macs": shape.macs(),
        "train_macs": 3 * shape.macs() * pictures,  # backward counts twice
        "weights_sha256": checkpoint.weights_digest(session.model),
        "precision": session.progress.precision,
        "train_s": train_s,
        "eval_s": sum(record["eval_s"] for record in history),
        "images_per_s": pictures / train_s,
        "hardware": describe_hardware(session.device),
        "versions": {"lowres": version("lowres"), "torch": torch.__version__},
    }
