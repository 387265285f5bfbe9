"""What the Pillow of 2017 made of small images, kept in pillow-4.1.1.npz.

To make that file again, on CPython 3.6 with Pillow 4.1.1 and NumPy:

    python tests/resampling/golden.py
"""

import itertools
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("pillow-4.1.1.npz")
FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
SIDES = (
    # where box has tied pixels, and those of them that float64 counts twice
    (49, 98), (103, 107), (161, 187), (237, 500), (375, 500), (333, 498), (499, 503),
    # without ties, enlarged, and thin
    (480, 640), (5, 9), (3, 200), (150, 1), (8, 8),
)  # fmt: skip
SIZES = (8, 16, 13)


def noise(height, width, channels):
    """Hash each position to a level, the same with every version of NumPy."""
    y, x, c = np.mgrid[:height, :width, :channels].astype(np.uint32)
    mixed = (x * np.uint32(73856093)) ^ (y * np.uint32(19349663)) ^ (c * np.uint32(83492791))
    mixed = (mixed ^ (mixed >> np.uint32(13))) * np.uint32(2654435761)
    return (mixed >> np.uint32(24)).astype(np.uint8)


def cases():
    """Give a name, an image, a size and a filter for each case."""
    for (height, width), size, name in itertools.product(SIDES, SIZES, FILTERS):
        image = noise(height, width, 3)
        if size == 13:
            image = np.where(image < 128, np.uint8(0), np.uint8(255))
        yield "{}x{} {} {}".format(height, width, size, name), image, size, name  # noqa: UP032


def main():
    """Write the file with the Pillow that is installed."""
    from PIL import PILLOW_VERSION, Image

    assert PILLOW_VERSION == "4.1.1", PILLOW_VERSION
    answers = {}
    for name, image, size, filter_name in cases():
        method = getattr(Image, filter_name.upper())
        answers[name] = np.asarray(Image.fromarray(image).resize((size, size), method))
    inks = noise(24, 24, 4)
    cmyk = Image.frombytes("CMYK", (24, 24), inks.tobytes())
    answers["cmyk"] = np.asarray(cmyk.convert("RGB"))
    np.savez_compressed(str(FILE), **answers)


if __name__ == "__main__":
    main()
