"""Measure a GPU: loading, steps one by one and in a CUDA graph, many networks side by side.

    python bench/gpu.py [--seconds 420] [--parts same,pack] [--out bench/results/gpu.csv]

Random images and labels, batch 128, 1,000 classes, bfloat16 where the card has it. Parts, in order
of what they decide; a part is left out if the time is over, and the table says so:

- same: losses of 20 steps, eager against graph, alone against in a pack: bits.
- pack: K networks side by side in one graph, for shapes from WRN-6-0.5 at 8 px to WRN-28-2 at 32:
  network-steps a second, as a multiple of eager steps one by one.
- step: WRN-28-2 and WRN-28-10 at 32 px, WRN-36-2 at 64 px: milliseconds eager, in a graph, in a
  graph of the compiled network; images a second, share of the peak, share of loading, and the
  paper's whole run projected.
- eval: K networks on 10,000 images, batch 500: images a second, eager and in a graph.
- loading: batches of 4096 and 128 alone, in a graph; batches of 128 that are sent one by one.

Without a GPU it rehearses every part on the CPU, without graphs and with a few steps each; the
figures of a rehearsal mean nothing and are not written.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from machine import machine

from lowres.loading.device_loader import DeviceLoader
from lowres.loading.loaders import NumpyLoader
from lowres.loading.transfer import placed
from lowres.networks.shape import FLOPS_PER_MAC, TRAINING_PASSES
from lowres.progress import Display
from lowres.recipe import Recipe
from lowres.training.device import use_gpu
from lowres.training.evaluate import Evaluation, evaluate
from lowres.training.session import EVAL_BATCH_SIZE, Session
from lowres.training.step import Graph, Step, side_by_side
from training import BATCH, CLASSES, RandomStore, session

IMAGENET = 1_281_167
PAPER_IMAGES = 40 * 2 * IMAGENET
"""40 epochs, each image plain and mirrored."""

TITAN_X_DAYS = {"WRN-28-2": 1.5, "WRN-28-10": 13.8, "WRN-36-2": 6.4}
"""Quoted second hand in docs/recipes.md."""

PACK_SHAPES = ((8, 0.5, 1), (16, 1.0, 1), (16, 1.0, 4), (32, 1.0, 1), (32, 2.0, 4))
"""Size, width and blocks."""

PACKS = (1, 2, 4, 8, 16, 32)
STEP_SHAPES = ((32, 2.0), (32, 10.0), (64, 2.0))
BARS = {
    "WRN-28-2 at 32 px, images a second": "at least 120000",
    "loading 32 px, batch 4096": "at least 5000000",
    "WRN-8-1 at 16 px, 16 together, x eager": "at least 8",
}
Figure = tuple[str, float, str]


class Bench:
    """One run of the bench: its device, and the time that is left."""

    def __init__(self, seconds: float) -> None:
        self.gpu = torch.cuda.is_available()
        self.device = torch.device("cuda" if self.gpu else "cpu")
        self.deadline = time.monotonic() + seconds
        self.stored: dict[int, tuple[RandomStore, torch.Tensor | None]] = {}

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self.deadline

    def session(
        self, size: int, width: float, blocks: int, *, seed: int = 0, compiled: bool = False
    ) -> Session:
        """Make a network with its optimizer and its batches; sessions of one size share images."""
        images, epochs = (60_000, 40) if self.gpu else (512, 4)
        store, there = self.stored.get(size) or (RandomStore(images, size), None)
        recipe = Recipe(
            variant=f"{size}-box", width=width, blocks=blocks, seed=seed, epochs=epochs,
            batch_size=BATCH if self.gpu else 16,
        )  # fmt: skip
        made = session(recipe, store, self.device, compiled=compiled, stored=there)
        if isinstance(made.train_loader, DeviceLoader):
            there = made.train_loader.stored
        self.stored[size] = store, there
        return made

    def seconds(
        self,
        take: Callable[[], None],
        budget_s: float,
        begin: Callable[[], object],
        most: int = 400,
    ) -> float:
        """Return the seconds of a call, the least of three series; each begins an epoch."""

        def series(count: int) -> float:
            begin()
            self.wait()
            began = time.perf_counter()
            for _ in range(count):
                take()
            self.wait()
            return (time.perf_counter() - began) / count

        if not self.gpu:
            return series(2)
        series(5)
        count = max(3, min(most, int(budget_s / 3 / max(series(3), 1e-6))))
        return min(series(count) for _ in range(3))

    def wait(self) -> None:
        """Wait for the device."""
        if self.gpu:
            torch.cuda.synchronize()


def name_of(size: int, width: float, blocks: int) -> str:
    """Name a network and its size."""
    stages = max(1, (size // 8).bit_length())
    return f"WRN-{2 * blocks * stages + 4}-{width:g} at {size} px"


def same(bench: Bench) -> Iterator[Figure]:
    """Compare losses of steps: eager, graph, in a pack."""

    def losses(count: int, *, graphed: bool) -> list[float]:
        steps = [
            Step(replace(bench.session(16, 1.0, 1, seed=seed), graphed=graphed))
            for seed in range(count)
        ]
        take = side_by_side(steps, Display())
        for step in steps:
            step.begin(0)
        found = []
        for _ in range(20 if bench.gpu else 3):
            take()
            found.append(float(steps[0].loss))
        return found

    torch.backends.cudnn.benchmark = False  # each session would choose its own algorithms
    eager = losses(1, graphed=False)
    for name, count, graphed in (("eager again", 1, False), ("graph", 1, True), ("pack", 8, True)):
        own = losses(count, graphed=graphed and bench.gpu)
        off = max(abs(a - b) for a, b in zip(eager, own, strict=True))
        yield f"summed loss after each of 20 steps, {name} against eager", off, "nats apart"
    torch.backends.cudnn.benchmark = True


def packs(bench: Bench) -> Iterator[Figure]:
    """Measure K networks side by side."""
    for shape in PACK_SHAPES if bench.gpu else PACK_SHAPES[:2]:
        alone = Step(replace(bench.session(*shape), graphed=False))
        eager_s = bench.seconds(alone, 1.0, lambda one=alone: one.begin(0))
        yield f"{name_of(*shape)}, eager", 1 / eager_s, "steps/s"
        for count in PACKS if bench.gpu else PACKS[:2]:
            if bench.over:
                return
            steps = [Step(bench.session(*shape, seed=seed)) for seed in range(count)]
            take = side_by_side(steps, Display())
            rate = count / bench.seconds(
                take, 1.0, lambda all_=steps: [step.begin(0) for step in all_]
            )
            yield f"{name_of(*shape)}, {count} together", rate, "network-steps/s"
            yield f"{name_of(*shape)}, {count} together, x eager", rate * eager_s, "x"
            del steps, take
            if bench.gpu:
                torch.cuda.empty_cache()


def batch_of(loader: DeviceLoader) -> None:
    """Make a batch."""
    loader.next_batch()


def steps(bench: Bench, peak: float) -> Iterator[Figure]:
    """Measure the paper's networks."""
    for size, width in STEP_SHAPES if bench.gpu else ((32, 1.0),):
        name = name_of(size, width, 4)
        best, load_s = float("inf"), 0.0
        for way in ("eager", "graph", "graph of compiled"):
            if bench.over:
                return
            compiled = way == "graph of compiled"
            if compiled and not bench.gpu:
                continue
            made = replace(bench.session(size, width, 4, compiled=compiled), graphed=way != "eager")
            step = Step(made)
            take = side_by_side([step], Display()) if bench.gpu else step
            step_s = bench.seconds(take, 2.0, lambda one=step: one.begin(0))
            best = min(best, step_s)
            yield f"{name}, {way}", 1e3 * step_s, "ms a step"
            if compiled:
                yield f"{name}, compiling", made.forward.compile_s, "s"
        if bench.gpu:
            loader = made.train_loader
            assert isinstance(loader, DeviceLoader)
            load = Graph([lambda one=loader: batch_of(one)], bench.device, Display())
            load_s = bench.seconds(load, 0.5, lambda one=loader: one.begin(0))
        flops = FLOPS_PER_MAC * TRAINING_PASSES * made.network.macs * BATCH
        yield f"{name}, images a second", BATCH / best, "images/s"
        yield f"{name}, share of the peak", flops / best / peak, ""
        yield f"{name}, share of loading", load_s / best, ""
        days = TITAN_X_DAYS.get(made.network.name, float("nan"))
        hours = PAPER_IMAGES / BATCH * best / 3600
        yield f"{name}, the paper's run (Titan X: {days} days)", hours, "h"


def evaluations(bench: Bench) -> Iterator[Figure]:
    """Measure errors of K networks side by side."""
    count = 10_000 if bench.gpu else 64
    for shape in PACK_SHAPES[:3] if bench.gpu else PACK_SHAPES[:1]:
        store = RandomStore(count, shape[0])
        images = NumpyLoader(store, f"{shape[0]}-box", batch_size=min(EVAL_BATCH_SIZE, count // 2))
        there, device = placed(images.images, bench.device), bench.device
        for together, graphed in ((1, False), (1, True), (16, True)):
            if bench.over:
                return
            measured = [
                Evaluation(
                    bench.session(*shape, seed=seed).network.module,
                    DeviceLoader(images, device, torch.bfloat16, there),
                    device,
                    torch.bfloat16,
                )
                for seed in range(together)
            ]
            take = None
            if bench.gpu and graphed:
                take = Graph(measured, device, Display(), "measuring errors")
            each_s = bench.seconds(
                lambda all_=measured, one=take: evaluate(all_, one), 1.0, lambda: None, most=20
            )
            way = f"{together} together, {'graph' if graphed else 'eager'}"
            yield f"evaluating {name_of(*shape)}, {way}", together * count / each_s, "images/s"


def loading(bench: Bench) -> Iterator[Figure]:
    """Measure batches alone."""
    for size in (32, 64):
        for batch in (4096, 128):
            store = RandomStore(1_000_000 if bench.gpu and size == 32 else 8192 * 8, size)
            images = NumpyLoader(
                store, f"{size}-box", batch_size=batch, shuffle=True, flip="random", shift_px=4
            )
            if not len(images):  # a rehearsal
                continue
            dtype = torch.bfloat16
            there = placed(images.images, bench.device)
            loader = DeviceLoader(images, bench.device, dtype, there)
            if bench.gpu:
                loader.compile()
            take: Callable[[], object] = loader.next_batch
            if bench.gpu:
                take = Graph([lambda one=loader: batch_of(one)], bench.device, Display())
            rate = batch / bench.seconds(take, 0.5, lambda one=loader: one.begin(0), len(loader))
            yield f"loading {size} px, batch {batch}", rate, "images/s"
            yield f"loading {size} px, batch {batch}, moved", rate * size**2 * 9 / 1e9, "GB/s"
        sent = DeviceLoader(images, bench.device, torch.bfloat16)
        batches = sent.batches(0)
        rate = batch / bench.seconds(
            lambda one=batches: next(one), 0.5, lambda: None, len(sent) // 8
        )
        yield f"loading {size} px, batch {batch}, sent one by one", rate, "images/s"


def driver() -> str:
    """Return the version of the driver."""
    command = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=420.0)
    parser.add_argument("--parts", default="same,pack,step,eval,loading", help="by commas")
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="an H100's in bfloat16")
    parser.add_argument("--out", type=Path, default=Path("bench/results/gpu.csv"))
    arguments = parser.parse_args()
    bench = Bench(arguments.seconds)
    if bench.gpu:
        use_gpu(torch.device("cuda", 0))
    parts = {
        "same": same(bench),
        "pack": packs(bench),
        "step": steps(bench, arguments.peak_tflops * 1e12),
        "eval": evaluations(bench),
        "loading": loading(bench),
    }
    card = torch.cuda.get_device_name() if bench.gpu else "CPU (rehearsal)"
    about = {**machine(), "card": card, "driver": driver(), "torch": torch.__version__}
    about["cudnn"] = torch.backends.cudnn.version()
    rows = []
    began = time.monotonic()
    for part in arguments.parts.split(","):
        for what, value, unit in parts[part]:
            row = {"part": part, "what": what, "value": f"{value:.5g}", "unit": unit}
            rows.append({**row, "bar": BARS.get(what, ""), "classes": CLASSES, **about})
            print(f"{time.monotonic() - began:5.0f} s", *row.values(), sep=" | ", flush=True)
        print("time over" if bench.over else "", end="")
    if bench.gpu:
        with arguments.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
