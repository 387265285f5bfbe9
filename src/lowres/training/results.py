"""What a run records: a line of `metrics.jsonl` for each epoch, and `result.json` at the end."""

from __future__ import annotations

import math
from importlib.metadata import version
from typing import Any

import torch

from lowres.networks.shape import TRAINING_PASSES
from lowres.text import percent
from lowres.training.device import describe_hardware
from lowres.training.evaluate import Errors, evaluate
from lowres.training.outcomes import class_errors, in_rows, worst
from lowres.training.session import Session
from lowres.training.weights import weights_digest


def epoch_record(session: Session, errors: Errors | None, eval_s: float) -> dict[str, Any]:
    """Return the record of an epoch; after the last, write outcomes and measure test.

    Args:
        session: of the run.
        errors: on the split for errors; None if the loss is not finite.
        eval_s: seconds in which they were measured.
    """
    epoch, partial = len(session.progress.history), session.progress.partial
    record: dict[str, Any] = {
        "epoch": epoch + 1,
        "lr": session.rates((epoch + 1) * len(session.train_loader) - 1),
        "train_loss": partial.loss / partial.steps if errors else None,
        "train_s": partial.train_s,
    }
    if errors is None:
        bad_lr = session.rates(partial.bad_step)
        record |= {"bad_step": partial.bad_step, "bad_lr": bad_lr}
        return record | {"top1_error": None, "top5_error": None, "eval_loss": None, "eval_s": 0.0}
    if epoch + 1 == session.recipe.epochs:
        labels, predicted = (
            in_rows(own, session.eval_loader, session.team)
            for own in (errors.labels, errors.predicted)
        )
        if session.team.first:  # before the checkpoint that ends training
            session.run.write_outcomes(labels != predicted)
            session.run.write_classes(class_errors(labels, predicted, session.trained.classes))
        if session.test_loader:  # once, so that nothing can be chosen by it on the way
            [final] = evaluate([session.evaluation(session.test_loader)])
            record |= {"test_top1_error": final.top1, "test_top5_error": final.top5}
    return record | {
        "top1_error": errors.top1,
        "top5_error": errors.top5,
        "eval_loss": errors.loss if math.isfinite(errors.loss) else None,
        "eval_s": eval_s,
    }


def epoch_line(record: dict[str, Any], epochs: int) -> str:
    """Return the record of an epoch in words."""
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


def run_result(session: Session) -> dict[str, Any]:
    """Return what `result.json` holds of a run that is over."""
    history, network = session.progress.history, session.network
    last = history[-1]
    train_s = sum(record["train_s"] for record in history)
    images = len(history) * len(session.train_loader) * session.recipe.batch_size
    classes = None if session.diverged else session.run.classes()
    return {
        "status": "diverged" if session.diverged else "trained",
        "eval_split": session.eval_split,
        "top1_error": last["top1_error"],
        "top5_error": last["top5_error"],
        **{name: last[name] for name in ("test_top1_error", "test_top5_error") if name in last},
        **(worst(classes) if classes else {}),
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
        "together": max(record.get("together", 1) for record in history),
        "train_s": train_s,
        "eval_s": sum(record["eval_s"] for record in history),
        "images_per_s": images / train_s,
        "hardware": describe_hardware(session.device),
        "versions": {"lowres": version("lowres"), "torch": torch.__version__},
    }
