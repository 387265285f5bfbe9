"""Measure whole training: loading, forward, backward and update.

    python bench/training.py [--rounds 5] [--out bench/training.csv]

On the CPU, steps of WRN-20-1 at 16 px and WRN-28-2 at 32 px, batch 128, 1,000 classes, all cores,
contenders in turns, wall time:

- usual: a common PyTorch script. `loading.Usual` in a `DataLoader` with a worker for
  each core, float32, NCHW, eager, `torch.optim.SGD`.
- eager: lowres with `--compile off`.
- compiled: lowres with `--compile on`; its warm-up is a row of its own.

On a CUDA GPU it also measures loading alone, and training of WRN-28-2 and WRN-28-10 at 32 px and
WRN-36-2 at 64 px on as many random images as ImageNet has: images a second, share of the peak
(`--peak-tflops`, by default an H100's in bfloat16), share of time in loading, and the projected
time of the paper's whole run. Without a GPU it prints that.
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
from table import machine
from torch.nn import functional
from torch.utils.data import DataLoader

from loading import Usual
from lowres.loading.device_loader import DeviceLoader
from lowres.loading.loaders import NumpyLoader, TorchLoader
from lowres.networks.make import make_network
from lowres.networks.shape import FLOPS_PER_MAC, TRAINING_PASSES
from lowres.recipe import Recipe
from lowres.training.checkpoint import Numerics, Progress
from lowres.training.compiling import Forward, compile_forward
from lowres.training.device import choose_precision, describe_hardware
from lowres.training.distributed import Team
from lowres.training.optimizers import make_optimizer
from lowres.training.session import Session, Stop
from lowres.training.weights import TrainedNetwork

IMAGENET = 1_281_167
PAPER_IMAGES = 40 * 2 * IMAGENET
"""40 epochs, each image plain and mirrored."""

TITAN_X_DAYS = {"WRN-28-2": 1.5, "WRN-28-10": 13.8, "WRN-36-2": 6.4}
"""Quoted second hand in docs/recipes.md."""

CPU_NETWORKS = ((16, 1.0), (32, 2.0))
GPU_NETWORKS = ((32, 2.0), (32, 10.0), (64, 2.0))
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


def session(recipe: Recipe, store: RandomStore, device: torch.device, *, compiled: bool) -> Session:
    """Make what the training loop works with."""
    batches = NumpyLoader(
        store, recipe.variant, batch_size=recipe.batch_size, shuffle=True, flip=recipe.flip,
        shift_px=recipe.shift_px, subtract=recipe.subtract, divide_by=recipe.divide_by,
    )  # fmt: skip
    precision = choose_precision("auto", device)
    on_gpu = device.type == "cuda"
    loader = (
        DeviceLoader(batches, device, precision, resident=True) if on_gpu else TorchLoader(batches)
    )
    network = make_network(recipe, CLASSES)
    model = network.module
    model.to(device).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(recipe, model, len(loader) * recipe.epochs)
    model.train()
    forward = Forward(model)
    if compiled:
        forward = compile_forward("on", model, model, loader, precision, device)
    numerics = Numerics(
        str(precision).removeprefix("torch."), torch.get_num_threads(), forward.compiled
    )
    trained = TrainedNetwork(model, recipe, (), np.zeros(3, np.float32), np.ones(3, np.float32))
    return Session(
        recipe=recipe, network=network, forward=forward, optimizer=optimizer, train_loader=loader,
        eval_loader=loader, eval_split="val", trained=trained, device=device, progress=Progress(),
        numerics=numerics, team=Team(), stop=Stop(),
    )  # fmt: skip


def usual_steps(recipe: Recipe, store: RandomStore, workers: int) -> Callable[[int], float]:
    """Make the usual script; the result measures the seconds of a step."""
    model = make_network(recipe, CLASSES).module.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=1e-3)

    def run(count: int) -> float:
        loader = DataLoader(
            Usual(store.images), BATCH, shuffle=True, num_workers=workers, drop_last=True
        )
        batches = iter(loader)
        next(batches)  # workers have started
        began = time.perf_counter()
        for _ in range(count):
            images, labels = next(batches)
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
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
        "usual": usual_steps(recipe, store, cores),
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
        ratios = [a / b for a, b in zip(found["usual"], found[what], strict=True)]
        yield f"{name}, {what} / usual", ratios, "x", "at least 2"
    yield f"{name}, warm-up of compiling", [fast.forward.compile_s], "s", ""


def on_gpu(
    size: int, width: float, rounds: int, peak: float
) -> Iterator[tuple[str, list[float], str, str]]:
    """Measure one network on the GPU, and loading alone."""
    device, store = torch.device("cuda"), RandomStore(IMAGENET, size)
    recipe = Recipe(variant=f"{size}-box", width=width)
    made = session(recipe, store, device, compiled=True)
    name, run = made.network.name, lowres_steps(made)
    run(20)
    seconds = [run(200) for _ in range(rounds)]
    loads = [_loading_s(made.train_loader, 200) for _ in range(rounds)]
    flops = FLOPS_PER_MAC * TRAINING_PASSES * made.network.macs * BATCH
    rates = [BATCH / value for value in seconds]
    yield f"{name}, training", rates, "images/s", ""
    yield f"{name}, share of peak", [flops / value / peak for value in seconds], "", ""
    shares = [a / b for a, b in zip(loads, seconds, strict=True)]
    yield f"{name}, share of time in loading", shares, "", "at most 0.02"
    yield f"{name}, warm-up of compiling", [made.forward.compile_s], "s", ""
    days = [PAPER_IMAGES / rate / 86_400 for rate in rates]
    yield f"{name}, the paper's run (Titan X: {TITAN_X_DAYS[name]} days)", days, "days", ""
    batches = NumpyLoader(
        store, recipe.variant, batch_size=4096, shuffle=True, flip="random", shift_px=4
    )
    large = DeviceLoader(batches, device, torch.bfloat16, resident=True)
    large.compile()
    compiled = [4096 / _loading_s(large, 100) for _ in range(rounds)]
    bar = "at least 5000000" if size == 32 else ""
    yield f"loading alone, {size} px, bfloat16, batch 4096", compiled, "images/s", bar
    moved = size * size * 3 * (1 + 2)  # a byte in, two out
    yield f"the same, {size} px", [rate * moved / 1e9 for rate in compiled], "GB/s", ""


def _loading_s(loader: DeviceLoader, count: int) -> float:
    """Return the seconds of a batch, without training."""
    batches = loader.batches(0)
    for _ in range(5):
        next(batches)
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(count):
        next(batches)
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / count


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak-tflops", type=float, default=989.0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    arguments = parser.parse_args()
    figures = []
    for size, width in CPU_NETWORKS:
        figures += [("cpu", *row) for row in on_cpu(size, width, arguments.rounds)]
    if torch.cuda.is_available():
        for size, width in GPU_NETWORKS:
            peak = arguments.peak_tflops * 1e12
            figures += [("cuda", *row) for row in on_gpu(size, width, arguments.rounds, peak)]
    else:
        print("no CUDA GPU here: GPU loading and training are not measured")
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
