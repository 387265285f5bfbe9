"""Small images drawn by formula, encoded, and laid out as a source."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("ant", "bee", "cat", "dog")


def draw_image(number: int, width: int, height: int) -> np.ndarray:
    """Draw waves whose colour and direction depend on the number: (H, W, 3) uint8."""
    y, x = np.mgrid[:height, :width] / max(width, height)
    phases = np.array([0.3, 1.1, 2.3]) * (number + 1)
    waves = np.sin((x * (3 + number % 5) + y * (2 + number % 7))[..., None] * 6 + phases)
    noise = np.random.default_rng(number).normal(0, 0.15, (height, width, 3))
    return np.clip(127 + 90 * waves + 60 * noise, 0, 255).astype(np.uint8)


def encoded(array: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def cmyk_jpeg(number: int, width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw_image(number, width, height)).convert("CMYK").save(buffer, "JPEG")
    return buffer.getvalue()


def contents(store: Path) -> dict[str, bytes]:
    """Give the bytes of every file in a folder, by its path there."""
    files = (path for path in sorted(store.rglob("*")) if path.is_file())
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in files}


def draw_source(folder: Path, *, train: int = 6, val: int = 3) -> Path:
    """Write split/class/NN.jpg for four classes that a network can tell apart."""
    for label, name in enumerate(CLASSES):
        for split, count in (("train", train), ("val", val)):
            target = folder / split / name
            target.mkdir(parents=True)
            for number in range(count):
                seed = label * 1000 + number + (500 if split == "val" else 0)
                array = draw_image(seed, 40 + 7 * label + number, 33 + 5 * number)
                tint = np.array([60 * (label == 0), 60 * (label == 1), 60 * (label == 2)])
                array = np.clip(array + tint, 0, 255).astype(np.uint8)
                (target / f"{number:02}.jpg").write_bytes(encoded(array))
    return folder
