"""The training loop: a run's directory in, its result out, going on from where it was stopped.

A checkpoint is written after each epoch, and between two steps when SIGINT or SIGTERM asks for an
end.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from lowres.progress import Display, Track, silent
from lowres.recipe import Recipe
from lowres.store.store import Store
from lowres.training import checkpoint
from lowres.training.checkpoint import Partial
from lowres.training.device import describe_hardware
from lowres.training.distributed import Team
from lowres.training.evaluate import evaluate
from lowres.training.logs import EventLog
from lowres.training.run import Execution, Run
from lowres.training.schedule import learning_rate
from lowres.training.session import Session, compile_session, open_session, using_threads
from lowres.training.weights import publish, weights_digest

TELL_EVERY_S = 2.0
"""How often the display gets a new loss; reading it makes a GPU wait."""

NEVER = 2**62
"""Stands for the number of a step that did not come."""


def train(
    store: Store,
    recipe: Recipe,
    path: Path | str,
    *,
    execution: Execution | None = None,
    track: Track = silent,
) -> dict[str, Any]:
    """Train a recipe on a store in a run's directory, or go on with it.

    Args:
        store: the images.
        recipe: every decision.
        path: the run's directory; new, empty, or of this same run.
        execution: device, threads, compiling, loading and logs.
        track: shows progress.

    Returns:
        The result, as in `result.json`: errors are shares from 0 to 1, times in seconds.

    Raises:
        RunError: the directory holds something else, or the run cannot be trained here.
        StoreError: the store lacks the variant or the split.
    """
    run = Run.plan(Path(path), recipe, store)
    return finish(run, execution=execution, track=track)


def finish(
    run: Run,
    *,
    store: Path | None = None,
    execution: Execution | None = None,
    team: Team | None = None,
    track: Track = silent,
) -> dict[str, Any]:
    """Train a run to its end and return its result; a finished run returns it at once.

    A failure is recorded in the run's directory before it is raised.

    Args:
        run: what to train.
        store: where its store is now, if it has moved.
        execution: device, threads, compiling, loading and logs.
        team: the processes that train it, each calling this; one if not given.
        track: shows progress.

    Raises:
        RunError: the run cannot be trained here.
        RunBusyError: another process is training it.
        StoreError: its store is missing or damaged.
    """
    execution, team = execution or Execution(), team or Team()
    if team.told(run.finished):
        return run.result()
    with run.locked() if team.first else nullcontext():
        try:
            if team.first:
                run.clear_error()
            session = open_session(run, run.open_store(store), execution, team)
            with using_threads(execution.threads, session.progress), session.stop.listening():
                result = _train(run, session, execution, track if team.first else silent)
        except Exception as error:  # a network of the user's may raise anything
            if team.first:
                run.fail(error)
            raise
        if team.first:
            if not _diverged(session.progress.history):
                publish(run, session)
            run.finish(result)
    team.wait()
    return result


def _train(run: Run, session: Session, execution: Execution, track: Track) -> dict[str, Any]:
    progress, per_epoch = session.progress, len(session.train)
    batch_size, first = session.recipe.batch_size, session.team.first
    compile_session(session, execution.compile)
    if first:
        run.write_metrics(progress.history)
    done = len(progress.history) * per_epoch + progress.partial.steps
    with (
        EventLog(run.path, execution.log, len(progress.history), writes=first) as log,
        track("train", session.images, done=done * batch_size) as display,
    ):
        if session.compile_s:
            display.say(f"compiled in {session.compile_s:.0f} s, not counted as training")
        while len(progress.history) < session.recipe.epochs and not _diverged(progress.history):
            _train_epoch(session, len(progress.history), display)
            if progress.partial.steps < per_epoch:
                _save(run, session)
                raise KeyboardInterrupt
            record = _finish_epoch(session, len(progress.history))
            progress.history.append(record)
            progress.partial = Partial()
            _save(run, session)
            log.write(record)
            display.say(_epoch_line(record, session.recipe.epochs))
    return _result(session)


def _save(run: Run, session: Session) -> None:
    """Write the checkpoint, and then the metrics that it holds."""
    if session.team.first:
        checkpoint.save(run.path, session.network.module, session.optimizer, session.progress)
        run.write_metrics(session.progress.history)


def _train_epoch(session: Session, epoch: int, display: Display) -> None:
    """Train on the batches of an epoch that are left, unless an end is asked for."""
    session.network.module.train()
    partial, per_epoch, team = session.progress.partial, len(session.train), session.team
    began, device = time.perf_counter(), session.device
    earlier, earlier_steps = partial.loss if team.first else 0.0, partial.steps
    total = torch.tensor(earlier, dtype=torch.float64, device=device)
    bad_step = torch.tensor(_or_never(partial.bad_step), device=device)
    told = began
    for images, labels in session.train.from_batch(epoch, partial.steps):
        step = epoch * per_epoch + partial.steps
        loss = take_step(
            session, images, labels, learning_rate(session.recipe, step, session.steps)
        )
        total += loss.double() / team.size
        bad_step = torch.where(loss.isfinite() | (bad_step < step), bad_step, step)
        partial.steps += 1
        display.advance(session.recipe.batch_size)
        if time.perf_counter() - told > TELL_EVERY_S:
            told = time.perf_counter()
            here = team.size * (float(total) - earlier) / (partial.steps - earlier_steps)
            display.note(_live(session, epoch, here))
        if team.any(session.stop.asked, step):
            break
    partial.loss = float(team.added(total))  # waits for the device
    first_bad = int(team.least(bad_step))
    partial.bad_step = -1 if first_bad == NEVER else first_bad
    partial.train_s += time.perf_counter() - began


def _finish_epoch(session: Session, epoch: int) -> dict[str, Any]:
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
    errors = evaluate(
        session.network.module,
        session.evaluation.from_batch(0, 0),
        session.device,
        session.precision,
        session.team,
    )
    return record | {
        "top1_error": errors.top1,
        "top5_error": errors.top5,
        "eval_loss": errors.loss if math.isfinite(errors.loss) else None,
        "eval_s": time.perf_counter() - began,
    }


def _or_never(step: int) -> int:
    return NEVER if step < 0 else step


def take_step(
    session: Session, images: torch.Tensor, labels: torch.Tensor, lr: float
) -> torch.Tensor:
    """Take one step on (B, 3, H, W) and (B,) int64 of the device; return the mean loss."""
    reduced = session.precision == torch.bfloat16
    with torch.autocast(session.device.type, torch.bfloat16, enabled=reduced):
        logits = session.forward(images)
    smoothing = session.recipe.label_smoothing
    loss = functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
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


def _live(session: Session, epoch: int, loss: float) -> str:
    """Tell in words where training is."""
    history = session.progress.history
    line = f"epoch {epoch + 1}/{session.recipe.epochs}, loss {loss:.3f}"
    if history and history[-1]["top1_error"] is not None:
        line += f", top-1 error {100 * history[-1]['top1_error']:.2f} %"
    return line


def _result(session: Session) -> dict[str, Any]:
    history, network = session.progress.history, session.network
    last = history[-1]
    train_s = sum(record["train_s"] for record in history)
    images = len(history) * len(session.train) * session.recipe.batch_size
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
        "network": network.name,
        "parameters": network.parameters,
        "macs": network.macs,
        "train_macs": 3 * network.macs * images,  # backward counts twice
        "weights_sha256": weights_digest(network.module),
        "precision": session.progress.precision,
        "compiled": session.progress.compiled,
        "compile_s": session.compile_s,
        "processes": session.team.size,
        "train_s": train_s,
        "eval_s": sum(record["eval_s"] for record in history),
        "images_per_s": images / train_s,
        "hardware": describe_hardware(session.device),
        "versions": {"lowres": version("lowres"), "torch": torch.__version__},
    }
