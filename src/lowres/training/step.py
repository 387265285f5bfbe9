"""Steps of training that read everything from the device, and CUDA graphs that repeat them.

A small network keeps a GPU busy for a fraction of a step: the rest is the launch of its kernels,
one after another. A CUDA graph launches a whole step at once. It also holds the steps of several
runs side by side, a branch each; they share nothing but the images, so each computes what it
computes alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import torch

from lowres.loading.device_loader import DeviceLoader
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
            rates = [session.recipe.learning_rate(n, session.steps) for n in range(session.steps)]
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
            number: int | torch.Tensor = self.number
            loss = session.step(images, labels, self.rates[self.number[None]].squeeze(0))
        else:
            images, labels = next(self.batches)
            number = next(self.numbers)
            loss = session.step(images, labels, session.recipe.learning_rate(number, session.steps))
        self.loss += loss.double() / session.team.size
        fine = loss.isfinite() | (self.bad_step < number)
        self.bad_step.copy_(torch.where(fine, self.bad_step, number))
        if self.on_device:
            self.number += 1

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
    """Return a function that takes a step of each run: in one CUDA graph, or one after another."""
    if all(step.session.graphed for step in steps):
        return Graph(steps, steps[0].session.device, display)

    def take() -> None:
        for step in steps:
            step()

    return take


class Graph:
    """Functions on a GPU that run side by side; from the fourth call on as one CUDA graph.

    If it cannot be recorded, the functions are called as before, and the display says why.

    Args:
        functions: without arguments; each works on tensors of its own, and reads what changes from
            call to call from the device.
        device: the GPU.
        display: gets the note.
    """

    def __init__(
        self, functions: Sequence[Callable[[], None]], device: torch.device, display: Display
    ) -> None:
        self.functions, self.device, self.display = functions, device, display
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
            self.display.say(f"training without a CUDA graph, which cannot be recorded: {reason}")
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
