"""Soft images that differ, small changes of them, and stores of them."""

import io

import numpy as np
from PIL import Image

import lowres
from images import encoded
from lowres.store.build import build
from lowres.store.options import BuildOptions


def photograph(number: int, side: int = 64) -> np.ndarray:
    """Draw a soft image with detail of its own, as a photograph has: (side, side, 3) uint8."""
    random = np.random.default_rng(number)
    levels = np.zeros((side, side, 3))
    for cells in (2, 4, 8, 16):
        drawn = Image.fromarray(random.integers(0, 256, (cells, cells, 3), np.uint8))
        smooth = drawn.resize((side, side), Image.Resampling.BICUBIC)
        levels += np.asarray(smooth, float) / (cells * 0.9)
    return np.clip(levels, 0, 255).astype(np.uint8)


def make_store(folder, images: dict[str, np.ndarray], size=(8, 16)) -> lowres.Store:
    """Build a store of split/class/name: pixels."""
    for name, pixels in images.items():
        path = folder / "src" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(pixels, "PNG"))
    build(folder / "src", folder / "store", BuildOptions(size=size))
    return lowres.open_store(folder / "store")


def plain_set() -> dict[str, np.ndarray]:
    """Four images of each of two classes in train, and one in val."""
    return {
        f"{split}/{name}/{number}": photograph(1000 * label + 100 * (split == "val") + number)
        for label, name in enumerate(("cat", "dog"))
        for split, count in (("train", 4), ("val", 1))
        for number in range(count)
    }


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded(image, quality=quality))))


def cropped(image: np.ndarray, pixels: int) -> np.ndarray:
    part = Image.fromarray(image[: len(image) - pixels, pixels:])
    return np.asarray(part.resize(image.shape[:2], Image.Resampling.BICUBIC))


CHANGES = {
    "darker": lambda image: (image * 0.6).astype(np.uint8),
    "less contrast": lambda image: (image * 0.5 + 70).astype(np.uint8),
    "compressed": lambda image: jpeg(image, 30),
    "cropped": lambda image: cropped(image, 2),
    "saved smaller": lambda image: np.asarray(
        Image.fromarray(image).resize((24, 24), Image.Resampling.LANCZOS)
    ),
    "all": lambda image: jpeg((cropped(image, 1) * 0.8).astype(np.uint8), 60),
}
