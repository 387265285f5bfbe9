"""Compare every image of a folder, in all 24 variants of the paper, with the installed Pillow.

    python bench/exactness.py FOLDER [--out bench/exactness.csv]

Pillow is called twice, across and then down, because single calls of Pillow 13 go down first on
tall images. Writes one line a variant; exits with 1 if any byte differs.
"""

from __future__ import annotations

import argparse
import csv
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, __version__

from lowres.formats import open_source
from lowres.resampling.decode import decode, quiet_decoder
from lowres.resampling.resampler import resample
from lowres.variant import FILTERS, Variant
from lowres.work.threads import available_cores

VARIANTS = [Variant(size, name) for size in (8, 16, 32, 64) for name in FILTERS]


def pillow(image: Image.Image, variant: Variant) -> np.ndarray:
    """Resize with Pillow, across first."""
    method, size = Image.Resampling[variant.filter.upper()], variant.size
    if variant.filter == "nearest":
        return np.asarray(image.resize((size, size), method))
    return np.asarray(image.resize((size, image.height), method).resize((size, size), method))


def differing(data: bytes) -> list[int]:
    """Count the bytes that differ, for each variant."""
    array = decode(data)
    image = Image.fromarray(array)
    ours = resample(array, VARIANTS)
    return [
        int((small != pillow(image, variant)).sum())
        for variant, small in zip(VARIANTS, ours, strict=True)
    ]


def main() -> int:
    """Compare, write the table and print the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    arguments = parser.parse_args()
    source = open_source(arguments.folder)
    entries = [entry for split in source.index().splits.values() for entry in split]
    with quiet_decoder(), ThreadPoolExecutor(available_cores()) as pool:
        counts = np.array(list(pool.map(lambda entry: differing(source.read(entry)), entries)))
    with arguments.out.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("variant", "images", "bytes", "differing", "pillow", "numpy", "machine"))
        for variant, count in zip(VARIANTS, counts.sum(axis=0), strict=True):
            total = len(entries) * variant.size**2 * 3
            versions = (__version__, np.__version__, platform.machine())
            writer.writerow((variant, len(entries), total, int(count), *versions))
    compared = sum(len(entries) * variant.size**2 * 3 for variant in VARIANTS)
    print(f"{len(entries)} images, {len(VARIANTS)} variants: {counts.sum()} of {compared} differ")
    return int(counts.any())


if __name__ == "__main__":
    sys.exit(main())
