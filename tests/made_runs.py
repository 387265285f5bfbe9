"""Run directories as training leaves them, written without training: for tests of reports."""

import json
import math
import os
import zlib
from pathlib import Path

import numpy as np

import lowres
from lowres.recipe import Recipe
from lowres.training.run import Run
from lowres.work.executor import Result

HARDWARE = {"device": "a made-up device", "threads": 2}
VERSIONS = {"lowres": "0.1.0", "torch": "2.13.0"}
STORE = {"path": "/nowhere/store", "digest": "ab" * 32}


def write_run(
    folder: Path, recipe: Recipe, error: float | None, *, store=None, wrong=None, **result
) -> Path:
    """Write a finished run; an error of None is one that diverged, `wrong` are its outcomes."""
    path = folder / f"{recipe.run_name('made')}"
    plan_run(path, recipe, store)
    epochs = recipe.epochs if error is not None else 1
    seconds = epochs * recipe.size**1.5 * recipe.width / 100
    curve = (
        [None]
        if error is None
        else [error + (1 - error) * 0.5 ** (epoch + 1) for epoch in range(epochs - 1)] + [error]
    )
    lines = [
        {
            "epoch": n,
            "lr": recipe.lr,
            "train_loss": None if value is None else 2 * value,
            "train_s": seconds / epochs,
            "top1_error": value,
            "top5_error": value and value / 3,
            "eval_loss": value and 2 * value,
            "eval_s": 0.1,
        }
        for n, value in enumerate(curve, 1)
    ]
    (path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    record = {
        "status": "diverged" if error is None else "trained",
        "eval_split": "val",
        "top1_error": error,
        "top5_error": error and error / 3,
        "eval_loss": 1.0,
        "train_loss": 1.0,
        "epochs": epochs,
        "bad_step": 7 if error is None else None,
        "bad_lr": recipe.lr if error is None else None,
        "network": "WRN-12-1",
        "parameters": 310164,
        "macs": 1000 * recipe.size**2,
        "train_macs": int(3e6 * recipe.size**2 * epochs * recipe.width),
        "weights_sha256": "0" * 64,
        "precision": "float32",
        "train_s": seconds,
        "eval_s": 1.0,
        "images_per_s": 1000.0,
        "hardware": HARDWARE,
        "versions": VERSIONS,
    }
    record |= result
    if wrong is not None:
        Run.open(path).write_outcomes(np.asarray(wrong, bool))
    (path / "result.json").write_text(json.dumps({k: v for k, v in record.items() if v != "gone"}))
    return path


def plan_run(path: Path, recipe: Recipe, store=None) -> Path:
    path.mkdir(parents=True)
    record = {"store": store or STORE, "recipe": recipe.to_record()}
    (path / "recipe.json").write_text(json.dumps(record))
    return path


def fail_run(path: Path, recipe: Recipe, message: str, store=None) -> Path:
    plan_run(path, recipe, store)
    record = {"type": "OSError", "message": message, "traceback": ""}
    (path / "error.json").write_text(json.dumps(record))
    return path


def write_study(
    folder: Path,
    *,
    sizes=(8, 16, 32),
    filters=("box",),
    widths=(1.0, 2.0),
    seeds=2,
    rates=(0.005, 0.0125, 0.032, 0.08, 0.2, 0.5),
    epochs=4,
    store=None,
) -> Path:
    """Write a grid of runs whose error is a parabola over log learning rate, with noise."""
    random = np.random.default_rng(3)
    for size in sizes:
        for name in filters:
            for width in widths:
                for rate in rates:
                    for seed in range(seeds):
                        recipe = Recipe(
                            variant=f"{size}-{name}",
                            width=width,
                            lr=rate,
                            epochs=epochs,
                            seed=seed,
                        )
                        away = math.log10(rate / (0.05 + 0.001 * size))
                        error = 0.85 - 0.1 * math.log2(size / 4) - 0.03 * width + 0.12 * away**2
                        error += 0.03 * (name == "nearest") + random.normal(0, 0.006)
                        lost = rate >= 0.5 and size == 32
                        write_run(folder, recipe, None if lost else float(error), store=store)
    return folder


class MadeUp:
    """Finishes a run by a formula: a parabola over log learning rate, noise by its seed."""

    def __init__(self, *, moved=0.0, noise=0.004):
        self.moved, self.noise, self.trained = moved, noise, []

    def finish(self, jobs):
        for job in jobs:
            run = Run.open(job.log.parent)
            recipe = run.recipe
            best = -1.5 + self.moved * (recipe.size == 8)
            what = f"{recipe.size} {recipe.lr:g} {recipe.seed}"
            random = np.random.default_rng(zlib.crc32(what.encode()))
            error = 0.3 + 0.1 * (math.log10(recipe.lr) - best) ** 2
            error += 0.4 / recipe.size + random.normal(0, self.noise)
            epoch = {"epoch": 1, "train_s": 1.0, "eval_s": 0.1, "top1_error": error}
            (run.path / "metrics.jsonl").write_text(json.dumps(epoch) + "\n")
            run.finish({"status": "trained", "top1_error": error, "train_s": 1.0,
                        "train_macs": recipe.size**2})  # fmt: skip
            self.trained.append((recipe.size, recipe.lr, recipe.seed))
            yield Result(job, 0)


def broken_network(folder, monkeypatch):
    """Write a network that cannot be made, trust it, and return its name.

    This process and those that it starts import it.
    """
    (folder / "broken.py").write_text(
        "def network(classes, size):\n    raise ValueError('broken')\n"
    )
    monkeypatch.syspath_prepend(folder)
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    lowres.trust("broken:network")
    return "broken:network"
