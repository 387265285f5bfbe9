"""The training loop: a run's directory in, its result out, going on from where it was stopped.

A checkpoint is written after each epoch, and between two steps when SIGINT or SIGTERM asks for an
end.
"""

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
from lowres.training.checkpoint import Partial, Progress
from lowres.training.device import choose_device, choose_precision, describe_hardware
from lowres.training.evaluate import evaluate
from lowres.training.momentum import Momentum
from lowres.training.schedule import learning_rate
from lowres.training.stopping import Stop
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
    stop: Stop

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
            with _threads(threads, session.progress), session.stop.listening():
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
        recipe,
        model,
        optimizer,
        loader,
        evaluation,
        eval_split,
        device,
        precision,
        progress,
        Stop(),
    )


def _train(run: Run, session: _Session, track: Track) -> dict[str, Any]:
    progress, per_epoch = session.progress, len(session.train)
    run.write_metrics(progress.history)
    done = len(progress.history) * per_epoch + progress.partial.steps
    with track("train", session.steps, done=done) as display:
        while len(progress.history) < session.recipe.epochs and not _diverged(progress.history):
            _train_epoch(session, len(progress.history), display)
            if progress.partial.steps < per_epoch:
                checkpoint.save(run.path, session.model, session.optimizer, progress)
                raise KeyboardInterrupt
            record = _finish_epoch(session, len(progress.history))
            progress.history.append(record)
            progress.partial = Partial()
            checkpoint.save(run.path, session.model, session.optimizer, progress)
            run.write_metrics(progress.history)
            display.say(_epoch_line(record, session.recipe.epochs))
    return _result(session)


def _train_epoch(session: _Session, epoch: int, display: Display) -> None:
    """Train on the batches of an epoch that are left, unless an end is asked for."""
    session.model.train()
    partial, per_epoch = session.progress.partial, len(session.train)
    began, device = time.perf_counter(), session.device
    total = torch.tensor(partial.loss, dtype=torch.float64, device=device)
    bad_step = torch.tensor(partial.bad_step, device=device)
    batches = TorchLoader(session.train).from_batch(epoch, partial.steps)
    for step, batch in enumerate(batches, epoch * per_epoch + partial.steps):
        loss = _step(session, *batch, learning_rate(session.recipe, step, session.steps))
        total += loss.double()
        bad_step = torch.where((bad_step < 0) & ~loss.isfinite(), step, bad_step)
        partial.steps += 1
        display.advance()
        if session.stop.asked:
            break
    partial.loss, partial.bad_step = float(total), int(bad_step)  # waits for the device
    partial.train_s += time.perf_counter() - began


def _finish_epoch(session: _Session, epoch: int) -> dict[str, Any]:
    """Measure errors after an epoch and give its record."""
    began, partial = time.perf_counter(), session.progress.partial
    loss, last_step = partial.loss / partial.steps, (epoch + 1) * len(session.train) - 1
    record: dict[str, Any] = {
        "epoch": epoch + 1,
        "lr": learning_rate(session.recipe, last_step, session.steps),
        "train_loss": loss if math.isfinite(loss) else None,
        "train_s": partial.train_s,
    }
    if not math.isfinite(loss):
        bad_lr = learning_rate(session.recipe, partial.bad_step, session.steps)
        record |= {"bad_step": partial.bad_step, "bad_lr": bad_lr}
        return record | {"top1_error": None, "top5_error": None, "eval_loss": None, "eval_s": 0.0}
    loader = TorchLoader(session.evaluation)
    errors = evaluate(session.model, loader, session.device, session.precision)
    return record | {
        "top1_error": errors.top1,
        "top5_error": errors.top5,
        "eval_loss": errors.loss if math.isfinite(errors.loss) else None,
        "eval_s": time.perf_counter() - began,
    }


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
        return (
            f"epoch {record['epoch']}/{epochs}: the loss is no longer finite from step "
            f"{record['bad_step']} on, at learning rate {record['bad_lr']:g}; stopping"
        )
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
        "bad_step": last.get("bad_step"),
        "bad_lr": last.get("bad_lr"),
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
