"""The training loop: a run's directory in, its result out; an interrupted run resumes.

A checkpoint is written after each epoch, and between two steps if SIGINT or SIGTERM requests a
stop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from lowres.errors import require
from lowres.networks.shape import TRAINING_PASSES
from lowres.progress import Display, Track, silent
from lowres.recipe import Recipe
from lowres.store.store import Store
from lowres.text import percent
from lowres.training import checkpoint
from lowres.training.checkpoint import Partial
from lowres.training.device import describe_hardware
from lowres.training.distributed import Team
from lowres.training.run import WEIGHTS_FILE, Execution, Log, Run
from lowres.training.session import Session, open_session
from lowres.training.weights import weights_digest

NOTE_EVERY_S = 2.0
"""How often the display gets a new loss; reading it makes a GPU wait."""

NEVER = 2**62
"""The number of a step that did not happen."""

TOP_K = 5
EVENTS_FOLDER = "tensorboard"


def train(
    store: Store,
    recipe: Recipe,
    path: Path | str,
    *,
    execution: Execution | None = None,
    track: Track = silent,
) -> dict[str, Any]:
    """Train a recipe on a store in a run's directory, or resume the run that is there.

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
        RecipeError: the store has too few images or lacks the split for errors.
        StoreError: the store lacks the variant.
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
        run: the run.
        store: where its store is now, if it has moved.
        execution: device, threads, compiling, loading and logs.
        team: the processes that train it, each calling this; default: this process alone.
        track: shows progress.

    Raises:
        RunError: the run cannot be trained here.
        RunBusyError: another process is training it.
        RecipeError: the store has too few images or lacks the split for errors.
        StoreError: its store is missing or damaged.
    """
    execution, team = execution or Execution(), team or Team()
    if team.broadcast(run.finished):
        return run.result()
    with run.locked() if team.first else nullcontext():
        try:
            if team.first:
                run.clear_error()
            with open_session(run, run.open_store(store), execution, team) as session:
                _train(run, session, execution.log, track if team.first else silent)
                result = _result(session)
        except Exception as error:  # a network of the user's may raise anything
            if team.first:
                run.fail(error)
            raise
        if team.first:
            if result["status"] == "trained":
                session.trained.save(run.path / WEIGHTS_FILE, run.store_digest)
            run.finish(result)
    team.wait()
    return result


def _train(run: Run, session: Session, log: Log, track: Track) -> None:
    progress, per_epoch = session.progress, len(session.train_loader)
    batch_size, epochs = session.recipe.batch_size, session.recipe.epochs
    first, history = session.team.first, progress.history
    if first:
        run.write_metrics(history)
    done = len(history) * per_epoch + progress.partial.steps
    with (
        event_files(run.path, log, len(history), writes=first) as write_events,
        track("train", session.steps * batch_size, done=done * batch_size) as display,
    ):
        if session.forward.compiled:
            seconds = session.forward.compile_s
            display.say(f"compiled in {seconds:.0f} s, not counted as training")
        if progress.note:
            display.say(progress.note)
        if session.forward.note:
            display.say(session.forward.note)
        while len(history) < epochs and not _diverged(history):
            _train_epoch(session, len(history), display)
            if progress.partial.steps < per_epoch:
                _save(run, session)
                raise KeyboardInterrupt
            record = _measure_epoch(session, len(history))
            progress.finish_epoch(record)
            _save(run, session)
            write_events(record)
            display.say(_epoch_line(record, epochs))


def _save(run: Run, session: Session) -> None:
    """Write the checkpoint, and then its metrics, so that these are never ahead of it."""
    if session.team.first:
        model, progress = session.network.module, session.progress
        checkpoint.save(run.path, model, session.optimizer, progress, session.numerics)
        run.write_metrics(progress.history)


def _train_epoch(session: Session, epoch: int, display: Display) -> None:
    """Train on the remaining batches of an epoch, or until a stop is requested."""
    session.network.module.train()
    session.optimizer.train()
    recipe, team, progress = session.recipe, session.team, session.progress
    began, partial, history = time.perf_counter(), progress.partial, progress.history
    # Each process adds up its own losses; the first one starts from the sum of the checkpoint.
    earlier = partial.loss if team.first else 0.0
    total = torch.tensor(earlier, dtype=torch.float64, device=session.device)
    bad_step = torch.tensor(
        NEVER if partial.bad_step < 0 else partial.bad_step, device=session.device
    )
    taken, noted = partial.steps, began
    for images, labels in session.train_loader.batches(epoch, taken):
        step = epoch * len(session.train_loader) + taken
        loss = session.step(images, labels, recipe.learning_rate(step, session.steps))
        total += loss.double() / team.size
        bad_step = torch.where(loss.isfinite() | (bad_step < step), bad_step, step)
        taken += 1
        display.advance(recipe.batch_size)
        if time.perf_counter() - noted > NOTE_EVERY_S:
            noted = time.perf_counter()
            mean = team.size * (float(total) - earlier) / (taken - partial.steps)
            note = f"epoch {epoch + 1}/{recipe.epochs}, loss {mean:.3f}"
            if history and history[-1]["top1_error"] is not None:
                note += f", top-1 error {percent(history[-1]['top1_error'])}"
            display.note(note)
        if team.any(session.stop.requested, step):
            break
    total_loss = float(team.sum(total))  # waits for the device
    first_bad = int(team.min(bad_step))
    progress.pause(
        Partial(
            steps=taken,
            loss=total_loss,
            bad_step=-1 if first_bad == NEVER else first_bad,
            train_s=partial.train_s + time.perf_counter() - began,
        )
    )


def _measure_epoch(session: Session, epoch: int) -> dict[str, Any]:
    """Measure errors after an epoch and return its record."""
    began, partial = time.perf_counter(), session.progress.partial
    loss, last_step = partial.loss / partial.steps, (epoch + 1) * len(session.train_loader) - 1
    record: dict[str, Any] = {
        "epoch": epoch + 1,
        "lr": session.recipe.learning_rate(last_step, session.steps),
        "train_loss": loss if math.isfinite(loss) else None,
        "train_s": partial.train_s,
    }
    if not math.isfinite(loss):
        bad_lr = session.recipe.learning_rate(partial.bad_step, session.steps)
        record |= {"bad_step": partial.bad_step, "bad_lr": bad_lr}
        return record | {"top1_error": None, "top5_error": None, "eval_loss": None, "eval_s": 0.0}
    session.optimizer.eval()
    errors = evaluate(
        session.network.module,
        session.eval_loader.batches(0),
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


def _diverged(history: list[dict[str, Any]]) -> bool:
    return bool(history) and history[-1]["train_loss"] is None


def _epoch_line(record: dict[str, Any], epochs: int) -> str:
    if record["train_loss"] is None:
        return (
            f"epoch {record['epoch']}/{epochs}: training stops, because the loss is not finite "
            f"from step {record['bad_step']} on, at learning rate {record['bad_lr']:g}"
        )
    return (
        f"epoch {record['epoch']}/{epochs}: loss {record['train_loss']:.3f}, top-1 error "
        f"{percent(record['top1_error'])}, top-5 error {percent(record['top5_error'])}, "
        f"{record['train_s']:.1f} s"
    )


def _result(session: Session) -> dict[str, Any]:
    history, network = session.progress.history, session.network
    last = history[-1]
    train_s = sum(record["train_s"] for record in history)
    images = len(history) * len(session.train_loader) * session.recipe.batch_size
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
        "train_macs": TRAINING_PASSES * network.macs * images,
        "weights_sha256": weights_digest(network.module),
        "precision": session.numerics.precision,
        "compiled": session.numerics.compiled,
        "compile_s": session.forward.compile_s,
        "processes": session.team.size,
        "train_s": train_s,
        "eval_s": sum(record["eval_s"] for record in history),
        "images_per_s": images / train_s,
        "hardware": describe_hardware(session.device),
        "versions": {"lowres": version("lowres"), "torch": torch.__version__},
    }


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of a network on a split.

    Attributes:
        top1: share of images whose class is not the highest logit, 0 to 1.
        top5: share of images whose class is not among the five highest logits; 0 for at most five
            classes.
        loss: mean cross-entropy in nats.
    """

    top1: float
    top5: float
    loss: float


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    device: torch.device,
    precision: torch.dtype,
    team: Team | None = None,
) -> Errors:
    """Measure a network on every image of a split, one view each.

    Args:
        model: returns (B, K) logits.
        batches: images, (B, 3, H, W), and labels, (B,) int64.
        device: where the network is.
        precision: number format in the network.
        team: the processes that measure parts of one split.
    """
    model.eval()
    counts = torch.zeros(3, dtype=torch.int64, device=device)  # right, among five, all
    loss = torch.zeros((), dtype=torch.float64, device=device)
    for images, labels in batches:
        if not len(labels):  # more processes than images in the last batch
            continue
        images, labels = images.to(device), labels.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            logits = model(images)
        logits = logits.float()  # (B, K)
        hits = logits.topk(min(TOP_K, logits.shape[1])).indices == labels[:, None]
        counts += torch.stack([hits[:, 0].sum(), hits.sum(), torch.ones_like(labels).sum()])
        loss += functional.cross_entropy(logits, labels, reduction="sum").double()
    if team is not None:
        counts, loss = team.sum(counts), team.sum(loss)
    right1, right5, count = counts.tolist()
    return Errors(1 - right1 / count, 1 - right5 / count, float(loss) / count)


@contextmanager
def event_files(
    path: Path, log: Log, epochs: int, *, writes: bool
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield the function that writes the record of an epoch into TensorBoard's event files.

    Args:
        path: directory of the run.
        log: the function writes nothing unless this is `tensorboard`.
        epochs: number of finished epochs; later ones in files of an earlier attempt are hidden.
        writes: whether this process writes.

    Raises:
        MissingExtraError: tensorboard is wanted and not installed.
    """
    if log != "tensorboard" or not writes:
        yield lambda _: None
        return
    require("tensorboard", "tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(path / EVENTS_FOLDER), purge_step=epochs + 1) as writer:

        def write(record: dict[str, Any]) -> None:
            for name, value in record.items():
                if name != "epoch" and value is not None:
                    group = "eval" if name in ("top1_error", "top5_error", "eval_loss") else "train"
                    writer.add_scalar(f"{group}/{name}", value, record["epoch"])
            writer.flush()

        yield write
