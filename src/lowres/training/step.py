"""The next step of a run, and of several runs at once.

A small network keeps a GPU busy for a fraction of a step: the rest is the launch of its kernels,
one after another. A CUDA graph launches a whole step at once. It also holds the steps of several
runs side by side, a branch each; they share nothing but the images, so each computes what it
computes alone. On the CPU the networks of several runs are joined into one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import torch

from lowres.loading.device_loader import DeviceLoader
from lowres.networks.stacked import Stacked, can_stack
from lowres.networks.wrn import WideResNet
from lowres.progress import Display
from lowres.training.checkpoint import Partial
from lowres.training.session import Session

NEVER = 2**62
"""The number of a step that did not happen."""

EAGER_CALLS = 3
"""Calls before a graph is recorded: libraries choose kernels and allocate memory in them."""

STREAMS = 16
"""Branches that run at the same time; more runs share them."""


class Step:
    """The next step of a run: batch, forward and backward pass, update.

    It is called without arguments. On a GPU with resident images the number of the step, the
    learning rate and the batch come from the device, so that a CUDA graph can repeat it.

    Attributes:
        on_device: whether it reads everything from the device.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        loader, device = session.train_loader, session.device
        self.on_device = isinstance(loader, DeviceLoader) and loader.on_gpu
        self.on_device &= session.team.size == 1
        # Each process adds up its own losses.
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.bad_step = torch.zeros((), dtype=torch.int64, device=device)
        if self.on_device:
            rates = [session.rates(number) for number in range(session.steps)]
            self.rates = torch.tensor(rates, dtype=torch.float64, device=device)
            self.number = torch.zeros((), dtype=torch.int64, device=device)
        else:
            self.batches: Iterator[tuple[torch.Tensor, torch.Tensor]] = iter(())
            self.numbers = count()

    def begin(self, epoch: int) -> None:
        """Prepare the network and the batches of an epoch, from where its progress is."""
        session, partial = self.session, self.session.progress.partial
        session.network.module.train()
        session.optimizer.train()
        # The first process starts from the sum of the checkpoint.
        self.loss.fill_(partial.loss if session.team.first else 0.0)
        self.bad_step.fill_(NEVER if partial.bad_step < 0 else partial.bad_step)
        number = epoch * len(session.train_loader) + partial.steps
        if self.on_device:
            assert isinstance(session.train_loader, DeviceLoader)
            session.train_loader.begin(epoch, partial.steps)
            self.number.fill_(number)
        else:
            self.batches = session.train_loader.batches(epoch, partial.steps)
            self.numbers = count(number)

    def __call__(self) -> None:
        """Take the step."""
        session = self.session
        if self.on_device:
            assert isinstance(session.train_loader, DeviceLoader)
            images, labels = session.train_loader.next_batch()
            lr = self.rates[self.number[None]].squeeze(0)
            self.note(session.step(images, labels, lr), self.number)
            self.number += 1
        else:
            images, labels, number = self.next_batch()
            self.note(session.step(images, labels, session.rates(number)), number)

    def next_batch(self) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Return the images and labels of the step, and its number in the run."""
        images, labels = next(self.batches)
        return images, labels, next(self.numbers)

    def note(self, loss: torch.Tensor, number: int | torch.Tensor) -> None:
        """Add the loss of a step, (), to those of the epoch."""
        self.loss += loss.double() / self.session.team.size
        fine = loss.isfinite() | (self.bad_step < number)
        self.bad_step.copy_(torch.where(fine, self.bad_step, number))

    def pause(self, taken: int, seconds: float) -> None:
        """Note in the run's progress how far its epoch is; this waits for the device.

        Args:
            taken: steps of the epoch.
            seconds: time that they took in this call.
        """
        session, partial = self.session, self.session.progress.partial
        total, first_bad = session.team.sum(self.loss), int(session.team.min(self.bad_step))
        session.progress.pause(
            Partial(
                steps=taken,
                loss=float(total),
                bad_step=-1 if first_bad == NEVER else first_bad,
                train_s=partial.train_s + seconds,
            )
        )


def side_by_side(steps: Sequence[Step], display: Display) -> Callable[[], None]:
    """Return a function that takes a step of each run.

    On a GPU it is one CUDA graph, on the CPU one pass of stacked networks; if neither can hold
    these runs, their steps follow each other.
    """
    if all(step.session.graphed for step in steps):
        return Graph(steps, steps[0].session.device, display)
    if len(steps) > 1 and stackable([step.session for step in steps]):
        return StackedStep(steps)

    def take() -> None:
        for step in steps:
            step()

    return take


def stackable(sessions: Sequence[Session]) -> bool:
    """Return whether runs on the CPU can be trained as one network (`networks.stacked`)."""
    first = sessions[0]
    return (
        first.device.type == "cpu"
        and first.team.size == 1
        and can_stack([one.network.module for one in sessions])
        and all(one.numerics == first.numerics and not one.numerics.compiled for one in sessions)
        and all(one.recipe.batch_size == first.recipe.batch_size for one in sessions)
        and all(one.optimizer.in_place for one in sessions)
    )


class StackedStep:
    """The next step of several runs in one pass: each has its own batch, loss and optimizer.

    Args:
        steps: of runs that are `stackable`.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        networks = [step.session.network.module for step in steps]
        self.stacked = Stacked([one for one in networks if isinstance(one, WideResNet)])

    def __call__(self) -> None:
        """Take the step of every run."""
        images, labels, numbers = zip(*(step.next_batch() for step in self.steps), strict=True)
        with self.steps[0].session.autocast():
            logits = self.stacked(torch.cat(images, 1))
        losses = [
            step.session.loss(own, wanted)
            for step, own, wanted in zip(self.steps, logits, labels, strict=True)
        ]
        torch.autograd.backward(losses)
        self.stacked.share_gradients()
        for step, loss, number in zip(self.steps, losses, numbers, strict=True):
            step.session.optimizer.step(step.session.rates(number))
            step.note(loss.detach(), number)


class Graph:
    """Functions on a GPU that run side by side; from the fourth call on as one CUDA graph.

    If it cannot be recorded, the functions are called as before, and the display says why.

    Args:
        functions: without arguments; each works on tensors of its own, and reads what changes from
            call to call from the device.
        device: the GPU.
        display: gets the note.
        doing: what the functions do, for the note.
    """

    def __init__(
        self,
        functions: Sequence[Callable[[], None]],
        device: torch.device,
        display: Display,
        doing: str = "training",
    ) -> None:
        self.functions, self.device, self.display = functions, device, display
        self.doing = doing
        self.eager_calls: float = EAGER_CALLS
        self.graph: torch.cuda.CUDAGraph | None = None
        self.streams: list[Any] = [torch.cuda.Stream(device) for _ in functions[:STREAMS]]  # type: ignore[no-untyped-call]

    def __call__(self) -> None:
        """Call every function once."""
        if self.graph is None and not self.eager_calls:
            self._record()
        if self.graph is None:
            self._branches()
            self.eager_calls -= 1
        else:
            self.graph.replay()

    def _record(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._branches()
        except RuntimeError as error:  # such as a copy to the host inside the step
            torch.cuda.synchronize(self.device)
            self.eager_calls = math.inf
            reason = str(error).partition("\n")[0]
            self.display.say(
                f"{self.doing} without a CUDA graph, which cannot be recorded: {reason}"
            )
        else:
            self.graph = graph

    def _branches(self) -> None:
        """Launch the functions on streams of their own, and wait for all in the current one."""
        main = torch.cuda.current_stream(self.device)
        for stream in self.streams:
            stream.wait_stream(main)
        for number, function in enumerate(self.functions):
            with torch.cuda.stream(self.streams[number % len(self.streams)]):
                function()
        for stream in self.streams:
            main.wait_stream(stream)
