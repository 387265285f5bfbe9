"""Measure loading alone on the CPU: random images of 32 px in memory to float32 batches.

    python bench/loading.py [--images 1281167] [--rounds 5] [--out bench/loading.csv]

Contenders take turns, each with batches of 512 in random order, mirrored, shifted by up to 4
pixels, normalised to float32; CPU time of one thread, medians over rounds:

- lowres: `draw` and `gather`, the batches of `NumpyLoader`.
- usual: a `Dataset` that makes a PIL image of each item and runs RandomCrop(32, padding=4),
  RandomHorizontalFlip, ToTensor and Normalize on it as torchvision does them, in a `DataLoader`
  without workers. They are written out here, since not every machine has torchvision.
- gather, write: the floor: rows copied in random order, and a float32 batch filled.

Two threads against one is wall time: measure it on an idle machine.
"""

from __future__ import annotations

import argparse
import csv
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from machine import machine
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset

from lowres.loading.augment import draw, gather

BATCH, SIZE, PAD = 512, 32, 4
MEAN, STD = np.array([122.7, 116.7, 104.0]), np.array([63.0, 61.0, 65.0])
BATCHES = 400
USUAL_BATCHES = 8


class Usual(Dataset):
    """Items as torchvision's CIFAR10 returns them, with the usual transforms.

    The operations are those of its transforms on a PIL image: torch draws the numbers, the tensor
    is copied before it is normalised, and mean and std become tensors each time.
    """

    def __init__(self, images: np.ndarray) -> None:
        self.images = images
        self.mean, self.std = (MEAN / 255).tolist(), (STD / 255).tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        image = ImageOps.expand(Image.fromarray(self.images[row]), border=PAD, fill=0)
        top = int(torch.randint(0, 2 * PAD + 1, (1,)).item())
        left = int(torch.randint(0, 2 * PAD + 1, (1,)).item())
        size = self.images.shape[1]
        image = image.crop((left, top, left + size, top + size))
        if torch.rand(1) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        tensor = torch.from_numpy(np.array(image, np.uint8, copy=True)).view(size, size, 3)
        tensor = tensor.permute(2, 0, 1).contiguous().to(torch.float32).div(255).clone()
        mean = torch.as_tensor(self.mean, dtype=tensor.dtype).view(-1, 1, 1)
        std = torch.as_tensor(self.std, dtype=tensor.dtype)
        if (std == 0).any():
            raise ValueError("a standard deviation is 0")
        return tensor.sub_(mean).div_(std.view(-1, 1, 1)), 0


class Bench:
    """The images, an order, and the contenders."""

    def __init__(self, images: int) -> None:
        generator = np.random.default_rng(0)
        self.images = np.empty((images, SIZE, SIZE, 3), np.uint8)
        for start in range(0, images, 1 << 16):
            block = self.images[start : start + (1 << 16)]
            block[...] = generator.integers(0, 256, block.shape, np.uint8)
        self.order = generator.permutation(images)
        self.batch = np.empty((BATCH, SIZE, SIZE, 3), np.float32)
        self.copied = np.empty((BATCH, SIZE, SIZE, 3), np.uint8)

    def rows(self, number: int) -> np.ndarray:
        """Return the rows of a batch; after the last batch comes the first."""
        start = number * BATCH % (len(self.order) - BATCH)
        return self.order[start : start + BATCH]

    def lowres(self, number: int, out: np.ndarray | None = None) -> None:
        """Load a batch."""
        rows = self.rows(number)
        drawn = draw(rows, seed=0, epoch=0, flip="random", shift_px=PAD)
        gather(self.images, rows, drawn, MEAN, STD, self.batch if out is None else out)

    def usual(self) -> float:
        """Load some batches and return the seconds of a batch."""
        loader = DataLoader(Usual(self.images), BATCH, sampler=self.order[: BATCH * USUAL_BATCHES])
        began = time.process_time()
        for _ in loader:
            pass
        return (time.process_time() - began) / USUAL_BATCHES

    def gather(self, number: int) -> None:
        """Copy rows only."""
        np.take(self.images, self.rows(number), 0, out=self.copied, mode="clip")

    def write(self, _: int) -> None:
        """Fill a batch only."""
        self.batch.fill(1.0)


def cpu_s(work: Callable[[int], None], first: int) -> float:
    """Return the CPU seconds of a batch."""
    began = time.process_time()
    for number in range(first, first + BATCHES):
        work(number)
    return (time.process_time() - began) / BATCHES


def wall_s(bench: Bench, threads: int, first: int) -> float:
    """Return the seconds of a batch of lowres if some threads share the batches."""

    def run(thread: int) -> None:
        out = np.empty_like(bench.batch)
        for number in range(first + thread, first + BATCHES, threads):
            bench.lowres(number, out)

    running = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
    began = time.perf_counter()
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return (time.perf_counter() - began) / BATCHES


def measured(bench: Bench, rounds: int) -> dict[str, list[float]]:
    """Run all contenders in turns: microseconds an image, and quotients within a round."""
    torch.set_num_threads(1)
    bench.lowres(0)
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        first = number * BATCHES
        seconds = {
            "lowres": cpu_s(bench.lowres, first),
            "gather": cpu_s(bench.gather, first),
            "write": cpu_s(bench.write, first),
            "usual": bench.usual(),
            "one thread": wall_s(bench, 1, first),
            "two threads": wall_s(bench, 2, first),
        }
        for name, value in seconds.items():
            found.setdefault(name, []).append(value / BATCH * 1e6)
        floor = seconds["gather"] + seconds["write"]
        for name, value in (
            ("usual / lowres", seconds["usual"] / seconds["lowres"]),
            ("floor / lowres", floor / seconds["lowres"]),
            ("one thread / two threads", seconds["one thread"] / seconds["two threads"]),
        ):
            found.setdefault(name, []).append(value)
    return found


BARS = {"usual / lowres": 45.0, "floor / lowres": 0.4, "one thread / two threads": 1.7}


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_281_167)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    arguments = parser.parse_args()
    found = measured(Bench(arguments.images), arguments.rounds)
    about = {"images": arguments.images, **machine(), "torch": torch.__version__}
    about["command"] = f"python bench/loading.py --rounds {arguments.rounds}"
    with arguments.out.open("w", newline="") as file:
        columns = ("what", "value", "unit", "bar", "kept", "min", "max", "rounds", *about)
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for name, values in found.items():
            bar, value = BARS.get(name), median(values)
            record = {"what": name, "value": f"{value:.4g}", "rounds": len(values), **about}
            record["unit"] = "us/image" if bar is None else "x"
            record["bar"] = "" if bar is None else f"at least {bar:g}"
            record["kept"] = "" if bar is None else ("yes" if value >= bar else "no")
            record |= {"min": f"{min(values):.4g}", "max": f"{max(values):.4g}"}
            writer.writerow(record)
            print(name, record["value"], record["unit"], record["bar"], record["kept"], sep=" | ")


if __name__ == "__main__":
    main()
