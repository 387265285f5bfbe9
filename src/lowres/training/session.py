"""What a run works with: network, optimizer and batches, ready for the first step."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from types import FrameType
from typing import TypeAlias

import numpy as np
import torch
from torch.nn import functional

from lowres.errors import RunError
from lowres.loading.device_loader import DeviceLoader
from lowres.loading.loaders import NumpyLoader, TorchLoader
from lowres.loading.transfer import FREE_SHARE, placed
from lowres.networks.make import TIMM, Network, make_network
from lowres.networks.norms import share_batches
from lowres.networks.shape import TRAINING_PASSES
from lowres.recipe import Recipe
from lowres.store.store import Store
from lowres.training import checkpoint
from lowres.training.checkpoint import Numerics, Progress
from lowres.training.compiling import BatchLoader, Forward, compile_forward, compile_pays
from lowres.training.device import choose_device, choose_precision, use_gpu
from lowres.training.distributed import Team
from lowres.training.evaluate import Evaluation
from lowres.training.execution import Callback, Execution, Loading
from lowres.training.optimizers import Optimizer, Rate, make_optimizer
from lowres.training.run import Run
from lowres.training.schedule import Rates, learning_rates
from lowres.training.trackers import callback_of
from lowres.training.weights import TrainedNetwork, warm_start

EVAL_BATCH_SIZE = 500
"""As in the authors' script; it does not change the result."""

GRAPH_FROM_STEPS = 200
"""Steps of a run from which a CUDA graph saves more time than its recording takes (docs/log.md)."""

Resident: TypeAlias = dict[str, torch.Tensor]
"""Images that are on the device, by the file of their array: runs of one store share them."""


class Stop:
    """Whether a signal has requested to stop between two steps.

    Attributes:
        requested: whether SIGINT or SIGTERM has come since `listening` began.
    """

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note SIGINT and SIGTERM instead of ending at once; a second signal ends at once.

        Python delivers signals to the main thread; in other threads this does nothing. A signal
        that this process ignores stays ignored, as SIGINT is in the background of a script.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        before = {number: had for number, had in before.items() if had != signal.SIG_IGN}
        for number in before:
            signal.signal(number, self._note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


@dataclass(frozen=True, slots=True)
class Session:
    """What trains one run; while it trains, only `progress` and weights change.

    Attributes:
        run: its directory.
        network: the network itself.
        forward: the network as training calls it: compiled, or joined to other processes.
        eval_split: the split on which errors are measured; `eval_loader` has its batches.
        test_loader: batches of test, which is measured once at the end; None without it.
        trained: the network with what its users need, to be published at the end.
        rates: the learning rate of each step.
        callback: called with each epoch's record, and at the end with the result.
        graphed: whether a CUDA graph repeats its step.
    """

    run: Run
    recipe: Recipe
    network: Network
    forward: Forward
    optimizer: Optimizer
    train_loader: BatchLoader
    eval_loader: BatchLoader
    eval_split: str
    test_loader: BatchLoader | None
    trained: TrainedNetwork
    device: torch.device
    progress: Progress
    numerics: Numerics
    team: Team
    stop: Stop
    rates: Rates
    callback: Callback
    graphed: bool = False

    @property
    def precision(self) -> torch.dtype:
        """Number format in the network."""
        found: torch.dtype = getattr(torch, self.numerics.precision)
        return found

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return len(self.train_loader) * self.recipe.epochs

    @property
    def steps_taken(self) -> int:
        """Steps of the run so far."""
        progress = self.progress
        return len(progress.history) * len(self.train_loader) + progress.partial.steps

    @property
    def diverged(self) -> bool:
        """Whether the loss of the last epoch was not finite."""
        history = self.progress.history
        return bool(history) and history[-1]["train_loss"] is None

    @property
    def over(self) -> bool:
        """Whether no epoch is left to be trained."""
        return len(self.progress.history) == self.recipe.epochs or self.diverged

    def evaluation(self, loader: BatchLoader) -> Evaluation:
        """Return what measures the errors of the network on the images of a loader."""
        return Evaluation(self.network.module, loader, self.device, self.precision, self.team)

    def autocast(self) -> torch.autocast:
        """Return the context in which the network computes."""
        reduced = self.precision == torch.bfloat16
        # A CUDA graph must not hold weights that a cache has cast outside of it.
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=reduced, cache_enabled=False
        )

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of (B, classes) logits and (B,) int64 labels."""
        smoothing = self.recipe.label_smoothing
        return functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)

    def step(self, images: torch.Tensor, labels: torch.Tensor, lr: Rate) -> torch.Tensor:
        """Train one step on (B, 3, H, W) and (B,) int64 of the device; return the mean loss.

        If the optimizer computes several losses, the first one, of the weights before the step.
        """
        losses: list[torch.Tensor] = []

        def compute() -> torch.Tensor:
            with self.autocast():
                logits = self.forward.function(images)
            loss = self.loss(logits, labels)
            torch.autograd.backward(loss)
            losses.append(loss.detach())
            return losses[-1]

        if self.optimizer.needs_closure:
            self.optimizer.step(lr, compute)
        else:
            compute()
            self.optimizer.step(lr)
        return losses[0]


@contextmanager
def open_session(
    run: Run,
    store: Store,
    execution: Execution,
    team: Team | None = None,
    stop: Stop | None = None,
    resident: Resident | None = None,
) -> Iterator[Session]:
    """Open a run for training: load its checkpoint, set the threads, compile the network.

    Torch uses the run's number of threads until the session is closed.

    Args:
        run: its directory.
        store: its store.
        execution: device, threads, compiling and loading.
        team: the processes that train it; default: this process alone.
        stop: says when to stop between two steps.
        resident: images on the device that runs share.

    Raises:
        RunError: the run cannot be trained here.
        RecipeError: the store has too few images or lacks the split for errors.
        StoreError: the store lacks the variant.
    """
    recipe, device, team = run.recipe, choose_device(execution.device), team or Team()
    resident = Resident() if resident is None else resident
    if device.type == "cuda":
        use_gpu(device)
    callback = callback_of(execution)
    recipe.check_splits(store.splits)
    eval_split = recipe.measured_split(store.splits)
    train, evaluation, final = _loaders(recipe, store, eval_split, team)
    network = make_network(recipe, len(store.classes))
    model = network.module
    warm_start(run, model)
    if team.size > 1:
        share_batches(model, team)
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(recipe, model, len(train) * recipe.epochs)
    if optimizer.needs_closure and (team.size > 1 or execution.cuda_graph == "on"):
        raise RunError(
            f"optimizer {recipe.optimizer} computes the loss several times in a step: train it in "
            "one process, and without --cuda-graph on"
        )
    progress, earlier = checkpoint.load(run.path, model, optimizer)
    numerics = earlier or Numerics(
        str(choose_precision(recipe.precision, device)).removeprefix("torch."),
        threads=torch.get_num_threads(),
        compiled=execution.compile == "on",
    )
    numerics = replace(numerics, threads=execution.threads or numerics.threads)
    precision: torch.dtype = getattr(torch, numerics.precision)
    train_loader = _on_device(train, device, precision, execution.loading, resident)
    eval_loader = _on_device(evaluation, device, precision, execution.loading, resident)
    test_loader = None
    if final is not None:
        test_loader = _on_device(final, device, precision, execution.loading, resident)
    forward = Forward(team.wrapped(model, device))
    steps = len(train) * recipe.epochs
    graphed = _graphable(train_loader, optimizer, team) and (
        execution.cuda_graph == "on"
        or (execution.cuda_graph == "auto" and _is_fixed(recipe) and steps >= GRAPH_FROM_STEPS)
    )
    with _using_threads(numerics.threads):
        compiles = numerics.compiled  # a run resumes as it began
        if earlier is None and execution.compile == "auto":
            compiles = compile_pays(
                steps,
                TRAINING_PASSES * network.macs * recipe.batch_size,
                device,
                threads=numerics.threads,
                processes=team.size,
            )
        if compiles:
            forward = compile_forward(
                execution.compile,
                forward.function,
                model,
                train_loader,
                precision,
                device,
                graphed=graphed,
            )
        yield Session(
            run=run,
            recipe=recipe,
            network=network,
            forward=forward,
            optimizer=optimizer,
            train_loader=train_loader,
            eval_loader=eval_loader,
            eval_split=eval_split,
            test_loader=test_loader,
            trained=TrainedNetwork(
                model,
                recipe,
                tuple(store.classes),
                train.mean.astype(np.float32),
                train.std.astype(np.float32),
            ),
            device=device,
            progress=progress,
            numerics=replace(numerics, compiled=forward.compiled),
            team=team,
            stop=stop or Stop(),
            rates=learning_rates(recipe, steps),
            callback=callback,
            graphed=graphed,
        )


def _loaders(
    recipe: Recipe, store: Store, eval_split: str, team: Team
) -> tuple[NumpyLoader, NumpyLoader, NumpyLoader | None]:
    """Return the loaders of train, of the split for errors, and of test if it is another one."""
    if recipe.batch_size % team.size:
        raise RunError(
            f"--batch-size must be a multiple of the {team.size} processes that share each batch, "
            f"was {recipe.batch_size}"
        )
    load = partial(
        NumpyLoader,
        store,
        recipe.variant,
        subtract=recipe.subtract,
        divide_by=recipe.divide_by,
        part=(team.rank, team.size),
    )
    train = load(
        batch_size=recipe.batch_size,
        shuffle=True,
        files=recipe.shuffle == "ten-files",
        flip=recipe.flip,
        shift_px=recipe.shift_px,
        seed=recipe.seed,
    )
    final = recipe.final_split(store.splits)
    return (
        train,
        load(eval_split, batch_size=EVAL_BATCH_SIZE),
        load(final, batch_size=EVAL_BATCH_SIZE) if final else None,
    )


def _graphable(loader: BatchLoader, optimizer: Optimizer, team: Team) -> bool:
    """Return whether a step can read everything from the device."""
    on_gpu = isinstance(loader, DeviceLoader) and loader.on_gpu
    return on_gpu and optimizer.graphable and team.size == 1


def _is_fixed(recipe: Recipe) -> bool:
    """Return whether the network runs the same kernels in each step; yours may decide in Python."""
    return recipe.model == "wrn" or recipe.model.startswith(TIMM)


def _on_device(
    loader: NumpyLoader,
    device: torch.device,
    precision: torch.dtype,
    loading: Loading,
    shared: Resident,
) -> BatchLoader:
    if device.type == "cpu":
        if loading != "auto":
            raise RunError(
                f"--loading {loading} is for a GPU: leave it out on the CPU, which reads images "
                "from the store's memory map"
            )
        return TorchLoader(loader)
    if loading == "streamed":
        return DeviceLoader(loader, device, precision)
    key = str(loader.images.filename) if isinstance(loader.images, np.memmap) else ""
    stored = shared.get(key)
    if stored is None:
        share = math.inf if loading == "resident" else FREE_SHARE
        stored = placed(loader.images, device, share=share)
    if key and stored is not None:
        shared[key] = stored
    return DeviceLoader(loader, device, precision, stored)


@contextmanager
def _using_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
