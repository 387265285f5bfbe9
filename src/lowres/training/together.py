"""Many runs in one process: side by side in packs, or one after another.

Several processes may be given the same runs: each trains what no other has taken, so that all stay
busy until the last run, and each loads torch once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lowres.networks.shape import TRAINING_PASSES
from lowres.networks.size import NetworkSize
from lowres.progress import Track, silent
from lowres.recipe import Recipe
from lowres.training.device import choose_device, choose_precision
from lowres.training.distributed import Team
from lowres.training.execution import Execution
from lowres.training.loop import End, finish_pack
from lowres.training.run import Run
from lowres.work.threads import available_cores

MOST_TOGETHER = 16
"""Runs of a pack on a GPU; a graph with more branches is no faster (docs/log.md, one H100)."""

BUSY_MACS = 6e11
"""Multiply-adds of a pack's steps that keep a GPU busy: four of WRN-28-2 at 32 px, batch 128
(docs/log.md, one H100)."""

MOST_STACKED, MOST_STACKED_IMAGES = 8, 512
"""Runs of a pack on the CPU, and images of a step of all: more do not fit a core's cache
(docs/log.md)."""

STACKING_PAYS_TO_MACS = {torch.bfloat16: 3.5e8, torch.float32: 1e8}
"""Multiply-adds of a step of one run up to which a CPU trains stacked networks faster, measured on
one thread of an AMD EPYC (docs/training.md has the table). Larger networks fill it alone."""

ANY_CLASSES = 1000
"""Classes of the networks that are compared; the dense layer costs little."""

DIFFERS = ("seed", "lr", "adam_lr", "momentum", "weight_decay", "label_smoothing", "warmup",
           "cooldown", "lr_drop", "lr_drop_at")  # fmt: skip
"""Fields in which the runs of a pack may differ: shapes and number of steps stay equal."""


def finish_all(
    runs: Sequence[Run],
    *,
    store: Path | None = None,
    execution: Execution | None = None,
    team: Team | None = None,
    track: Track = silent,
) -> list[End]:
    """Train runs to their ends in this process, and return the end of each as `finish_pack` does.

    A pack that needs more memory than the GPU has is trained again run by run.

    Args:
        runs: the runs.
        store: where their store is now, if it has moved.
        execution: device, threads, compiling, loading, logs, and how many runs a pack holds.
        team: the processes that train one run, each calling this; default: this process alone.
        track: shows progress.

    Raises:
        RunError: the device does not exist.
    """
    execution = execution or Execution()
    ends: dict[Path, End] = {}
    for pack in packs(runs, execution):
        found = finish_pack(pack, store=store, execution=execution, team=team, track=track)
        if len(pack) > 1 and any(isinstance(end, torch.OutOfMemoryError) for end in found):
            torch.cuda.empty_cache()
            alone = replace(execution, together=1)
            found = finish_all(pack, store=store, execution=alone, team=team, track=track)
        ends |= {run.path: end for run, end in zip(pack, found, strict=True)}
    return [ends[run.path] for run in runs]


def packs(runs: Sequence[Run], execution: Execution) -> Iterator[list[Run]]:
    """Yield groups of runs to train side by side: one store, equal shapes, equal numbers of steps.

    Args:
        runs: the runs; packs keep their order.
        execution: the device, and `together`.
    """
    if len(runs) == 1:  # which records it in its directory if the device does not exist
        yield list(runs)
        return
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.store_digest, *shape_of(run.recipe)), []).append(run)
    for group in groups.values():
        size = room(group[0].recipe, len(group), execution)
        for first in range(0, len(group), size):
            yield group[first : first + size]


def shape_of(recipe: Recipe) -> tuple[str, ...]:
    """Return what the runs of a pack must have in common."""
    record = recipe.to_record()
    return tuple(repr(value) for name, value in record.items() if name not in DIFFERS)


def room(recipe: Recipe, runs: int, execution: Execution) -> int:
    """Return how many runs a pack holds.

    Args:
        recipe: of one of them.
        runs: the number of runs that could be a pack.
        execution: device, threads and `together`.

    Raises:
        RunError: the device does not exist.
    """
    if execution.together != "auto":
        return execution.together
    if choose_device(execution.device).type == "cpu":
        return cpu_room(recipe, runs, execution.threads or torch.get_num_threads())
    return gpu_room(recipe)


def cpu_room(recipe: Recipe, runs: int, threads: int) -> int:
    """Return how many runs of a recipe a CPU trains side by side: 1 if stacking does not pay.

    It counts multiply-adds of a step and measures nothing, so equal studies are packed equally.

    Args:
        recipe: the recipe.
        runs: the number of runs that could be a pack.
        threads: CPU threads of this process; other processes are expected on the other cores, and
            to take packs, too.
    """
    if recipe.model != "wrn":
        return 1
    macs = TRAINING_PASSES * NetworkSize.of(recipe, ANY_CLASSES).macs * recipe.batch_size
    if macs > STACKING_PAYS_TO_MACS[choose_precision(recipe.precision, torch.device("cpu"))]:
        return 1
    processes = max(1, available_cores() // threads)
    most = min(MOST_STACKED, MOST_STACKED_IMAGES // recipe.batch_size)
    return max(1, min(most, math.ceil(runs / processes)))


def gpu_room(recipe: Recipe) -> int:
    """Return how many runs of a recipe a GPU trains side by side before it is busy.

    It counts multiply-adds of a step and measures nothing, so equal studies are packed equally.

    Raises:
        RunError: the network cannot be made.
        MissingExtraError: the network is one of timm, which is not installed.
    """
    size = NetworkSize.of(recipe, ANY_CLASSES)
    step = TRAINING_PASSES * size.macs * recipe.batch_size
    return max(1, min(MOST_TOGETHER, int(BUSY_MACS / step)))
