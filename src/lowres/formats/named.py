"""Sets by their names: `lowres build fashion-mnist STORE` finds the files that packages left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lowres.errors import SourceError

DATA_VARIABLE = "LOWRES_DATA"

NAMED = {
    "mnist": ("MNIST", "MNIST/raw", "mnist"),
    "fashion-mnist": ("FashionMNIST", "FashionMNIST/raw", "fashion-mnist"),
    "kmnist": ("KMNIST", "KMNIST/raw", "kmnist"),
    "cifar-10": ("CIFAR10", "cifar-10-batches-py", "cifar-10-batches-py"),
    "cifar-100": ("CIFAR100", "cifar-100-python", "cifar-100-python"),
}
"""Each name: the class in torchvision.datasets, and the folders of torchvision and of Keras."""


def found(path: Path) -> Path:
    """Return the folder of a set that is named; any other path, or one that exists, as it is.

    Raises:
        SourceError: the set is not on this machine; the text says where lowres looked.
    """
    name = path.name.lower()
    if str(path) != path.name or name not in NAMED or path.exists():
        return path
    tried = list(_places(name))
    for place in tried:
        if place.is_dir() and any(place.iterdir()):
            return place
    listed = ", ".join(dict.fromkeys(str(place) for place in tried))
    raise SourceError(
        f"{name} is not on this machine: none of {listed} holds it. lowres downloads nothing: name "
        f"the folder of its files, set {DATA_VARIABLE} to a folder above it, or run: python -c "
        f"\"import torchvision.datasets as sets; sets.{NAMED[name][0]}('data', download=True)\""
    )


def _places(name: str) -> Iterator[Path]:
    _, torchvision, keras = NAMED[name]
    own = os.environ.get(DATA_VARIABLE)
    above = [Path(own)] if own else []
    for folder in (*above, Path("data"), Path.home() / "data"):
        yield folder / name
        yield folder / torchvision
    cache = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    yield cache / "datasets" / keras
