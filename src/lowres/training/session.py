"""What a run works with: network, optimizer and images, made from its recipe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lowres.errors import RunError
from lowres.loading.device import DeviceLoader, fits
from lowres.loading.loaders import NumpyLoader, TorchLoader
from lowres.networks.make import Network, make_network
from lowres.networks.norms import share_batches
from lowres.recipe import Recipe
from lowres.store.store import Store
from lowres.training import checkpoint, compiling
from lowres.training.carrying import carry
from lowres.training.checkpoint import Progress
from lowres.training.device import choose_device, choose_precision
from lowres.training.distributed import Team
from lowres.training.optimizers.make import Optimizer, make_optimizer
from lowres.training.run import Compile, Execution, Loading, Run, eval_split
from lowres.training.stopping import Stop

EVAL_BATCH_SIZE = 500
"""As in the authors' script; has no effect on the result."""

Batch = tuple[torch.Tensor, torch.Tensor]


class Batches(Protocol):
    """A split as batches on a device: images, (B, 3, H, W), and labels, (B,) int64."""

    def __len__(self) -> int:
        """Count the batches of an epoch."""

    def from_batch(self, epoch: int, first: int) -> Iterator[Batch]:
        """Give the batches of an epoch, from the first that is wanted on."""


@dataclass(slots=True)
class Session:
    """What one call of `finish` works with.

    Attributes:
        forward: the network, as it is called in training: compiled, or in several processes.
        mean: (3,) or (H, W, 3) float32 in levels, subtracted from images.
        std: (3,) float32 in levels, divided by.
        compile_s: seconds of warm-up before training.
    """

    recipe: Recipe
    network: Network
    forward: nn.Module
    optimizer: Optimizer
    train: Batches
    evaluation: Batches
    eval_split: str
    classes: tuple[str, ...]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    device: torch.device
    precision: torch.dtype
    progress: Progress
    team: Team
    compile_s: float = 0.0
    stop: Stop = field(default_factory=Stop)

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return len(self.train) * self.recipe.epochs

    @property
    def images(self) -> int:
        """Images that the whole run shows."""
        return self.steps * self.recipe.batch_size


def open_session(run: Run, store: Store, execution: Execution, team: Team) -> Session:
    """Make what a run works with, and take up its checkpoint.

    Raises:
        RunError: the run cannot be trained here.
        StoreError: the store lacks the variant or the split.
    """
    recipe, device = run.recipe, choose_device(execution.device)
    measured_on = _eval_split(recipe, store)
    train = _train_batches(recipe, store, team)
    network = make_network(recipe, len(store.classes))
    model = network.module
    carry(run, model)
    if team.size > 1:
        share_batches(model, team)
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(recipe, model, len(train) * recipe.epochs)
    progress = checkpoint.load(run.path, model, optimizer)
    if not progress.precision:
        settled = choose_precision(recipe.precision, device)
        progress.precision = str(settled).removeprefix("torch.")
    precision = getattr(torch, progress.precision)
    evaluation = _eval_batches(recipe, store, measured_on, team)
    return Session(
        recipe=recipe,
        network=network,
        forward=team.wrapped(model, device),
        optimizer=optimizer,
        train=_on_device(train, device, precision, execution.loading),
        evaluation=_on_device(evaluation, device, precision, execution.loading),
        eval_split=measured_on,
        classes=tuple(store.classes),
        mean=train.mean.astype(np.float32),
        std=train.std.astype(np.float32),
        device=device,
        precision=precision,
        progress=progress,
        team=team,
    )


def compile_session(session: Session, wanted: Compile) -> None:
    """Compile the network, if that is wanted and pays back; a run goes on as it began.

    Raises:
        RunError: it is wanted, and the network cannot be compiled.
    """
    progress = session.progress
    if progress.compiled is None:
        progress.compiled = compiling.settle(
            wanted,
            train_macs=3 * session.network.macs * session.images,
            device=session.device,
            threads=torch.get_num_threads(),
            processes=session.team.size,
        )
    if not progress.compiled:
        return
    forward = compiling.compiled(session.forward, session.device)
    images, _ = next(session.train.from_batch(0, 0))
    try:
        session.compile_s = compiling.warm_up(
            forward, session.network.module, images, session.precision
        )
    except Exception as error:  # the compiler raises whatever its parts raise
        if wanted == "on" or session.recipe.model == "wrn":
            raise RunError(
                f"torch.compile cannot compile {session.network.name}: use --compile off ({error})"
            ) from error
        progress.compiled = False
        return
    session.forward = forward
    if isinstance(session.train, DeviceLoader):
        began = time.perf_counter()
        session.train.compile()
        next(session.train.from_batch(0, 0))
        session.compile_s += time.perf_counter() - began


def _eval_split(recipe: Recipe, store: Store) -> str:
    found = eval_split(store, recipe)
    if found not in store.splits:
        raise RunError(
            f"{store.path} has no split {found} to measure errors on (it has "
            f"{', '.join(store.splits)}): build it with --val-fraction, or choose --eval-split"
        )
    return found


def _eval_batches(recipe: Recipe, store: Store, split: str, team: Team) -> NumpyLoader:
    return NumpyLoader(
        store,
        recipe.variant,
        split,
        batch_size=EVAL_BATCH_SIZE,
        subtract=recipe.subtract,
        divide_by=recipe.divide_by,
        part=(team.rank, team.size),
    )


def _train_batches(recipe: Recipe, store: Store, team: Team) -> NumpyLoader:
    if recipe.batch_size % team.size:
        raise RunError(
            f"--batch-size must be a multiple of the {team.size} processes that share each batch, "
            f"was {recipe.batch_size}"
        )
    batches = NumpyLoader(
        store,
        recipe.variant,
        batch_size=recipe.batch_size,
        shuffle=True,
        flip=recipe.flip,
        shift_px=recipe.shift_px,
        subtract=recipe.subtract,
        divide_by=recipe.divide_by,
        seed=recipe.seed,
        part=(team.rank, team.size),
    )
    if not len(batches):
        raise RunError(
            f"train has {store.splits['train']} images, fewer than a batch of "
            f"{recipe.batch_size}: choose a smaller --batch-size"
        )
    return batches


def _on_device(
    batches: NumpyLoader, device: torch.device, precision: torch.dtype, loading: Loading
) -> Batches:
    """Choose how images come to the device."""
    if device.type == "cpu" and loading == "auto":
        return TorchLoader(batches)
    resident = loading == "resident" or (loading == "auto" and fits(batches.images, device))
    return DeviceLoader(batches, device, precision, resident=resident)


@contextmanager
def using_threads(wanted: int | None, progress: Progress) -> Iterator[None]:
    """Use as many threads as the run began with, so that it ends with the same bits."""
    before = torch.get_num_threads()
    progress.threads = wanted or progress.threads or before
    torch.set_num_threads(progress.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
