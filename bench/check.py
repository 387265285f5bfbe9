"""How many planted near-duplicates `lowres check` finds, how many pairs are false, what it costs.

    python bench/check.py                 # 100,000 made images, then 1,281,167
    python bench/check.py STORE           # plants into the 32 px images of a store instead

Made images are coloured noise with the spectrum of photographs. Planted images are copies of 1,000
of them for each change, made at 32 px before they are reduced to 16 px. Every pair that was not
planted is false; in a real store only recall is known. Rows are added to bench/check.csv.
"""

from __future__ import annotations

import csv
import io
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import lowres
from lowres.store.manifest import Manifest
from lowres.store.rows import RowFile

CSV = Path(__file__).with_suffix(".csv")
PLANTED = 1000
IMAGES, IMAGENET = 100_000, 1_281_167
VARIANT = lowres.Variant(16, "box")


def noise(count: int, side: int, seed: int) -> np.ndarray:
    """Draw (count, side, side, 3) uint8 images whose amplitudes fall with the frequency."""
    random = np.random.default_rng(seed)
    frequencies = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)) * side
    drawn = random.standard_normal((count, 3, side, side), np.float32)
    drawn[:, 1:] = 0.8 * drawn[:, :1] + 0.6 * drawn[:, 1:]
    spectrum = np.fft.rfft2(drawn) / np.maximum(frequencies, 1)
    levels = np.fft.irfft2(spectrum, s=(side, side))
    levels *= 50 / levels.std(axis=(1, 2, 3), keepdims=True)
    return np.clip(levels + 127, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def brighter(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Change brightness and contrast."""
    changed = image * random.uniform(0.7, 1.3) + random.uniform(-20, 20)
    return np.clip(changed, 0, 255).astype(np.uint8)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Compress an image."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def cropped(image: np.ndarray, pixels: int, random: np.random.Generator) -> np.ndarray:
    """Cut some of 32 pixels away, at random edges, and enlarge the rest."""
    top, left = random.integers(0, pixels + 1, 2)
    side = len(image) - pixels
    part = Image.fromarray(image[top : top + side, left : left + side])
    return np.asarray(part.resize((len(image), len(image)), Image.Resampling.BICUBIC))


CHANGES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "brightness, contrast": brighter,
    "JPEG, quality 75": lambda image, _: jpeg(image, 75),
    "JPEG, quality 40": lambda image, _: jpeg(image, 40),
    "crop by 3 %": lambda image, random: cropped(image, 1, random),
    "crop by 6 %": lambda image, random: cropped(image, 2, random),
    "all three, crop by 3 %": lambda image, random: jpeg(
        brighter(cropped(image, 1, random), random), 75
    ),
}


def write_store(path: Path, blocks: Iterator[np.ndarray], count: int) -> lowres.Store:
    """Write blocks of 16 px images as the split train of a store."""
    (path / "train").mkdir(parents=True)
    rows = RowFile.create(path / "train" / f"{VARIANT}.npy", (count, 16, 16, 3))
    place = 0
    for block in blocks:
        rows.write(place, block)
        place += len(block)
    rows.close()
    np.save(path / "train" / "labels.npy", np.zeros(count, np.int64))
    (path / "train" / "keys.txt").write_text("".join(f"{row}\n" for row in range(count)))
    Manifest(
        source={"kind": "made", "name": "made", "layout": "", "notes": []}, options={},
        classes=("one",), splits={"train": count}, variants=(str(VARIANT),), statistics={},
        skipped=(), contents={}, files={}, versions={},
    ).write(path)  # fmt: skip
    return lowres.open_store(path)


def reduced(images: np.ndarray) -> np.ndarray:
    """Reduce images to 16 px."""
    return np.stack([lowres.resample(np.ascontiguousarray(i), [VARIANT])[0] for i in images])


def planted(base: np.ndarray, made: bool, path: Path) -> Iterator[tuple[object, ...]]:
    """Plant changed copies into (N, 32, 32, 3) images; yield rows of the CSV."""
    random = np.random.default_rng(0)
    chosen = random.choice(len(base), (len(CHANGES), PLANTED), replace=False)
    copies = [
        reduced(np.stack([change(np.array(base[row]), random) for row in rows]))
        for rows, change in zip(chosen, CHANGES.values(), strict=True)
    ]
    blocks = [reduced(base[start : start + 4096]) for start in range(0, len(base), 4096)]
    count = len(base) + PLANTED * len(CHANGES)
    store = write_store(path, iter([*blocks, *copies]), count)
    for least in (0.9, 0.8):
        found = lowres.check(store, least=least)
        pairs = set(map(tuple, found.near.tolist()))
        of_base = "made images" if made else "photographs"
        true = 0
        for number, name in enumerate(CHANGES):
            places = len(base) + number * PLANTED + np.arange(PLANTED)
            hits = sum(pair in pairs for pair in zip(chosen[number].tolist(), places, strict=True))
            equal = (found.group[places] == chosen[number]).sum()
            true += hits
            yield f"{of_base}, {least}, found: {name}", count, round((hits + equal) / PLANTED, 4)
        if made:
            yield f"{of_base}, {least}, precision", count, round(true / max(len(pairs), 1), 4)


def cost(path: Path) -> Iterator[tuple[object, ...]]:
    """Yield CPU seconds and peak memory of a check of as many images as ImageNet has."""
    step = 20_000
    starts = range(0, IMAGENET, step)
    blocks = (noise(min(step, IMAGENET - start), 16, start) for start in starts)
    store = write_store(path, blocks, IMAGENET)
    began, wall = time.process_time(), time.perf_counter()
    lowres.check(store)
    yield "CPU seconds", IMAGENET, round(time.process_time() - began, 1)
    yield "seconds", IMAGENET, round(time.perf_counter() - wall, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield "peak memory in MB, with the making of the images", IMAGENET, round(peak)


def main() -> None:
    """Measure, print, and add to the CSV."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    machine = f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"
    with tempfile.TemporaryDirectory() as scratch, CSV.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not file.tell():
            writer.writerow(("what", "images", "value", "machine"))
        if len(sys.argv) > 1:
            store = lowres.open_store(sys.argv[1])
            variant = next(v for v in store.variants if v.size == 32)
            base = np.concatenate([store.images(split, variant) for split in store.splits])
            rows = planted(base, False, Path(scratch) / "real")
        else:
            base = np.concatenate([noise(10_000, 32, seed) for seed in range(IMAGES // 10_000)])
            rows = planted(base, True, Path(scratch) / "made")
        for row in rows:
            print(*row, sep="\t", flush=True)
            writer.writerow((*row, machine))
        if len(sys.argv) == 1:
            for row in cost(Path(scratch) / "large"):
                print(*row, sep="\t", flush=True)
                writer.writerow((*row, machine))


if __name__ == "__main__":
    main()
