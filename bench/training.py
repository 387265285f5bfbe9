"""Measure whole training: loading, forward, backward and update.

    python bench/training.py [--rounds 5] [--out bench/training.csv]

On the CPU, steps of WRN-20-1 at 16 px and WRN-28-2 at 32 px, batch 128, 1,000 classes, all cores,
contenders in turns, wall time:

- usual: a common PyTorch script. `loading.Usual` in a `DataLoader` with a worker for
  each core, float32, NCHW, eager, `torch.optim.SGD`.
- tuned: the same script with channels_last and bfloat16, its two cheapest improvements.
- bare: the tuned script without loading, on one batch again and again.
- eager: lowres with `--compile off`.
- compiled: lowres with `--compile on`; its warm-up is a row of its own.

`bench/gpu.py` measures a GPU.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from machine import machine
from torch.nn import functional
from torch.utils.data import DataLoader

from loading import Usual
from lowres.loading.device_loader import DeviceLoader
from lowres.loading.loaders import NumpyLoader, TorchLoader
from lowres.loading.transfer import placed
from lowres.networks.make import make_network
from lowres.recipe import Recipe
from lowres.training.checkpoint import Numerics, Progress
from lowres.training.compiling import Forward, compile_forward
from lowres.training.device import choose_precision, describe_hardware
from lowres.training.distributed import Team
from lowres.training.optimizers import make_optimizer
from lowres.training.run import Run
from lowres.training.schedule import learning_rates
from lowres.training.session import Session, Stop
from lowres.training.weights import TrainedNetwork

CPU_NETWORKS = ((16, 1.0), (32, 2.0))
BATCH, CLASSES = 128, 1000


class RandomStore:
    """Random images in memory, with the methods of a store that a loader uses."""

    def __init__(self, count: int, size: int) -> None:
        generator = np.random.default_rng(0)
        self.stored = np.empty((count, size, size, 3), np.uint8)
        for start in range(0, count, 1 << 16):
            block = self.stored[start : start + (1 << 16)]
            block[...] = generator.integers(0, 256, block.shape, np.uint8)
        self.targets = generator.integers(0, CLASSES, count)

    def images(self, _split: str, _variant: str) -> np.ndarray:
        """Return the images."""
        return self.stored

    def labels(self, _split: str) -> np.ndarray:
        """Return random labels."""
        return self.targets

    def statistics(self, _split: str, _variant: str) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of random levels."""
        return np.full(3, 127.5), np.full(3, 73.9)

    def mean_image(self, _variant: str) -> np.ndarray:
        """Return the mean of random images."""
        return np.full(self.stored.shape[1:], 127.5)


def session(
    recipe: Recipe,
    store: RandomStore,
    device: torch.device,
    *,
    compiled: bool,
    stored: torch.Tensor | None = None,
) -> Session:
    """Make what the training loop works with; `stored` are the images if they are on the GPU."""
    batches = NumpyLoader(
        store, recipe.variant, batch_size=recipe.batch_size, shuffle=True, flip=recipe.flip,
        shift_px=recipe.shift_px, subtract=recipe.subtract, divide_by=recipe.divide_by,
    )  # fmt: skip
    precision = choose_precision("auto", device)
    on_gpu = device.type == "cuda"
    loader = (
        DeviceLoader(
            batches, device, precision, placed(batches.images, device) if stored is None else stored
        )
        if on_gpu
        else TorchLoader(batches)
    )
    network = make_network(recipe, CLASSES)
    model = network.module
    model.to(device).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(recipe, model, len(loader) * recipe.epochs)
    model.train()
    forward = Forward(model)
    if compiled:
        forward = compile_forward("on", model, model, loader, precision, device, graphed=on_gpu)
    numerics = Numerics(
        str(precision).removeprefix("torch."), torch.get_num_threads(), forward.compiled
    )
    trained = TrainedNetwork(model, recipe, (), np.zeros(3, np.float32), np.ones(3, np.float32))
    return Session(
        run=Run(Path(), recipe, Path(), ""), recipe=recipe, network=network, forward=forward,
        optimizer=optimizer, train_loader=loader,
        eval_loader=loader, eval_split="val", test_loader=None, trained=trained, device=device,
        progress=Progress(),
        numerics=numerics, team=Team(), stop=Stop(), graphed=on_gpu,
        rates=learning_rates(recipe, len(loader) * recipe.epochs), callback=lambda *_: None,
    )  # fmt: skip


def usual_steps(
    recipe: Recipe, store: RandomStore, workers: int, *, tuned: bool, loads: bool = True
) -> Callable[[int], float]:
    """Make the usual script; the result measures the seconds of a step.

    If `tuned`, it has the two lines that few scripts have: channels last, and bfloat16. Unless it
    `loads`, it trains on one batch again and again.
    """
    model = make_network(recipe, CLASSES).module.train()
    if tuned:
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=1e-3)

    def run(count: int) -> float:
        loader = DataLoader(
            Usual(store.stored), BATCH, shuffle=True, num_workers=workers, drop_last=True
        )
        batches = iter(loader)
        images, labels = next(batches)  # workers have started
        if not loads:
            del batches, loader
        began = time.perf_counter()
        for _ in range(count):
            if loads:
                images, labels = next(batches)
            optimizer.zero_grad()
            if tuned:
                images = images.to(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=tuned):
                logits = model(images)
            functional.cross_entropy(logits.float(), labels).backward()
            optimizer.step()
        return (time.perf_counter() - began) / count

    return run


def lowres_steps(made: Session) -> Callable[[int], float]:
    """Make the loop of lowres; the result measures the seconds of a step, with loading."""

    def endless() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        epoch = 0
        while True:
            yield from made.train_loader.batches(epoch)
            epoch += 1

    batches = endless()

    def run(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            made.step(*next(batches), made.recipe.lr)
        if made.device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - began) / count

    return run


def on_cpu(size: int, width: float, rounds: int) -> Iterator[tuple[str, list[float], str, str]]:
    """Measure one network: name, values, unit and bar of each figure."""
    recipe, store = Recipe(variant=f"{size}-box", width=width), RandomStore(20_000, size)
    cpu, cores = torch.device("cpu"), torch.get_num_threads()
    fast = session(recipe, store, cpu, compiled=True)
    runs = {
        "usual": usual_steps(recipe, store, cores, tuned=False),
        "tuned": usual_steps(recipe, store, cores, tuned=True),
        "bare": usual_steps(recipe, store, 0, tuned=True, loads=False),
        "eager": lowres_steps(session(recipe, store, cpu, compiled=False)),
        "compiled": lowres_steps(fast),
    }
    steps = 20 if size == 16 else 5
    for run in runs.values():
        run(2)
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(run(steps))
    name = fast.network.name
    for what, seconds in found.items():
        yield f"{name}, {what}", [BATCH / value for value in seconds], "images/s", ""
    for what in ("eager", "compiled"):
        for other in ("usual", "tuned", "bare"):
            ratios = [a / b for a, b in zip(found[other], found[what], strict=True)]
            yield f"{name}, {what} / {other}", ratios, "x", ""
    yield f"{name}, warm-up of compiling", [fast.forward.compile_s], "s", ""


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    arguments = parser.parse_args()
    figures = []
    for size, width in CPU_NETWORKS:
        figures += [("cpu", *row) for row in on_cpu(size, width, arguments.rounds)]
    about = {**machine(), "torch": torch.__version__}
    about["command"] = f"python bench/training.py --rounds {arguments.rounds}"
    with arguments.out.open("w", newline="") as file:
        columns = ("device", "what", "value", "unit", "bar", "min", "max", "rounds", *about)
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for device, what, values, unit, bar in figures:
            on = describe_hardware(torch.device(device))["device"]
            record = {"device": on, "what": what, "unit": unit, "bar": bar, "rounds": len(values)}
            record |= {"value": f"{median(values):.4g}", **about}
            writer.writerow(record | {"min": f"{min(values):.4g}", "max": f"{max(values):.4g}"})
            print(what, record["value"], unit, bar, sep=" | ")


if __name__ == "__main__":
    main()
