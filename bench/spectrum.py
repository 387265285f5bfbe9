"""Measure the reference table of `lowres.comparing.spectrum` on a folder of photographs.

    python bench/spectrum.py PHOTOGRAPHS

Prints the table, from every second photograph, and the number of right guesses for sets of N of
the other photographs, over all filters and fits. Needs a few hundred photographs, each larger than
64 pixels.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import lowres
from lowres.comparing import spectrum
from lowres.variant import FILTERS

SIZES = (8, 16, 32, 64)
FITS = ("squash", "crop", "resize-crop")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", type=Path)
    with tempfile.TemporaryDirectory() as folder:
        options = lowres.BuildOptions(size=SIZES, filter=FILTERS, fit=FITS)
        lowres.build(parser.parse_args().photographs, Path(folder) / "store", options)
        store = lowres.open_store(Path(folder) / "store")
        for name in FILTERS:
            ratios = [
                [spectrum.band_ratios(images(store, size, name, fit)[::2]) for fit in FITS]
                for size in SIZES
            ]
            print(name, np.mean(ratios, axis=1).T.round(3).tolist())
        for count in (100, 200, 400):
            print(f"{count} photographs: {guesses(store, count)}")


def images(store: lowres.Store, size: int, name: str, fit: str) -> np.ndarray:
    """Open the images of one variant."""
    return store.images("train", lowres.Variant(size, name, fit))


def guesses(store: lowres.Store, count: int, rounds: int = 20) -> str:
    """Guess the filter of random sets of the photographs that are not in the table."""
    random = np.random.default_rng(0)
    right = wrong = silent = 0
    for _ in range(rounds):
        for variant in store.variants:
            others = store.images("train", variant)[1::2]
            rows = np.sort(random.choice(len(others), count, replace=False))
            guess = spectrum.guess_filter(others[rows])
            silent += guess is None
            right += guess is not None and guess.filter == variant.filter
            wrong += guess is not None and guess.filter != variant.filter
    return f"{right} right, {wrong} wrong, {silent} without a guess"


if __name__ == "__main__":
    main()
